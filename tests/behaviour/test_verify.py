"""Verify, best of several, and the search for a figure."""

import numpy as np
import pytest
import torch

from hackamore.annotators.canny import Canny
from hackamore.annotators.hinting import hint_for
from hackamore.controls.branch import new_control
from hackamore.controls.catalog import load_control
from hackamore.controls.union import new_union
from hackamore.core import palette
from hackamore.core.errors import HackamoreError
from hackamore.core.recipe import read_recipe
from hackamore.evaluation.fidelity import scores
from hackamore.evaluation.verify import LARGEST_SCALE, Judge, best_of, joined, reach, search, verify
from hackamore.generate import generate
from hackamore.sampling.loop import Prefix
from hackamore.worlds import render
from tests.conftest import randomise

PROMPT = "mountains with a lake at noon"
SETTINGS = {"size": (64, 64), "steps": 4}


@pytest.fixture(scope="module")
def edges(meadow):
    return load_control("meadow/canny", meadow)


@pytest.fixture(scope="module")
def hint():
    return Canny()(render(9_000_001, 64).picture)


def test_figures_are_those_of_the_score_and_travel_in_the_recipe(meadow, edges, hint, tmp_path):
    unit = edges.unit(hint)
    judge = Judge([unit])
    result = verify(generate(meadow, PROMPT, controls=[unit], num=2, **SETTINGS), judge)
    for image in result.images:
        told = image.recipe.units[0].fidelity
        assert told == {s.name: round(s(image.pixels, hint), 4) for s in scores("canny")}
    result.images[0].save(tmp_path / "made.png")
    assert read_recipe(tmp_path / "made.png").units[0].fidelity == result.images[0].recipe.units[0].fidelity


def test_parameters_reach_the_reading(meadow, edges, hint):
    unit = edges.unit(hint)
    picture = render(9_000_001, 64).picture
    plain, strict = (Judge([unit], [words]).figures(picture)[0] for words in ({}, {"low": 300, "high": 900}))
    assert plain["canny F1 (2 px)"] == 1.0
    assert strict["canny F1 (2 px)"] < 0.9


def test_best_of_keeps_the_best_and_its_own_seed(meadow, edges, hint):
    unit = edges.unit(hint)
    judge = Judge([unit])
    result = best_of(meadow, PROMPT, 3, judge, seed=5, num=2, controls=[unit], **SETTINGS)
    all_of_them = verify(generate(meadow, PROMPT, controls=[unit], seed=5, num=6, **SETTINGS), judge)
    figures = [image.recipe.units[0].fidelity["canny F1 (2 px)"] for image in all_of_them.images]
    for k, image in enumerate(result.images):
        best = 3 * k + int(np.argmax(figures[3 * k : 3 * k + 3]))
        assert image.recipe.seed == 5 + best
        assert np.array_equal(image.pixels, all_of_them.images[best].pixels)
    assert len(result.latents) == 2


def test_several_units_are_ranked_together(meadow, edges, hint):
    judge = Judge([edges.unit(hint), edges.unit(255 - hint)])
    names = [{"canny F1 (2 px)": a} for a in (0.1, 0.5, 0.9)]
    assert judge.order([[names[0], names[2]], [names[1], names[1]], [names[2], names[2]]]) == [2, 0, 1]


def test_a_control_without_a_figure_is_a_notice_and_nothing_to_choose_by(sd1):
    unit = new_control(sd1, "my own condition").unit(torch.zeros(1, 3, 64, 64))
    judge = Judge([unit])
    assert "no control-fidelity figure" in judge.notices[0]
    with pytest.raises(HackamoreError, match="no control of this generation"):
        best_of(sd1, "a red circle", 2, judge, controls=[unit], size=(64, 64), steps=2)


@pytest.mark.parametrize("target", [0.2, 0.35, 0.5, 0.62, 0.8])
@pytest.mark.parametrize("bend", [0.5, 1.0, 2.0])
def test_search_finds_the_smallest_scale_of_a_rising_figure(target, bend):
    tried = []

    def probe(scale):
        tried.append(scale)
        return 0.1 + 0.8 * (scale / LARGEST_SCALE) ** bend

    scale = search(probe, target, scores("canny")[0])
    exact = LARGEST_SCALE * ((target - 0.1) / 0.8) ** (1 / bend)
    assert probe(scale) >= target
    assert probe(scale) <= target * 1.05 or scale - exact < 0.03
    assert len(set(tried)) <= 10


def test_search_goes_downwards_where_lower_is_better():
    found = search(lambda scale: 60 - 20 * scale, 45.0, scores("depth")[0])
    assert found == pytest.approx(0.75, abs=0.1)
    assert 60 - 20 * found <= 45


def test_reach_gives_the_picture_and_its_cost_and_shares_the_silent_steps(meadow, edges, hint):
    unit = edges.unit(hint, start=0.5)
    judge = Judge([unit])
    result, found = reach(meadow, PROMPT, 0.4, judge, controls=[unit], **SETTINGS)
    assert result.images[0].recipe.units[0].scale == found.scale
    assert found.cost == pytest.approx(0.5 + 0.5 * len(found.probes))
    again = generate(meadow, PROMPT, controls=[unit.scaled_to(found.scale)], **SETTINGS)
    assert np.array_equal(again.images[0].pixels, result.images[0].pixels)
    assert len(joined([result, result]).images) == 2


def test_what_cannot_be_reached_comes_back_as_near_as_it_got(meadow, edges, hint):
    unit = edges.unit(hint)
    result, found = reach(meadow, PROMPT, 0.999, Judge([unit]), controls=[unit], **SETTINGS)
    assert not found.reached
    assert found.figure == max(figure for _, figure in found.probes)
    assert result.images[0].recipe.units[0].scale == found.scale


@pytest.mark.parametrize("target", [0.0, -1.0, 1.5, float("nan")])
def test_a_target_out_of_range_is_refused(meadow, edges, hint, target):
    unit = edges.unit(hint)
    with pytest.raises(HackamoreError, match="target fidelity is out of range"):
        reach(meadow, PROMPT, target, Judge([unit]), controls=[unit], **SETTINGS)


@pytest.mark.parametrize("scheduler", ["ddim", "euler_a", "dpm++_2m", "unipc"])
def test_a_run_from_a_prefix_equals_the_whole_run(sd1, scheduler):
    control = randomise(new_control(sd1))
    hint = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    told = {"seed": 3, "size": (64, 64), "steps": 6, "scheduler": scheduler}
    prefix, run = Prefix(3), []
    for scale in (0.5, 1.0, 0.5):
        units = [control.unit(hint, scale=scale, start=0.5)]
        whole = generate(sd1, "a red circle", controls=units, **told).latents
        shared = generate(
            sd1, "a red circle", controls=units, prefix=prefix, progress=lambda p: run.append(p.step.index), **told
        ).latents
        assert torch.equal(whole, shared)
    assert run == [0, 1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5]


def test_a_pose_is_judged_by_its_people(meadow):
    world = render(9_050_000, 64, people=1.0)
    made = hint_for("pose", world.people, size=(64, 64))
    assert made.people is not None
    control = load_control("meadow/canny", meadow)
    control.condition = "pose"
    unit = control.unit(made.picture)
    figures = Judge([unit], people=[made.people]).figures(world.picture)[0]
    assert set(figures) <= {score.name for score in scores("pose")}
    assert 0 <= figures[scores("pose")[0].name] <= 1
    assert "no control-fidelity figure" in Judge([unit]).notices[0]


def test_a_prefix_belongs_to_one_picture(sd1):
    told = {"size": (64, 64), "steps": 4}
    prefix = Prefix(2)
    generate(sd1, "a red circle", seed=1, prefix=prefix, **told)
    for wrong in ({"seed": 2}, {"seed": 1, "num": 2}):
        with pytest.raises(HackamoreError, match="one and the same picture"):
            generate(sd1, "a red circle", prefix=prefix, **wrong, **told)


def test_best_of_takes_one_hint(meadow, edges, hint):
    unit = edges.unit(torch.rand(2, 3, 64, 64))
    with pytest.raises(HackamoreError, match="one hint at a time"):
        best_of(meadow, PROMPT, 2, Judge([unit]), num=2, controls=[unit], **SETTINGS)


def test_a_segmentation_kept_as_jpeg_has_a_figure_and_one_of_another_palette_has_none(meadow):
    painted = render(9_500_003, 64)
    control = load_control("meadow/seg", meadow)
    near = palette.paint(painted.segmentation).astype(int) + np.random.default_rng(0).integers(-4, 5, (64, 64, 3))
    unit = control.unit(np.clip(near, 0, 255).astype(np.uint8))
    assert Judge([unit]).figures(painted.picture)[0]["seg agreement"] > 0.4
    other = control.unit(palette.ADE20K.paint(np.full((64, 64), 40, np.uint8)))
    assert "no control-fidelity figure" in Judge([other]).notices[0]


def test_a_unions_hint_is_judged_as_the_type_that_it_is(meadow, edges, hint):
    unit = new_union(meadow, ("depth", "canny")).unit(hint, type="canny")
    result = verify(generate(meadow, PROMPT, controls=[unit], **SETTINGS), Judge([unit]))
    told = result.images[0].recipe.units[0].fidelity
    same = verify(generate(meadow, PROMPT, controls=[edges.unit(hint, scale=0)], **SETTINGS), Judge([edges.unit(hint)]))
    assert told == same.images[0].recipe.units[0].fidelity  # a fresh union says nothing
