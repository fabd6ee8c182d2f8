"""Runs that resume to the last digit, whatever stopped them, and stages that make what they say."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hackamore.controls.branch import new_control
from hackamore.controls.catalog import load_control
from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.data.worlds import write_worlds
from hackamore.training.api import train as train_control
from hackamore.training.draws import Draws
from hackamore.training.settings import RunSettings
from hackamore.training.stages import read_stage
from hackamore.training.state import Average, checkpoints, load_checkpoint, save_checkpoint
from hackamore.training.trainer import Task, learning_rate, read_log, train


class Line(Task):
    """The smallest task: y = a·x + b, with noise in the data and dropout of half of it."""

    def __init__(self, stop_at: int | None = None, breaks_at: int | None = None):
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(3, 1)
        self.stop_at, self.breaks_at = stop_at, breaks_at

    def groups(self):
        return [{"params": [self.line.weight]}, {"params": [self.line.bias], "scale": 3.0}]

    def batch(self, draws):
        if draws.step == self.stop_at:
            signal.raise_signal(signal.SIGINT)
        x = draws.normal(3) * (draws.uniform(1) < 0.5)
        return {"x": x, "y": x.sum(1, keepdim=True) + draws.indices(7)[:, None] * 0.1}

    def forward(self, batch):
        loss = (self.line(batch["x"]) - batch["y"]).square().mean()
        return {"loss": loss}

    def sample(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    def export(self, folder: Path):
        torch.save(self.line.state_dict(), folder / "line.pt")


RUN = RunSettings(steps=24, batch_size=8, lr=0.05, warmup=3, log_every=2, checkpoint_every=5, sample_every=10, ema=0.9)


def log_of(folder):
    return [(row["step"], row["loss"]) for row in read_log(folder / "log.jsonl")]


@pytest.mark.parametrize("stop_at", [1, 5, 11, 22])
def test_ctrl_c_then_resume_is_the_same_run(tmp_path, stop_at):
    train(Line(), RUN, tmp_path / "whole")
    with pytest.raises(HackamoreError, match=f"stopped at step {stop_at + 1}"):
        train(Line(stop_at), RUN, tmp_path / "halves")
    train(Line(), RUN, tmp_path / "halves")
    whole, halves = (torch.load(tmp_path / f / "line.pt", weights_only=True) for f in ("whole", "halves"))
    assert torch.equal(whole["weight"], halves["weight"])
    assert log_of(tmp_path / "whole")[-3:] == log_of(tmp_path / "halves")[-3:]


def test_kill_9_then_resume_continues_the_curve(tmp_path):
    """A real process, killed without a chance to say goodbye; its checkpoint of an earlier step takes over."""
    script = (
        "import sys, time; sys.path.insert(0, '.')\n"
        "from tests.behaviour.test_training import Line, RUN\n"
        "from hackamore.training.trainer import train\n"
        "class Slow(Line):\n"
        "    def batch(self, draws):\n"
        "        time.sleep(0.05)\n"
        "        return super().batch(draws)\n"
        "train(Slow(), RUN, sys.argv[1])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "killed")])
    for _ in range(600):
        if checkpoints(tmp_path / "killed" / "checkpoints"):
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "line.pt").exists()
    train(Line(), RUN, tmp_path / "killed")
    train(Line(), RUN, tmp_path / "whole")
    step = [row for row, _ in log_of(tmp_path / "whole")]
    assert [row for row, _ in log_of(tmp_path / "killed")] == step
    assert dict(log_of(tmp_path / "killed"))[24] == dict(log_of(tmp_path / "whole"))[24]


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


def test_a_broken_loss_stops_with_the_step_and_keeps_the_good_checkpoint(tmp_path):
    class Broken(Line):
        def forward(self, batch):
            losses = super().forward(batch)
            return {"loss": losses["loss"] * (float("nan") if self.seen == 7 else 1)}

        def batch(self, draws):
            self.seen = draws.step
            return super().batch(draws)

    with pytest.raises(WorkFailed, match="step 7"):
        train(Broken(), RUN, tmp_path)
    assert load_checkpoint(tmp_path / "checkpoints")["step"] == 5


def test_a_full_disk_leaves_the_earlier_checkpoints(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, {"weights": {}})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(WorkFailed, match="earlier ones are intact"):
        save_checkpoint(tmp_path, 2, {"weights": {}})
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001.pt"]


def test_a_hostile_checkpoint_is_not_run(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path}/owned",))

    (tmp_path / "step-00000001.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(HackamoreError, match="cannot be read"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "owned").exists()


def test_average_swaps_there_and_back_bit_for_bit():
    line = Line()
    average = Average(line, 0.9)
    with torch.no_grad():
        line.line.weight.add_(1)
    average.update(100)
    before = line.line.weight.detach().clone()
    average.swap()
    assert not torch.equal(line.line.weight, before)
    average.swap()
    assert torch.equal(line.line.weight, before)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    return write_worlds(tmp_path_factory.mktemp("worlds"), 12, 64, seed=100, workers=1)


def test_worlds_are_written_in_both_layouts_and_continue(worlds, tmp_path):
    rows = [json.loads(line) for line in (worlds / "metadata.jsonl").read_text().splitlines()]
    official = [json.loads(line) for line in (worlds / "prompt.json").read_text().splitlines()]
    assert [row["seed"] for row in rows] == list(range(100, 112))
    assert [row["text"] for row in rows] == [row["prompt"] for row in official]
    assert all((worlds / row["source"]).exists() and (worlds / row["target"]).exists() for row in official)
    (worlds / "pictures" / "00000105.png").unlink()
    done = []
    write_worlds(worlds, 12, 64, seed=100, workers=1, progress=lambda d, n: done.append((d, n)))
    assert done == [(12, 12)]
    assert (worlds / "pictures" / "00000105.png").exists()


def test_a_small_base_and_autoencoder_train_from_configurations(worlds, tmp_path):
    for stage in ("autoencoder", "base"):
        told = {"data": worlds, "output": tmp_path / stage, "steps": 2, "batch_size": 4, "size": (64, 64)}
        told |= {"vae": tmp_path / "autoencoder" / "vae"} if stage == "base" else {}
        settings = read_stage(f"configs/meadow/{stage}.toml", **told)
        run = settings.run.model_copy(update={"sample_every": 2})
        train(settings.task(), run, settings.output)
    from hackamore.bases.catalog import load_base
    from hackamore.generate import generate

    base = load_base(tmp_path / "base", device="cpu")
    assert generate(base, "a lake", size=(64, 64), steps=2).images[0].pixels.shape == (64, 64, 3)


@pytest.mark.parametrize("kind", ["canny", "seg"])
def test_a_control_trains_loads_and_steers(sd1, worlds, tmp_path, kind):
    control = new_control(sd1, kind)
    locked = {name: p.detach().clone() for name, p in sd1.unet.named_parameters()}
    told = {"steps": 3, "batch_size": 2, "lr": 1e-2, "warmup": 0, "ema": None, "log_every": 1, "sample_every": 3}
    train_control(control, worlds, tmp_path / kind, **told)
    assert all(torch.equal(p, locked[name]) for name, p in sd1.unet.named_parameters())
    loaded = load_control(tmp_path / kind, sd1)
    assert loaded.condition == kind
    assert any(float(p.abs().max()) > 0 for p in loaded.zero_skips.parameters())
    assert len(log_of(tmp_path / kind)) == 3
    assert np.isfinite([loss for _, loss in log_of(tmp_path / kind)]).all()


def test_what_is_no_file_of_weights_does_not_begin_a_training(worlds, tmp_path):
    (tmp_path / "page.safetensors").write_text("<!DOCTYPE html><html>sign in</html>")
    told = {"data": worlds, "more": (), "through": None, "size": (64, 64), "output": tmp_path / "out"}
    settings = read_stage("configs/meadow/inspector.toml", **told, init=tmp_path / "page.safetensors")
    with pytest.raises(HackamoreError, match="is a web page"):
        settings.task()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stage = 'control'", "data"),
        ("stage = 'contrl'", "stage"),
        ("stage = 'autoencoder'\ndata='x'\noutput='y'\n[run]\nsteps=0", "steps"),
        ("stage = 'autoencoder'\ndata='x'\noutput='y'\n[run]\nsteps=1\nlearning_rate=1", "learning_rate"),
        ("this is not", "not TOML"),
    ],
)
def test_wrong_configurations_name_the_field(tmp_path, text, words):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(HackamoreError, match=words):
        read_stage(tmp_path / "c.toml")
