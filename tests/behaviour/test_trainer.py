"""Runs that resume to the last digit, whatever stopped them."""

import os
import pickle
import resource
import signal
import time
from itertools import pairwise

import pytest
import torch
from safetensors.torch import save_file

from hackamore.core.errors import Cancelled, HackamoreError, WorkFailed
from hackamore.core.files import written_whole
from hackamore.training.draws import Draws
from hackamore.training.settings import ProbeSettings, RunSettings
from hackamore.training.state import Average, checkpoints, load_checkpoint, newest, save_checkpoint
from hackamore.training.trainer import learning_rate, read_log, train
from hackamore.training.watcher import Watcher
from tests import children
from tests.line import RUN, Line, exported


def losses_of(folder):
    return {row["step"]: row["loss"] for row in read_log(folder / "log.jsonl") if "loss" in row}


def agree(one, other):
    """The same weights and the same losses, to the last digit."""
    first, second = exported(one), exported(other)
    return all(torch.equal(first[name], second[name]) for name in first) and losses_of(one) == losses_of(other)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(Line(), RUN, tmp_path_factory.mktemp("whole"))


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


class Seen(Watcher):
    def __init__(self):
        self.told = []

    def begins(self, started):
        self.told.append(("begins", started.first, dict(started.settings)))

    def stepped(self, done):
        self.told.append(("stepped", done))

    def logged(self, row):
        self.told.append(("logged", next(name for name in ("probe", "warning", "loss") if name in row), row["step"]))

    def sampled(self, done, path):
        self.told.append(("sampled", done, path.name))

    def saved(self, done, path):
        self.told.append(("saved", done, path.name))

    def ends(self, done, outcome, words):
        self.told.append(("ends", done, outcome))


def test_watchers_are_told_everything_in_order(tmp_path, capsys):
    seen = Seen()
    run = RUN.model_copy(update={"steps": 4, "sample_every": 2, "checkpoint_every": 4})
    figures = [0.5, 0.6]
    train(Line(figures=figures), run, tmp_path, watchers=[seen], probe=ProbeSettings(every=3), settings={"a": 1})
    assert seen.told == [
        ("begins", 0, {"a": 1}), ("stepped", 1), ("logged", "loss", 2), ("stepped", 2),
        ("sampled", 2, "step-00000002.png"), ("stepped", 3), ("logged", "probe", 3), ("logged", "loss", 4),
        ("stepped", 4), ("sampled", 4, "step-00000004.png"), ("logged", "probe", 4), ("saved", 4, "step-00000004.pt"),
        ("ends", 4, "done"),
    ]  # fmt: skip
    assert "step" not in "".join(capsys.readouterr()), "who is watched does not also print lines"
    train(Line(), run, tmp_path / "unwatched", settings={"a": 1})
    told = capsys.readouterr()
    assert told.out == ""
    assert "step 4/4  loss" in told.err, "where nobody watches, progress is shown"


def test_a_watcher_that_fails_is_reported_once_and_stops_nothing(whole, tmp_path):
    class Falls(Watcher):
        def stepped(self, done):
            raise ConnectionError("the tracker is away")

    train(Line(), RUN, tmp_path, watchers=[Falls(), seen := Seen()])
    warned = [row["warning"] for row in read_log(tmp_path / "log.jsonl") if "warning" in row]
    assert len(warned) == 1
    assert "Falls" in warned[0]
    assert "the tracker is away" in warned[0]
    assert seen.told[-1] == ("ends", 24, "done")
    assert agree(tmp_path, whole)


@pytest.mark.parametrize(("error", "outcome"), [(KeyboardInterrupt, "stopped"), (RuntimeError, "failed")])
def test_watchers_hear_of_a_bad_end(tmp_path, error, outcome):
    class Breaks(Line):
        def forward(self, batch):
            raise error("so it is")

    with pytest.raises(error):
        train(Breaks(), RUN, tmp_path, watchers=[seen := Seen()])
    assert seen.told[-1] == ("ends", 0, outcome)


def test_the_best_weights_are_kept_beside_the_last(tmp_path):
    run = RUN.model_copy(update={"ema": None})
    task = Line(figures=[0.2, 0.7, 0.1, 0.3])
    train(task, run, tmp_path, probe=ProbeSettings(every=6))
    at_twelve = train(Line(), run.model_copy(update={"steps": 24, "keep": 9, "checkpoint_every": 12}), tmp_path / "b")
    state = load_checkpoint(at_twelve / "checkpoints" / "step-00000012.pt")
    assert torch.equal(exported(tmp_path / "best")["weight"], state["weights"]["line.weight"])
    assert not torch.equal(exported(tmp_path / "best")["weight"], exported(tmp_path)["weight"])
    found = [(row["step"], row["probe"]["normalised"]) for row in read_log(tmp_path / "log.jsonl") if "probe" in row]
    assert found == [(6, 0.2), (12, 0.7), (18, 0.1), (24, 0.3)]
    assert not list(tmp_path.glob(".best*"))


def test_probes_see_the_averaged_weights_and_change_nothing(whole, tmp_path):
    class Looks(Line):
        def probe(self):
            assert not self.training
            assert not torch.is_grad_enabled()
            seen.append(self.line.weight.detach().clone())
            return {"normalised": 0.5}

    seen = []
    train(Looks(), RUN, tmp_path, probe=ProbeSettings(every=24))
    assert agree(tmp_path, whole)
    assert torch.equal(seen[0], exported(whole)["weight"])


def test_a_run_without_a_rise_stops_early_and_stays_stopped(tmp_path):
    seen = Seen()
    told = {"probe": ProbeSettings(every=2, patience=2), "watchers": [seen]}
    train(Line(figures=[0.3, 0.5, 0.4, 0.5, 0.9]), RUN, tmp_path, **told)
    assert seen.told[-1] == ("ends", 8, "early")
    assert newest(tmp_path / "checkpoints")[0]["step"] == 8
    assert (tmp_path / "line.pt").exists()
    again = Line(figures=[])
    train(again, RUN, tmp_path, **told)
    assert again.steps == []
    assert seen.told[-1] == ("ends", 8, "early")


def test_a_probe_is_not_lost_or_doubled_by_a_stop(tmp_path):
    probe = ProbeSettings(every=4)
    with pytest.raises(Cancelled):
        train(Line(stop_at=7, figures=[0.1, 0.2]), RUN, tmp_path, probe=probe)
    train(Line(figures=[0.3] * 9), RUN, tmp_path, probe=probe)
    found = [(row["step"], row["probe"]["normalised"]) for row in read_log(tmp_path / "log.jsonl") if "probe" in row]
    assert found == [(4, 0.1), (8, 0.2), (12, 0.3), (16, 0.3), (20, 0.3), (24, 0.3)]


def test_checks_are_asked_before_the_first_step_after_each_gradient_and_when_settled(tmp_path):
    class Asks:
        def __init__(self):
            self.asked = []

        def begin(self, batch, first=0):
            self.asked.append(("begin", first, batch["x"].shape[0]))
            return ["a word at the beginning"]

        def gradients(self, step, losses, norm, batch):
            self.asked.append(("gradients", step))
            assert line.line.weight.grad is not None
            assert torch.isfinite(norm)
            assert losses["loss"].ndim == 0
            if step == 5:
                raise WorkFailed("the culprit is known")
            return ["a word at step 1"] if step == 1 else []

        def settled(self):
            self.asked.append(("settled",))
            return []

    asks = Asks()
    line = Line(figures=[0.5])
    line.checks = lambda: asks
    with pytest.raises(WorkFailed, match="culprit"):
        train(line, RUN, tmp_path, probe=ProbeSettings(every=4))
    steps = [("gradients", step) for step in range(6)]
    assert asks.asked == [("begin", 0, 8), *steps[:4], ("settled",), *steps[4:]]
    warned = [(row["step"], row["warning"]) for row in read_log(tmp_path / "log.jsonl") if "warning" in row]
    assert warned == [(0, "a word at the beginning"), (2, "a word at step 1")]
    assert newest(tmp_path / "checkpoints")[0]["step"] == 5


def test_rows_have_rate_memory_and_learning_rate_right_after_a_resume_too(tmp_path):
    class Slow(Line):
        def forward(self, batch):
            time.sleep(0.03)
            return super().forward(batch)

    with pytest.raises(Cancelled):
        train(Slow(stop_at=8), RUN, tmp_path)
    train(Slow(), RUN.model_copy(update={"steps": 12, "log_every": 10}), tmp_path)
    row = next(row for row in read_log(tmp_path / "log.jsonl") if row["step"] == 10)
    # nine of the row's ten steps were done before the stop; the rate is that of the tenth
    assert row["samples_per_second"] < 8 / 0.03
    assert row["memory_mib"] == pytest.approx(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, rel=0.2)
    assert row["lr"] == pytest.approx(0.05 * learning_rate(9, RUN.model_copy(update={"steps": 12})), rel=1e-5)
    assert row["bias"] != 0


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


@pytest.mark.parametrize("stop_at", [None, 3, 7])
def test_a_loss_that_begins_within_a_row_is_the_mean_of_its_own_steps(tmp_path, stop_at):
    class Late(Line):
        def forward(self, batch):
            late = {"late": torch.tensor(2.0)} if int(batch["step"]) >= 6 else {}
            return super().forward(batch) | late

    run = RUN.model_copy(update={"steps": 10, "log_every": 10})
    if stop_at is not None:
        with pytest.raises(Cancelled):
            train(Late(stop_at), run, tmp_path)
    train(Late(), run, tmp_path)
    (row,) = [row for row in read_log(tmp_path / "log.jsonl") if "loss" in row]
    assert row["late"] == 2.0


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
