"""The fast mode: what is spared is not run, what is told is done, and sparing nothing changes nothing."""

import pytest
import torch

from hackamore.backends.openvino import OpenVINO
from hackamore.bases.base import Text
from hackamore.controls.adapter import new_adapter
from hackamore.controls.branch import new_control
from hackamore.controls.xs import new_xs
from hackamore.core.effort import LEVELS, Fast
from hackamore.core.residuals import Residuals
from hackamore.generate import generate
from hackamore.generate.replaying import replay
from hackamore.generate.together import generate_together

HINT = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255


@torch.no_grad()
def randomise(control):
    """A control that speaks, also where it begins silent."""
    generator = torch.Generator().manual_seed(0)
    for parameter in control.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return control.eval()


@pytest.fixture
def counted(sd1, monkeypatch):
    """A control, a base, and how many rows each of their runs had."""
    control, rows = randomise(new_control(sd1, "canny")), {"control": [], "whole": [], "shallow": []}

    def count(of, name, where, place):
        run = getattr(of, name)
        monkeypatch.setattr(of, name, lambda *told: rows[where].append(len(told[place])) or run(*told), raising=False)

    count(control, "residuals", "control", 0)
    count(sd1, "predict", "whole", 0)
    count(sd1, "predict_deep", "whole", 0)
    count(sd1, "predict_shallow", "shallow", 0)
    return sd1, control, rows


def latents(base, units=(), **told):
    settings = {"seed": 1, "size": (64, 64), "steps": 6, "guidance": 5.0} | told
    return generate(base, "a red circle", controls=units, **settings).latents


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_base_in_two_parts_gives_what_it_gives_whole(family, request):
    base = request.getfixturevalue(family)
    control = randomise(new_control(base, "canny"))
    x, t, text = torch.randn(2, 4, 8, 8), torch.tensor(500), base.encode_text(["a", "b"], (64, 64))
    with torch.no_grad():
        said = control.residuals(x, t, text, control.prepare(HINT).expand(2, -1, -1, -1))
        for told in (said, None, Residuals(said.skips), Residuals((), said.mid)):
            whole = base.predict(x, t, text, told)
            for layers in (1, 2):
                made, deep = base.predict_deep(x, t, text, told, layers)
                torch.testing.assert_close(made, whole, atol=1e-6, rtol=0)
                again = base.predict_shallow(x, t, text, told, deep, layers)
                torch.testing.assert_close(again, whole, atol=1e-6, rtol=0)


def test_an_odd_size_is_whole_too(sd1):
    x, t, text = torch.randn(1, 4, 9, 7), torch.tensor(500), sd1.encode_text(["a"])
    with torch.no_grad():
        torch.testing.assert_close(sd1.predict_deep(x, t, text, None, 1)[0], sd1.predict(x, t, text))


def test_sparing_nothing_changes_nothing(sd1):
    units = [randomise(new_control(sd1, "canny")).unit(HINT, scale=0.7)]
    assert torch.equal(latents(sd1, units, fast=Fast()), latents(sd1, units))


def test_half_of_guidance_is_run_for_both(counted):
    base, control, rows = counted
    made = latents(base, [control.unit(HINT)], fast=Fast(control_halves=False))
    assert rows == {"control": [1] * 6, "whole": [2] * 6, "shallow": []}
    exact = latents(base, [control.unit(HINT)])
    off = latents(base)
    assert 0 < (made - exact).abs().mean() < 0.5 * (off - exact).abs().mean()


def test_a_control_of_the_prompts_half_alone_is_not_said_to_both(sd1):
    units = [randomise(new_control(sd1, "canny")).unit(HINT, mode="control")]
    assert torch.equal(latents(sd1, units, fast=Fast(control_halves=False)), latents(sd1, units))


def test_outside_the_interval_of_guidance_the_prompt_runs_alone(counted):
    base, control, rows = counted
    latents(base, [control.unit(HINT)], fast=Fast(guidance_start=0.3, guidance_end=0.7))
    assert rows["whole"] == rows["control"] == [1, 1, 2, 2, 2, 1]


def test_no_guidance_anywhere_is_guidance_1(sd1):
    units = [randomise(new_control(sd1, "canny")).unit(HINT, prompt="a blue square")]
    assert torch.equal(latents(sd1, units, fast=Fast(guidance_end=0)), latents(sd1, units, guidance=1.0))


def test_controls_run_at_every_second_step_and_are_carried_on_between(counted):
    base, control, rows = counted
    made = latents(base, [control.unit(HINT)], fast=Fast(control_every=2))
    assert rows["control"] == [2, 2, 2]
    assert rows["whole"] == [2] * 6
    exact, off = latents(base, [control.unit(HINT)]), latents(base)
    assert 0 < (made - exact).abs().mean() < 0.5 * (off - exact).abs().mean()


def test_a_control_whose_window_begins_at_a_spared_step_runs_there(counted):
    base, control, rows = counted
    latents(base, [control.unit(HINT, start=0.5)], fast=Fast(control_every=2))
    assert len(rows["control"]) == 2  # at step 3, where it begins, and at 4


def test_guidance_that_begins_at_a_spared_step_has_its_control_run_for_both_halves(counted):
    base, control, rows = counted
    latents(base, [control.unit(HINT)], fast=Fast(control_every=2, guidance_start=0.5))
    assert rows["control"] == [1, 1, 2, 2]  # steps 0, 2, 3 and 4


def test_strengths_are_those_of_the_step_also_where_the_control_is_carried_on(sd1):
    control = randomise(new_control(sd1, "canny"))
    fast = Fast(control_every=6, carry="hold")
    fading = latents(sd1, [control.unit(HINT, schedule="1@0/0@0.1")], fast=fast)
    ended = latents(sd1, [control.unit(HINT, end=0.2)], fast=fast)
    assert torch.equal(fading, ended)


def test_controls_may_end_early(counted):
    base, control, rows = counted
    ended = latents(base, [control.unit(HINT)], fast=Fast(control_end=0.5))
    assert len(rows["control"]) == 3
    assert torch.equal(ended, latents(base, [control.unit(HINT, end=0.5)]))


def test_controls_inside_the_base_end_early_too(sd1):
    inside = randomise(new_xs(sd1, "canny", size_ratio=0.5))
    ended = latents(sd1, [inside.unit(HINT)], fast=Fast(control_end=0.5))
    assert torch.equal(ended, latents(sd1, [inside.unit(HINT, end=0.5)]))
    assert not torch.equal(ended, latents(sd1, [inside.unit(HINT)]))


def test_deep_features_are_kept_between(counted):
    base, control, rows = counted
    made = latents(base, [control.unit(HINT)], fast=Fast(deep_every=3))
    assert rows == {"control": [2, 2], "whole": [2, 2], "shallow": [2] * 4}
    exact = latents(base, [control.unit(HINT)])
    assert 0 < (made - exact).abs().mean() < (latents(base) - exact).abs().mean()


def test_where_a_base_has_no_deep_part_to_keep_it_is_run_whole(sd1, sd3):
    inside = randomise(new_xs(sd1, "canny", size_ratio=0.5)).unit(HINT)
    adapter = randomise(new_adapter(sd1, "depth")).unit(HINT)
    for units in ([inside], [adapter]):
        made = latents(sd1, units, fast=Fast(deep_every=2))
        torch.testing.assert_close(made, latents(sd1, units), atol=1e-4, rtol=0)
    assert torch.equal(latents(sd3, fast=Fast(deep_every=2)), latents(sd3))


def test_levels_are_told_in_the_recipe_and_replayed(meadow):
    made = generate(meadow, "a lake", seed=3, fast=3)
    recipe = made.images[0].recipe
    assert recipe.fast == LEVELS[3]
    assert (recipe.steps, recipe.scheduler) == (LEVELS[3].steps, LEVELS[3].scheduler)
    assert (replay(recipe).images[0].pixels == made.images[0].pixels).all()


def test_what_is_told_is_stronger_than_a_levels_own(meadow):
    recipe = generate(meadow, "a lake", fast=2, steps=3, scheduler="euler").images[0].recipe
    assert (recipe.steps, recipe.scheduler) == (3, "euler")


def test_pictures_of_several_generations_are_spared_alike(sd1):
    control = randomise(new_control(sd1, "canny"))
    fast = Fast(control_every=2, deep_every=2, guidance_end=0.5, control_halves=False)
    common = {"size": (64, 64), "steps": 5, "fast": fast}
    asked = [
        {"prompt": "a lake", "controls": [control.unit(HINT)], "seed": 1, **common},
        {"prompt": "a hill", "seed": 2, "guidance": 1.0, **common},
    ]
    together = generate_together(sd1, asked, batch=2)
    for one, told in zip(together, asked, strict=True):
        alone = generate(sd1, told.pop("prompt"), **told)
        torch.testing.assert_close(one.latents, alone.latents, atol=1e-4, rtol=0)


def test_tiles_keep_what_is_theirs(sd1):
    from hackamore.sampling.tiles import Tile

    control = randomise(new_control(sd1, "canny"))
    wide = torch.cat([HINT, HINT.flip(-1)], -1)
    told = {"size": (128, 64), "tile": Tile((64, 64), 16)}
    made = latents(sd1, [control.unit(wide)], fast=Fast(deep_every=2), **told)
    exact = latents(sd1, [control.unit(wide)], **told)
    assert 0 < (made - exact).abs().mean() < (latents(sd1, **told) - exact).abs().mean()


def test_compiled_graphs_spare_the_same(sd1, tmp_path):
    import copy

    control = randomise(new_control(sd1, "canny"))
    compiled = copy.copy(sd1)
    compiled.backend = OpenVINO(tmp_path)
    fast = Fast(deep_every=2, control_halves=False, guidance_end=0.5)
    units = [control.unit(HINT)]
    torch.testing.assert_close(latents(compiled, units, fast=fast), latents(sd1, units, fast=fast), atol=1e-4, rtol=0)
    exact, coarse = (
        latents(sd1, units, fast=fast),
        latents(compiled, units, fast=fast.model_copy(update={"bf16": True})),
    )
    assert (coarse - exact).abs().mean() < 0.1 * exact.std()


def test_text_of_the_prompts_half_is_its_last_rows(sd1):
    both = Text.cat([sd1.encode_negative([""]), sd1.encode_text(["a"])])
    assert torch.equal(both[-1:].tokens, sd1.encode_text(["a"]).tokens)
