"""``hackamore train`` as a user meets it: real runs on Meadow, a few steps long, and one sentence for what is wrong."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from hackamore.controls.catalog import load_control
from hackamore.data.worlds import write_worlds
from hackamore.generate import generate
from hackamore.training import disk
from hackamore.training.api import train
from hackamore.training.log import read_log

SHORT = (
    "--steps", 3, "--batch-size", 2, "--set", "run.log_every=1", "--set", "run.sample_every=3",
    "--set", "size=[64, 64]", "--set", "probe.every=3", "--set", "probe.count=2", "--set", "probe.steps=2",
    "--set", "run.warmup=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_worlds(tmp_path_factory.mktemp("pairs"), 12, 64, seed=300, workers=1)


def test_options_alone_train_a_control_that_says_how_it_is_doing(pairs, tmp_path, run, meadow):
    out = tmp_path / "out"
    code, told, err = run("train", "--data", pairs, "--kind", "canny", "--out", out, *SHORT)
    assert code == 0, err
    assert told.strip() == f"done: {out}"
    rows = read_log(out / "log.jsonl")
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3]
    (probe,) = [row["probe"] for row in rows if "probe" in row]
    assert probe["ceiling"] > probe["floor"]
    assert all(np.isfinite(probe[name]) for name in ("figure", "off", "normalised", "gain"))
    for name in ("README.md", "training.html", "best/config.json", "samples/step-00000003.png"):
        assert (out / name).is_file(), name
    control = load_control(out, meadow)
    hint = torch.rand(1, 3, 64, 64)
    on, off = (
        generate(meadow, "a lake", controls=units, size=(64, 64), steps=2).latents
        for units in ([control.unit(hint)], [])
    )
    assert not torch.equal(on, off)
    names = {path.name for path in out.glob("*.safetensors")}
    assert len(names) == 2
    other = load_control(out / (names - {"diffusion_pytorch_model.safetensors"}).pop(), meadow)
    assert torch.equal(other.zero_mid.weight, control.zero_mid.weight)


def test_a_run_that_is_done_is_not_begun_again_and_more_steps_go_on(pairs, tmp_path, run):
    words = ("train", "--data", pairs, "--kind", "seg", "--out", tmp_path / "o", *SHORT, "--set", "probe.every=0")
    assert run(*words)[0] == 0
    assert run(*words)[0] == 0
    assert [row["step"] for row in read_log(tmp_path / "o" / "log.jsonl") if "loss" in row] == [1, 2, 3]
    code, _, err = run(*words, "--steps", 5)
    assert code == 0
    assert "steps 3 → 5" in err
    assert [row["step"] for row in read_log(tmp_path / "o" / "log.jsonl") if "loss" in row] == [1, 2, 3, 4, 5]


def test_another_kind_in_the_same_folder_is_refused(pairs, tmp_path, run):
    words = ("--out", tmp_path / "o", *SHORT, "--set", "probe.every=0")
    assert run("train", "--data", pairs, "--kind", "seg", *words)[0] == 0
    code, _, err = run("train", "--data", pairs, "--kind", "depth", *words)
    assert code == 2
    assert "belongs to another kind" in err
    assert not (tmp_path / "o" / "depth.safetensors").exists()


def test_a_union_learns_several_kinds(pairs, tmp_path, run, meadow):
    kinds = ("--kind", "canny", "--kind", "seg", "--form", "union")
    code, _, err = run("train", "--data", pairs, *kinds, "--out", tmp_path / "u", *SHORT)
    assert code == 0, err
    (probe,) = [row["probe"] for row in read_log(tmp_path / "u" / "log.jsonl") if "probe" in row]
    assert {"canny.figure", "seg.figure", "normalised"} <= set(probe)
    assert load_control(tmp_path / "u", meadow).types[:1]


def test_pictures_alone_are_enough_where_an_annotator_makes_the_hints(pairs, tmp_path, run):
    shutil.copytree(pairs / "pictures", tmp_path / "mine")
    words = ("train", "--data", tmp_path / "mine", "--kind", "canny", "--out", tmp_path / "o", *SHORT)
    code, _, err = run(*words)
    assert code == 2
    assert "caption" in err
    assert not (tmp_path / "o").exists()
    code, _, err = run(*words, "--set", "data.captions=empty", "--set", "probe.every=0")
    assert code == 0, err


def test_check_reports_and_trains_nothing(pairs, tmp_path, run):
    words = ("train", "--data", pairs, "--kind", "seg", "--out", tmp_path / "o", "--check")
    code, out, _ = run(*words)
    assert code == 0
    assert "pairs: 12" in out
    assert "memory: about" in out
    assert "run on disk: about" in out
    assert not (tmp_path / "o").exists()
    broken = tmp_path / "broken"
    shutil.copytree(pairs, broken)
    next((broken / "pictures").iterdir()).write_bytes(b"no picture")
    Image.new("RGB", (64, 64)).save(sorted((broken / "seg").iterdir())[-1])
    code, out, err = run("train", "--data", broken, "--kind", "seg", "--out", tmp_path / "o", "--check")
    assert code == 2
    assert "problem" in err
    assert "00000" in out


def test_check_refuses_a_run_that_the_disk_has_no_room_for(pairs, tmp_path, run, monkeypatch):
    monkeypatch.setattr(disk, "free_disk", lambda folder: 9 << 20)
    code, out, err = run("train", "--data", pairs, "--kind", "seg", "--out", tmp_path / "o", "--check")
    assert (code, "disk with 9 MiB free" in out) == (2, True), err


def test_check_names_every_place_as_json(pairs, tmp_path, run):
    broken = tmp_path / "broken"
    shutil.copytree(pairs, broken)
    names = [f"{300 + number:08d}.png" for number in range(7)]
    for name in names:
        (broken / "pictures" / name).write_bytes(b"no picture")
    words = ("train", "--data", broken, "--kind", "seg", "--out", tmp_path / "o", "--check")
    code, told, err = run(*words)
    assert code == 2
    assert sum(name in told for name in names) == 3
    assert "and 4 more" in told
    assert "--json" in err
    code, told, err = run(*words, "--json")
    assert code == 2
    assert "--json" not in err
    (finding,) = [one for one in json.loads(told)["findings"] if one["code"] == "broken"]
    assert all(any(name in place for place in finding["places"]) for name in names)
    code, told, err = run(*words[:-1], "--json")
    assert (code, told) == (2, "")
    assert "--check" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--data", "nowhere", "--kind", "canny", "--out", "o"), "nowhere"),
        (("--data", "PAIRS", "--kind", "circles", "--out", "o"), "circles"),
        (("--data", "PAIRS", "--kind", "canny", "--out", "o", "--form", "lora"), "control.form"),
        (("--data", "PAIRS", "--kind", "canny", "--out", "o", "--base", "nothing"), "nothing"),
        (("--data", "PAIRS", "--kind", "canny", "--out", "o", "--init", "nothing"), "nothing"),
        (("--data", "PAIRS", "--kind", "canny", "--out", "o", "--set", "run.lr"), "section.name=value"),
        (("--data", "PAIRS", "--kind", "canny", "--out", "o", "--set", "objective.prediction=epsilon"), "epsilon"),
        (("--data", "PAIRS", "--kind", "canny", "--out", "o", "--set", "reward.weight=1", "--kind", "mlsd"), "union"),
        (("--data", "PAIRS", "--kind", "seg", "--out", "o", "--set", "reward.weight=1"), "reader"),
        (("--data", "PAIRS", "--kind", "canny", "--out", "o", "--lr", "-1"), "run.lr"),
        (("--data", "PAIRS", "--kind", "canny", "--out", "o", "--set", "size=[100, 100]"), "multiples of 8"),
        (("--kind", "canny", "--out", "o"), "data"),
        (
            ("--data", "PAIRS", "--kind", "canny", "--out", "o", "--set", "data.cache=/proc/x"),
            "caches cannot be written",
        ),
        ((), "are missing"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing(pairs, tmp_path, monkeypatch, run, words, told):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("train", *(str(pairs) if word == "PAIRS" else word for word in words))
    assert code == 2, err
    assert told in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) <= 4
    assert not (tmp_path / "o").exists()


def test_python_trains_what_it_is_given(pairs, tmp_path, meadow):
    from hackamore.controls.branch import new_control

    settings = {"steps": 2, "batch_size": 2, "log_every": 1, "probe": {"every": 0}, "size": (64, 64)}
    out = train(new_control(meadow), pairs, tmp_path / "o", kind="seg", quiet=True, **settings)
    assert load_control(out, meadow).condition == "seg"
    before = json.dumps(read_log(out / "log.jsonl"))
    train(new_control(meadow), pairs, tmp_path / "o", kind="seg", quiet=True, **settings)
    assert json.dumps(read_log(out / "log.jsonl")) == before


def test_a_run_tells_what_a_look_at_its_data_finds(pairs, tmp_path, run):
    inverted = tmp_path / "inverted"
    shutil.copytree(pairs, inverted, ignore=shutil.ignore_patterns(".cache"))
    (inverted / "canny").mkdir()
    for path in (inverted / "pictures").iterdir():
        edges = np.full((64, 64, 3), 255, np.uint8)
        edges[10 + hash(path.name) % 40] = 0
        Image.fromarray(edges).save(inverted / "canny" / path.name)
    words = ("--set", "probe.every=0", "--set", "data.flip=true")
    code, _, err = run("train", "--data", inverted, "--kind", "canny", "--out", tmp_path / "o", *SHORT, *words)
    assert code == 0
    assert "black on white" in err
    told = [row["warning"] for row in read_log(tmp_path / "o" / "log.jsonl") if "warning" in row]
    assert any("--check looks at all" in one for one in told)
    card = (tmp_path / "o" / "README.md").read_text()
    assert "read from the data" in card
    assert str(tmp_path) not in card


def test_a_condition_of_ones_own_is_trained_and_used(pairs, tmp_path, run):
    data = tmp_path / "data"
    shutil.copytree(pairs, data, ignore=shutil.ignore_patterns(".cache"))
    (data / "seg").rename(data / "mine")
    out = tmp_path / "o"
    words = ("--set", "probe.every=0")
    code, _, err = run("train", "--data", data, "--kind", "mine", "--out", out, *SHORT, *words)
    assert code == 0, err
    hint = next((data / "mine").iterdir())
    made = ("generate", "a lake", "--size", "64x64", "--steps", 2, "--out", tmp_path / "made.png")
    code, _, err = run(*made, "--control", f"mine={hint},model={out},hint=true")
    assert (code, err) == (0, "")
    code, _, err = run(*made, "--control", f"mine={hint},model={out}", "--overwrite")
    assert code == 2
    assert "mine" in err


def test_a_control_is_not_written_among_its_data(pairs, tmp_path, run):
    code, _, err = run("train", "--data", pairs, "--kind", "seg", "--out", pairs, *SHORT)
    assert code == 2
    assert "among its own data" in err
