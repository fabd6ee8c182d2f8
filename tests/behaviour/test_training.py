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


def short(**told):
    return {"steps": 1, "batch_size": 2, "probe": {"every": 0}, "quiet": True, "size": (64, 64), **told}


def test_a_control_of_a_coarse_base_is_trained_in_fp32(worlds, tmp_path, sd1_folder):
    base = load_base(sd1_folder, device="cpu", dtype="bf16")
    control = new_control(base, "canny")
    train_control(control, worlds, tmp_path, **short())
    assert {p.dtype for p in control.parameters()} == {torch.float32}
    assert {p.dtype for p in base.unet.parameters()} == {torch.bfloat16}


def test_the_base_is_whole_where_nobody_can_be_told(worlds, tmp_path, sd1_folder):
    base = load_base(sd1_folder, device="cpu")
    (tmp_path / "file").touch()
    with pytest.raises((OSError, HackamoreError)):
        train_control(new_control(base, "canny"), worlds, tmp_path / "file", **short(memory={"ahead": True}))
    assert base.encode_text(["a lake"]).tokens.isfinite().all()


def test_settings_of_a_given_control_reach_it(sd1, worlds, tmp_path):
    told = {"control_settings": {"only_mid": True}, "data_settings": {"captions": "empty"}}
    train_control(new_control(sd1, "canny"), worlds, tmp_path, **short(lr=1e-2, warmup=0), **told)
    loaded = load_control(tmp_path, sd1)
    assert any(bool(p.any()) for p in loaded.zero_mid.parameters())
    assert not any(bool(p.any()) for p in loaded.zero_skips.parameters())


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"control_settings": {"rank": 3}}, "control.rank describes how a control is made"),
        ({"control_settings": {"init": "meadow/canny"}}, "control.init describes"),
        ({"control_settings": {"form": "xs"}}, "control.form is not the control's own"),
        ({"control_settings": {"zero_scale": -1}}, "control.zero_scale"),
        ({"kind": ("canny", "softedge")}, "kinds of hints do not fit"),
        ({"kind": "../evil"}, "kind"),
        ({"memory": {"base_dtype": "bf16"}}, "memory.base_dtype is not the type"),
        ({"run": "x"}, "run"),
        ({"data_settings": {"captions": "loud"}}, "data.captions"),
        ({"data_settings": {"hint": "elsewhere", "annotate": False}}, "no hints called elsewhere"),
    ],
)
def test_wrong_settings_leave_the_control_as_it_was(sd1, worlds, tmp_path, told, words):
    control = new_control(sd1, "canny").requires_grad_(False).eval()
    before = {name: p.clone() for name, p in control.named_parameters()}
    random = torch.get_rng_state()
    with pytest.raises(HackamoreError, match=words):
        train_control(control, worlds, tmp_path / "o", **short(**told))
    assert not control.training
    assert control.condition == "canny"
    assert not any(p.requires_grad for p in control.parameters())
    assert all(torch.equal(p, before[name]) for name, p in control.named_parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert not (tmp_path / "o").exists()


def test_what_is_no_control_is_said(sd1, worlds, tmp_path):
    with pytest.raises(HackamoreError, match="cannot be trained"):
        train_control(object(), worlds, tmp_path, base=sd1)


def test_a_fresh_start_is_drawn_by_the_runs_seed(sd1, worlds, tmp_path):
    weights = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(7)
        control = new_control(sd1, "canny")
        torch.manual_seed(number)
        train_control(control, worlds, tmp_path / str(number), **short(seed=seed))
        weights.append(control.hint_encoder.conv_out.weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_captions_that_look_like_prompts_are_probed_and_the_card_counts_right(sd1, worlds, tmp_path):
    rows = [json.loads(line) for line in (worlds / "metadata.jsonl").read_text().splitlines()]
    marked = [row | {"text": "a <lora:x:1> lake [one:other:0.5]"} for row in rows]
    for name in ("pictures", "seg"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(worlds / name)
    (tmp_path / "data" / "metadata.jsonl").write_text("\n".join(map(json.dumps, marked)))
    told = {"probe": {"every": 1, "steps": 1}, "sample_every": 1}
    out = train_control(new_control(sd1, "canny"), tmp_path / "data", tmp_path / "o", **short(**told))
    assert any("probe" in row for row in read_log(out / "log.jsonl"))
    assert "on 2 examples that were held back" in (out / "README.md").read_text()


def test_a_reward_is_the_same_in_parts(meadow, worlds, tmp_path):
    found = []
    for parts in (1, 4):
        told = short(batch_size=8, accumulate=parts, log_every=1, reward={"weight": 1, "start": 0, "below": 0.9})
        out = train_control(new_control(meadow, "canny"), worlds, tmp_path / str(parts), **told)
        found += [row["reward"] for row in read_log(out / "log.jsonl") if "reward" in row]
    assert found[0] > 0
    assert found[1] == pytest.approx(found[0], rel=1e-3)
