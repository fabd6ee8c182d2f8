"""Stages that make what they say."""

import json

import numpy as np
import pytest
import torch

from hackamore.bases.catalog import load_base
from hackamore.controls.branch import new_control
from hackamore.controls.catalog import load_control
from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.data.shelf import Shelf
from hackamore.data.worlds import write_worlds
from hackamore.training.api import train as train_control
from hackamore.training.config import read_stage
from hackamore.training.trainer import read_log, train


def log_of(folder):
    return [(row["step"], row["loss"]) for row in read_log(folder / "log.jsonl") if "loss" in row]


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
        told = {"data": worlds, "output": tmp_path / stage, "size": (64, 64)} | {"run.steps": 2, "run.batch_size": 4}
        told |= {"vae": tmp_path / "autoencoder" / "vae"} if stage == "base" else {}
        settings = read_stage(f"configs/meadow/{stage}.toml", told)
        run = settings.run.model_copy(update={"sample_every": 2})
        train(settings.task(), run, settings.output)
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
    assert sd1.encode_text(["a lake"]).tokens.isfinite().all(), "the caller's base is whole again"


def test_what_is_no_file_of_weights_does_not_begin_a_training(worlds, tmp_path):
    (tmp_path / "page.safetensors").write_text("<!DOCTYPE html><html>sign in</html>")
    told = {"data": worlds, "more": (), "through": None, "size": (64, 64), "output": tmp_path / "out"}
    settings = read_stage("configs/meadow/inspector.toml", told | {"init": tmp_path / "page.safetensors"})
    with pytest.raises(HackamoreError, match="is a web page"):
        settings.task()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stage = 'control'\nkind = 'canny'", "data"),
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


def test_a_training_leaves_base_and_control_as_one_would_have_them(worlds, tmp_path, sd1_folder):
    base = load_base(sd1_folder, device="cpu")
    control = new_control(base, "canny")
    strides = {name: p.stride() for name, p in (*base.unet.named_parameters(), *control.named_parameters())}
    told = {"steps": 3, "batch_size": 2, "lr": 1e-2, "warmup": 0, "ema": 0.5, "channels_last": True}
    told |= {"memory": {"gradient_checkpointing": True}, "probe": {"every": 0}, "quiet": True}
    train_control(control, worlds, tmp_path, **told)
    assert not control.training
    assert not control.trunk.is_gradient_checkpointing
    assert {name: p.stride() for name, p in (*base.unet.named_parameters(), *control.named_parameters())} == strides
    written = load_control(tmp_path, base)
    assert all(torch.equal(p.half(), q.half()) for p, q in zip(control.parameters(), written.parameters(), strict=True))


def test_a_base_that_waits_layer_by_layer_is_refused_before_anything_is_encoded(worlds, tmp_path, sd1_folder):
    base = load_base(sd1_folder, device="cpu", offload="sequential")
    with pytest.raises(HackamoreError, match="layer by layer"):
        train_control(new_control(load_base(sd1_folder, device="cpu"), "canny"), worlds, tmp_path, base=base, steps=1)


def test_a_cache_that_takes_no_more_hides_nothing_and_the_base_comes_back(worlds, tmp_path, sd1_folder, monkeypatch):
    def full(_):
        raise WorkFailed("the cache could not be written")

    base = load_base(sd1_folder, device="cpu")
    monkeypatch.setattr(Shelf, "flush", full)
    out = train_control(new_control(base, "canny"), worlds, tmp_path, steps=1, batch_size=2, probe={"every": 0})
    assert load_control(out, base).condition == "canny"
    assert base.encode_text(["a lake"]).tokens.isfinite().all()


@pytest.mark.parametrize("stage", ["autoencoder", "base", "inspector"])
def test_a_quiet_stage_tells_warnings_alone(stage, worlds, tmp_path):
    told = {"data": worlds, "output": tmp_path}
    (watcher,) = read_stage(f"configs/meadow/{stage}.toml", told).watchers(quiet=True)
    assert watcher.quiet
