"""Who is told what of a run: watchers, probes and the best weights, checks, rows of the log."""

import resource
import time

import pytest
import torch

from hackamore.core.errors import Cancelled, WorkFailed
from hackamore.training.settings import ProbeSettings
from hackamore.training.state import load_checkpoint, newest
from hackamore.training.trainer import learning_rate, read_log, train
from hackamore.training.watcher import Watcher
from tests.line import RUN, Line, agree, exported


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
