"""Palette, residuals, errors, files, recipes, exports."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hackamore
from hackamore.core import palette
from hackamore.core.errors import HackamoreError, unknown_name
from hackamore.core.files import written_whole
from hackamore.core.recipe import Machine, Recipe, UnitRecipe, embed, extract, read_recipe, save_png
from hackamore.core.residuals import Residuals

PICTURE = np.random.default_rng(1).integers(0, 256, (16, 24, 3), dtype=np.uint8)
MACHINE = Machine(hackamore="0", torch="2", diffusers="0", backend="cpu", dtype="float32", threads=2)
RECIPE = Recipe(
    base="meadow", prompt="a lake, “far”", negative="rain", seed=3, size=(24, 16), scheduler="ddim", steps=5,
    guidance=3.0,
    units=(UnitRecipe(control="meadow/canny", kind="canny", hint=embed(PICTURE), scale=0.5, start=0.0, end=0.7),),
    machine=MACHINE,
)  # fmt: skip


def test_every_export_is_there():
    assert all(getattr(hackamore, name) is not None for name in hackamore.__all__)
    assert set(hackamore.__all__) == set(hackamore._HOMES)


def test_a_name_of_the_package_stays_what_it_is_when_its_module_is_imported():
    import hackamore.generate

    assert callable(hackamore.generate)
    assert hackamore.generate is hackamore.generate
    assert hackamore.generate is sys.modules["hackamore.generate"].generate
    with pytest.raises(AttributeError):
        hackamore.nothing  # noqa: B018


def test_palette_has_sixteen_distinct_colours_and_reads_what_it_paints():
    assert len(palette.CLASSES) == len(np.unique(palette.COLOURS, axis=0)) == 16
    classes = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert np.array_equal(palette.read(palette.paint(classes)), classes)


def test_unknown_colours_are_named():
    picture = palette.paint(np.zeros((4, 4), np.uint8))
    picture[0, 0] = (1, 2, 3)
    with pytest.raises(HackamoreError, match="1 colours") as error:
        palette.read(picture)
    assert "#010203" in str(error.value)
    assert np.array_equal(palette.read(picture, tolerance=5)[0, :2], [15, 0])


def test_residuals_add_site_by_site():
    a = Residuals((torch.ones(1, 2, 4, 4),), None)
    b = Residuals((torch.ones(1, 2, 4, 4), torch.full((1, 3, 2, 2), 2.0)), torch.ones(1, 3, 2, 2))
    total = a + b
    assert float(total.skips[0].mean()) == 2
    assert float(total.skips[1].mean()) == 2
    assert float(total.mid.mean()) == 1
    assert (a + Residuals()).skips[0] is a.skips[0]


def test_a_mask_is_resampled_by_area():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    masked = Residuals((torch.ones(1, 2, 4, 4),), torch.ones(1, 2, 1, 1)).masked(mask)
    assert masked.skips[0][0, 0, 0].tolist() == [1, 1, 0, 0]
    assert float(masked.mid.mean()) == 0.5


def test_errors_are_one_to_four_lines():
    assert str(HackamoreError("wrong")) == "wrong"
    assert str(HackamoreError("wrong", received=1, expected=2, remedy="x")).splitlines() == [
        "wrong", "received: 1", "expected: 2", "try: x",
    ]  # fmt: skip
    assert "did you mean canny" in str(unknown_name("annotator", "cany", ["canny", "seg"]))


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), written_whole(tmp_path / "a.txt") as path:  # noqa: PT012
        path.write_text("half")
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HackamoreError, match="cannot write"), written_whole(tmp_path / "file" / "a.txt"):
        pass


def test_recipe_travels_inside_the_png(tmp_path):
    save_png(PICTURE, RECIPE, tmp_path / "p.png")
    save_png(PICTURE, RECIPE, tmp_path / "q.png")
    assert read_recipe(tmp_path / "p.png") == RECIPE
    assert (tmp_path / "p.png").read_bytes() == (tmp_path / "q.png").read_bytes()
    assert np.array_equal(extract(RECIPE.units[0].hint), PICTURE)
    lines = RECIPE.parameters().splitlines()
    assert lines[:2] == ["a lake, “far”", "Negative prompt: rain"]
    assert "Steps: 5, Sampler: ddim, CFG scale: 3, Seed: 3, Size: 24x16" in lines[2]
    assert 'ControlNet 0: "Module: canny, Model: meadow/canny, Weight: 0.5' in lines[2]


def test_a_png_without_recipe_says_so(tmp_path):
    save_png(PICTURE, None, tmp_path / "p.png")
    with pytest.raises(HackamoreError, match="no recipe"):
        read_recipe(tmp_path / "p.png")


@given(st.sampled_from(["torch", "threads", "dtype", "backend", "diffusers"]))
def test_recipes_say_what_differs(name):
    changed = RECIPE.model_copy(update={"machine": MACHINE.model_copy(update={name: 9})})
    assert RECIPE.differences(changed) == [f"{name} was {getattr(MACHINE, name)}, is 9"]
    assert RECIPE.differences(RECIPE) == []
