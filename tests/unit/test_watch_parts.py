"""The parts that tell of a run: words, curves, grids of samples, and what may leave the machine."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFont
from safetensors.torch import save_file

from hackamore.training.forms.write import FORM
from hackamore.training.samples import LINES, Column, sample_files, wrapped, write_grid
from hackamore.training.watch import words
from hackamore.training.watch.curves import HEIGHT, WIDTH, Frame, curves_of, legend, svg, ticks, write_png
from hackamore.training.watch.private import hub_name, openly, public, without_paths
from hackamore.training.watch.progress import Pace
from hackamore.training.watch.push import chosen_files
from hackamore.training.watch.usage import pipeline_of, with_hackamore

FINITE = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (42.4, "42 s"), (90, "2 min"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h"), (float("nan"), "?")],
)
def test_durations(seconds, told):
    assert words.duration(seconds) == told


def test_learned_tells_the_share_of_what_is_possible_or_the_gain():
    probe = {"figure": 0.41, "floor": 0.2, "ceiling": 0.54, "normalised": 0.62, "gain": 0.03}
    assert words.learned(probe) == "learned 0.62 of what is possible (figure 0.41, floor 0.2, ceiling 0.54)"
    off = words.learned({"normalised": 0.4, "idle": 0.58, "gain": 9e-6})
    assert off == "not learned yet: 0.40 (control off 0.58)"
    assert words.learned({"normalised": 0.6, "idle": 0.3}).startswith("learned 0.60 of what is possible")
    assert words.learned({"normalised": None, "gain": 0.03}).startswith("hint gain +0.0300")
    assert words.learned({}) == "no figure yet"


@given(st.lists(FINITE, min_size=1, max_size=900), st.integers(2, 100))
def test_thinning_bounds_the_points_and_keeps_the_last(values, most):
    points = list(enumerate(values))
    thin = words.thinned(points, most)
    assert len(thin) <= most
    assert thin[-1] == points[-1]
    assert min(values) - 1e-6 <= min(y for _, y in thin)
    assert max(y for _, y in thin) <= max(values) + 1e-6


@given(FINITE, st.floats(1e-3, 1e6))
def test_ticks_are_round_even_and_inside(low, span):
    found = ticks(low, low + span, 4)
    assert 1 <= len(found) <= 9
    room = 1e-6 * max(abs(low), span)
    assert all(low - room <= tick <= low + span + room for tick in found)


def test_a_warning_that_repeats_is_told_once():
    rows = [{"step": 1, "warning": "a"}, {"step": 2, "warning": "b"}, {"step": 3, "warning": "a"}]
    assert words.warnings(rows) == [(1, "a"), (2, "b")]


def rows_of(count=12):
    rows = []
    for k in range(1, count + 1):
        rows.append({"step": 50 * k, "loss": 1 / k, "norm": 0.1, "lr": 1e-3, "samples_per_second": 20.0})
        learned = 0.02 if k < 6 else 0.6
        rows.append({"step": 50 * k, "probe": {"figure": 0.2 + learned / 2, "floor": 0.2, "ceiling": 0.7,
                                               "normalised": learned, "gain": 0.01 * k, "captions": 0.9}})  # fmt: skip
    return rows


def test_every_figure_of_the_log_has_its_curve_and_sudden_convergence_is_marked():
    curves = {curve.title: curve for curve in curves_of(rows_of())}
    assert list(curves) == [
        "Control fidelity", "Figure, as it is measured", "Loss", "Hint gain", "Caption accuracy", "Learning rate",
        "Gradient norm", "Samples a second",
    ]  # fmt: skip
    fidelity = curves["Control fidelity"]
    assert {series.name: {y for _, y in series.points} for series in fidelity.series[:2]} == {
        "floor": {0.0}, "ceiling": {1.0},
    }  # fmt: skip
    assert fidelity.marks == ((300.0, "sudden convergence"),)
    assert ("mark", "sudden convergence about step 300") in legend(fidelity)
    assert [series.name for series in curves["Loss"].series] == ["raw", "smoothed"]


def test_a_union_has_a_line_for_each_kind():
    rows = [{"step": s, "probe": {"normalised": 0.4, "canny.normalised": 0.3, "seg.normalised": 0.5}} for s in (1, 2)]
    names = [series.name for series in curves_of(rows)[0].series]
    assert names == ["floor", "ceiling", "canny", "seg", "learned"]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(-1e5, 1e5)), min_size=1, max_size=30))
def test_curves_stay_inside_their_frame_in_both_pens(found):
    rows = [{"step": step, "loss": loss} for step, loss in sorted(found)]
    (curve,) = curves_of(rows)
    frame = Frame(curve)
    for series in curve.series:
        for x, y in series.points:
            assert 0 <= frame.x(x) <= WIDTH
            assert -0.5 <= frame.y(y) <= HEIGHT
    ET.fromstring(svg(curve))


def test_what_is_no_number_is_not_drawn(tmp_path):
    assert curves_of([{"step": 1, "loss": float("nan"), "norm": float("inf"), "lr": None}, {"step": 2}]) == []
    write_png(tmp_path / "c.png", curves_of(rows_of()))
    with Image.open(tmp_path / "c.png") as file:
        assert file.size[0] == 2 * WIDTH * 2
        assert len(file.convert("RGB").getcolors(1 << 16)) > 8


def column(size, grey, caption="a house", true=True):
    """Pictures of one grey each: hint ``grey``, steered + 1, plain + 2, true + 3."""
    pictures = [np.full((size[1], size[0], 3), grey + k, np.uint8) for k in range(4)]
    return Column(pictures[0], pictures[1], pictures[2], pictures[3] if true else None, caption)


def test_a_grid_holds_every_pixel_of_every_picture(tmp_path):
    write_grid(tmp_path / "g.png", [column((64, 48), 50), column((48, 64), 60), column((64, 48), 70)])
    with Image.open(tmp_path / "g.png") as file:
        seen = np.asarray(file.convert("RGB"))
    for grey in (50, 60, 70):
        for k in range(4):
            count = int((seen == grey + k).all(2).sum())
            assert count >= 64 * 48 * 9
    assert np.asarray(seen).shape[1] > 3 * 192


def test_a_grid_without_true_pictures_has_no_row_for_them(tmp_path):
    heights = []
    for true in (True, False):
        write_grid(tmp_path / "g.png", [column((64, 64), 50, true=true)])
        with Image.open(tmp_path / "g.png") as file:
            heights.append(file.height)
    assert heights[0] - heights[1] > 192
    with pytest.raises(ValueError, match="column"):
        write_grid(tmp_path / "none.png", [])


@given(st.text(max_size=400), st.integers(40, 400))
def test_captions_never_leave_their_column(text, width):
    font = ImageFont.load_default(16)
    lines = wrapped(text, width, font)
    assert 1 <= len(lines) <= LINES
    assert all(font.getlength(line) <= width for line in lines)


def test_sample_files_are_found_in_the_order_of_their_steps(tmp_path):
    for name in ("step-00000020.png", "step-00000003.png", "other.png", "step-x.png"):
        (tmp_path / name).write_bytes(b"")
    assert [step for step, _ in sample_files(tmp_path)] == [3, 20]
    assert sample_files(tmp_path / "absent") == []


def test_settings_told_to_everybody_have_no_path_and_no_secret(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "base").mkdir(parents=True)
    told = openly({
        "base": "runs/base", "hub": "stable-diffusion-v1-5/stable-diffusion-v1-5", "init": "/home/me/secret/canny",
        "data": {"path": "~/pictures", "url": "https://me:word@example.org/a{000..009}.tar?token=abc"},
        "windows": "C:\\Users\\me\\x", "up": "../y/z", "many": [tmp_path / "q", 3], "lr": 1e-3, "words": "a/b split",
    })  # fmt: skip
    assert told == {
        "base": "base", "hub": "stable-diffusion-v1-5/stable-diffusion-v1-5", "init": "canny",
        "data": {"path": "pictures", "url": "https://example.org/a{000..009}.tar"},
        "windows": "x", "up": "z", "many": ["q", 3], "lr": 1e-3, "words": "a/b split",
    }  # fmt: skip
    assert public(tmp_path / "deep" / "name") == "name"


def test_sentences_lose_their_absolute_paths_and_keep_the_rest():
    text = "2 files of /home/me/data/x are broken, see ~/log.txt and https://example.org/a/b; 3/4 done, and/or more"
    assert without_paths(text) == (
        "2 files of x are broken, see log.txt and https://example.org/a/b; 3/4 done, and/or more"
    )


def test_a_hub_name_is_not_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "canny").mkdir(parents=True)
    assert hub_name("somebody/canny")
    assert not any(map(hub_name, ("runs/canny", "canny", "/a/b", "a/b/c", "../b")))


@pytest.mark.parametrize(
    ("config", "pipeline"),
    [
        ({"_class_name": "ControlNetModel", "cross_attention_dim": 768}, "StableDiffusionControlNetPipeline"),
        ({"_class_name": "ControlNetModel", "cross_attention_dim": 2048}, "StableDiffusionXLControlNetPipeline"),
        ({"_class_name": "T2IAdapter", "adapter_type": "light_adapter"}, "StableDiffusionAdapterPipeline"),
        ({"_class_name": "T2IAdapter", "adapter_type": "full_adapter_xl"}, "StableDiffusionXLAdapterPipeline"),
        ({"_class_name": "ControlNetXSAdapter", "cross_attention_dim": 2048}, "StableDiffusionXLControlNetXSPipeline"),
        ({"_class_name": "SD3ControlNetModel"}, "StableDiffusion3ControlNetPipeline"),
        ({"_class_name": "FluxControlNetModel"}, "FluxControlNetPipeline"),
        ({"_class_name": "ControlNetUnionModel", "cross_attention_dim": 768}, None),
        ({}, None),
    ],
)
def test_each_control_is_told_with_a_pipeline_that_diffusers_has(config, pipeline):
    import diffusers

    found = pipeline_of(config)
    assert (found and found[0]) == pipeline
    assert found is None or hasattr(diffusers, found[0])


def test_a_pushed_control_is_told_by_its_hub_name():
    assert 'snapshot_download("me/canny")' in with_hackamore("me/canny", "meadow", ["canny"])
    assert 'type="seg"' in with_hackamore("u", "meadow", ["seg", "canny"])
    assert "hint.png" in with_hackamore("u", "meadow", ["seg"])


def weights(path, told):
    path.parent.mkdir(exist_ok=True)
    save_file({"weight": torch.zeros(1)}, path, told)


def test_only_the_finished_control_its_card_and_the_newest_sample_are_pushed(tmp_path):
    """Even where it was trained into a folder that held other things."""
    for name in (
        "README.md", "config.json", "curves.png", "photo.png", "metadata.json", "notes.md", "pictures/a.png",
        "log.jsonl", "training.html", ".wandb.json", "checkpoints/step-00000001.pt", "best/config.json",
        "samples/step-00000001.png", "samples/step-00000002.png", "wandb/x.json", "tensorboard/y.json",
        "unet/config.json", "unet/notes.json", "vae/config.json",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({}))
    weights(tmp_path / "base.safetensors", {"format": "pt"})
    for folder in ("unet", "vae"):
        weights(tmp_path / folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    assert pushed(tmp_path) == {"README.md", "curves.png", "samples/step-00000002.png"}
    for name in ("diffusion_pytorch_model", "canny", "best/diffusion_pytorch_model", "other/canny"):
        weights(tmp_path / f"{name}.safetensors", {FORM: "controlnet"})
    assert pushed(tmp_path) == {
        "README.md", "config.json", "diffusion_pytorch_model.safetensors", "curves.png", "canny.safetensors",
        "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "samples/step-00000002.png",
    }  # fmt: skip


def pushed(folder):
    return {path.relative_to(folder).as_posix() for path in chosen_files(folder)}


def test_the_pace_forgets_what_was_long_ago():
    pace = Pace()
    pace.at(0, 0)
    assert pace.left(100) is None
    pace.at(10, 1)
    assert pace.left(101) == pytest.approx(1000)
    for second in range(11, 90):
        pace.at(second, 1 + 2 * (second - 10))
    assert pace.left(pace.seen[-1][1] + 20) == pytest.approx(10, rel=0.2)
