"""Runs that resume to the last digit, whatever stopped them."""

import os
import pickle
import resource
import signal
from itertools import pairwise

import pytest
import torch
from safetensors.torch import save_file

from hackamore.core.errors import Cancelled, HackamoreError, WorkFailed
from hackamore.core.files import written_whole
from hackamore.training.draws import Draws
from hackamore.training.settings import RunSettings
from hackamore.training.state import Average, checkpoints, load_checkpoint, newest, save_checkpoint
from hackamore.training.trainer import learning_rate, read_log, train
from hackamore.training.watcher import Watcher
from tests import children
from tests.line import RUN, Line, agree, exported


@pytest.mark.parametrize("stop_at", [1, 5, 11, 22])
def test_ctrl_c_saves_says_how_to_go_on_and_the_rest_is_the_same_run(whole, tmp_path, stop_at):
    with pytest.raises(Cancelled, match=f"stopped at step {stop_at + 1}") as stopped:
        train(Line(stop_at), RUN, tmp_path)
    assert "goes on" in str(stopped.value)
    second = Line()
    train(second, RUN, tmp_path)
    assert second.steps == list(range(stop_at + 1, RUN.steps))
    assert agree(tmp_path, whole)


def test_a_terminated_run_is_saved_too(whole, tmp_path):
    class Told(Line):
        def forward(self, batch):
            if int(batch["step"]) == 7:
                signal.raise_signal(signal.SIGTERM)
            return super().forward(batch)

    with pytest.raises(Cancelled, match="stopped at step 8"):
        train(Told(), RUN, tmp_path)
    assert agree(train(Line(), RUN, tmp_path), whole)


def test_kill_9_thrice_once_while_saving_then_the_run_is_the_same(whole, tmp_path):
    """A real process, killed without a chance to say goodbye; a checkpoint of an earlier step takes over."""
    for when, saving in ((0.25, -1), (60.0, 15), (0.2, -1)):
        assert children.run(children.killed, tmp_path, when, saving) == -signal.SIGKILL
    assert not (tmp_path / "line.pt").exists()
    assert agree(train(Line(), RUN, tmp_path), whole)
    assert not list((tmp_path / "checkpoints").glob(".*")), "leftovers of the kill are removed"


def test_a_checkpoint_cut_short_is_refused_by_name_and_the_one_before_is_used(whole, tmp_path, capsys):
    with pytest.raises(Cancelled):
        train(Line(stop_at=16), RUN, tmp_path)
    last = checkpoints(tmp_path / "checkpoints")[-1]
    last.write_bytes(last.read_bytes()[:-700])
    second = Line()
    train(second, RUN, tmp_path)
    assert second.steps[0] == 15
    assert agree(tmp_path, whole)
    warned = [row["warning"] for row in read_log(tmp_path / "log.jsonl") if "warning" in row]
    assert len(warned) == 1
    assert last.name in warned[0]
    assert "one before" in warned[0]
    assert last.name in capsys.readouterr().err


def test_where_no_checkpoint_is_whole_the_run_does_not_begin_anew(tmp_path):
    save_checkpoint(tmp_path / "checkpoints", 3, {"weights": {}})
    with pytest.raises(HackamoreError, match=r"step-00000003.pt cannot be used"):
        train(Line(), RUN, tmp_path)
    assert train(Line(), RUN, tmp_path, resume=False) == tmp_path


def test_a_hostile_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path}/owned",))

    for content in (pickle.dumps(Evil()), b"", b"PK\x03\x04" + bytes(100)):
        (tmp_path / "step-00000001.pt").write_bytes(content)
        with pytest.raises(HackamoreError, match="cannot be used"):
            newest(tmp_path)
    torch.save({"step": 1, "weights": Evil()}, tmp_path / "step-00000001.pt")
    with pytest.raises(HackamoreError, match=r"step-00000001.pt cannot be used"):
        newest(tmp_path)
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    train(Line(), RUN, tmp_path)
    with pytest.raises(HackamoreError, match="another network"):
        train(Line(width=2), RUN, tmp_path)


@pytest.mark.parametrize("room", [1500, 3000])
def test_where_the_disk_takes_no_more_the_checkpoint_before_is_intact(whole, tmp_path, room):
    """A real limit on the size of files, met within the checkpoint of step 10."""
    assert children.run(children.filled, tmp_path, room) == 1
    said = (tmp_path / "said").read_text()
    assert "the checkpoint of step 10 could not be saved" in said
    assert "File too large" in said
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000005.pt"]
    assert load_checkpoint(tmp_path / "checkpoints" / "step-00000005.pt")["step"] == 5
    assert agree(train(Line(), RUN, tmp_path), whole)


def test_a_log_that_cannot_be_written_is_said_in_a_sentence(tmp_path):
    class Full(Line):
        def forward(self, batch):
            if int(batch["step"]) == 1:
                (tmp_path / "log.jsonl").unlink()
                (tmp_path / "log.jsonl").mkdir()
            return super().forward(batch)

    with pytest.raises(WorkFailed, match="could not be written"):
        train(Full(), RUN, tmp_path)


def test_a_broken_loss_stops_with_the_step_and_keeps_the_good_checkpoint(tmp_path):
    class Broken(Line):
        def forward(self, batch):
            losses = super().forward(batch)
            return {"loss": losses["loss"] * (float("nan") if int(batch["step"]) == 7 else 1)}

    with pytest.raises(WorkFailed, match="step 7"):
        train(Broken(), RUN, tmp_path)
    assert newest(tmp_path / "checkpoints")[0]["step"] == 5


def test_average_swaps_there_and_back_bit_for_bit():
    line = Line()
    average = Average(dict(line.named_parameters()), 0.9)
    with torch.no_grad():
        line.line.weight.add_(1)
    average.update(100)
    before = line.line.weight.detach().clone()
    average.swap()
    assert not torch.equal(line.line.weight, before)
    average.swap()
    assert torch.equal(line.line.weight, before)


def test_two_shares_of_a_batch_are_the_batch():
    whole = Draws(3, 11, 8)
    shares = [Draws(3, 11, 8, rank, 2) for rank in (0, 1)]
    assert torch.equal(whole.indices(5), torch.cat([share.indices(5) for share in shares]))
    assert torch.equal(whole.normal(2, 3), torch.cat([share.normal(2, 3) for share in shares]))


def test_every_item_is_seen_once_an_epoch():
    seen = torch.cat([Draws(0, step, 4).indices(12) for step in range(6)])
    assert sorted(seen[:12].tolist()) == sorted(seen[12:].tolist()) == list(range(12))
    assert seen[:12].tolist() != seen[12:].tolist()


def test_learning_rate_rises_holds_and_falls():
    run = RunSettings(steps=100, warmup=10, flat=0.4, final=0.1, lr=1)
    rates = [learning_rate(step, run) for step in range(100)]
    assert rates[0] == 0.1
    assert rates[9:41] == [1.0] * 32
    assert all(a > b for a, b in pairwise(rates[41:]))
    assert abs(rates[-1] - 0.1) < 0.01


def of(**identity):
    """A line that says what it is."""
    line = Line()
    line.identity = lambda: identity
    return line


@pytest.mark.parametrize("name", ["kind", "form", "base"])
def test_a_checkpoint_of_another_task_is_refused_and_nothing_is_touched(tmp_path, name):
    run = RUN.model_copy(update={"steps": 5})
    train(of(**{name: "one"}), run, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(HackamoreError, match=f"another {name}") as refused:
        train(of(**{name: "other"}), run, tmp_path)
    assert "another output folder" in str(refused.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    train(of(**{name: "other"}), run, tmp_path, resume=False)


def test_other_data_of_a_checkpoint_are_told(tmp_path):
    train(of(kind="a", data="one"), RUN.model_copy(update={"steps": 5}), tmp_path)
    train(of(kind="a", data="other"), RUN, tmp_path)
    assert [row["warning"] for row in read_log(tmp_path / "log.jsonl") if "warning" in row] == [
        "going on with other settings: steps 5 → 24, data one → other"
    ]


def test_the_task_is_left_with_what_was_exported_in_eval_mode(tmp_path):
    task = Line()
    train(task, RUN, tmp_path)
    assert torch.equal(task.line.weight, exported(tmp_path)["weight"])
    assert not task.training
    again = Line()
    train(again, RUN, tmp_path)
    assert torch.equal(again.line.weight, exported(tmp_path)["weight"])


def test_samples_beyond_the_start_go_as_rows_do(tmp_path):
    def samples():
        return [path.name for path in sorted((tmp_path / "samples").iterdir())]

    run = RUN.model_copy(update={"sample_every": 4, "checkpoint_every": 6})
    with pytest.raises(WorkFailed):
        train(Broken(at=9), run, tmp_path)
    assert samples() == ["step-00000004.png", "step-00000008.png"]
    with pytest.raises(WorkFailed):
        train(Broken(at=6), run, tmp_path)
    assert samples() == ["step-00000004.png"]
    train(Line(), run.model_copy(update={"steps": 2}), tmp_path, resume=False)
    assert samples() == []


class Broken(Line):
    """Its loss is no number at step ``at``."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def forward(self, batch):
        losses = super().forward(batch)
        return {"loss": losses["loss"] * (float("nan") if int(batch["step"]) == self.at else 1)}


def test_fewer_steps_than_are_done_are_told(tmp_path):
    train(Line(), RUN, tmp_path)
    words = []

    class Hears(Watcher):
        def ends(self, done, outcome, told):
            words.append(told)

    train(Line(), RUN.model_copy(update={"steps": 10}), tmp_path, watchers=[Hears()])
    assert words == ["all 24 steps done"]
    warned = [row["warning"] for row in read_log(tmp_path / "log.jsonl") if "warning" in row]
    assert "24 steps are done already, more than the 10 that are asked for" in warned


def test_what_a_killed_process_left_unfinished_is_removed_and_nothing_else(tmp_path):
    for folder in ("", "samples", "checkpoints", "unet"):
        (tmp_path / folder).mkdir(exist_ok=True)
        with written_whole(tmp_path / folder / "whole.txt") as temporary:
            temporary.with_name(temporary.name.replace("whole", "cut")).touch()
        (tmp_path / folder / ".mine").touch()
    train(Line(), RUN, tmp_path)
    assert sorted({path.name for path in tmp_path.rglob(".*")}) == [".mine"]


def test_a_file_that_cannot_be_read_is_not_told_as_a_full_disk(tmp_path):
    class Gone(Line):
        def batch(self, draws):
            if draws.step == 3:
                (tmp_path / "pictures" / "7.png").read_bytes()
            return super().batch(draws)

    with pytest.raises(WorkFailed, match="the training broke at step 3") as failed:
        train(Gone(), RUN, tmp_path / "out")
    assert "7.png" in str(failed.value)
    assert "disk" not in str(failed.value)


def test_an_export_that_a_library_could_not_write_is_a_sentence(tmp_path):
    class Tight(Line):
        def export(self, folder):
            usual = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, usual[1]))
            try:
                save_file(self.state_dict(), folder / "line.safetensors")
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, usual)

    with pytest.raises(WorkFailed, match="could not be written"):
        train(Tight(), RUN, tmp_path)


def test_a_folder_that_is_being_trained_is_refused_and_free_afterwards(tmp_path):
    class Nosy(Line):
        def batch(self, draws):
            if draws.step == 1:
                with pytest.raises(HackamoreError, match="is being trained already"):
                    train(Line(), RUN, tmp_path / "o")
            return super().batch(draws)

    train(Nosy(), RUN, tmp_path / "o")
    assert not (tmp_path / "o" / ".training").exists()
    train(Line(), RUN, tmp_path / "o")
