"""Modes, layer weights, halves, own prompts and hidden parts: what each changes, and what it leaves alone."""

import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

from hackamore.bases.base import Text
from hackamore.controls.branch import new_control
from hackamore.controls.compose import Composition
from hackamore.controls.formats.diffusers import write_branch
from hackamore.controls.modes import MODES, mode_weights
from hackamore.core.errors import HackamoreError
from hackamore.core.residuals import Residuals, mask_for, spread_over
from hackamore.generate import check, generate
from tests.conftest import randomise
from tests.equivalence.agreement import agree

HINT = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255


@pytest.fixture(scope="module")
def branch(sd1):
    return randomise(new_control(sd1, "canny"))


def say(base, *units, guided=True, index=0, total=4):
    """What a composition adds to a batch of one picture in both halves of guidance."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 8, 8, generator=generator)
    text = base.encode_text(["a lake", "a red circle"][: 2 if guided else 1])
    x = torch.cat([x, x]) if guided else x
    own = [None if u.prompt is None else Text.cat([base.encode_text([u.prompt])] * len(x)) for u in units]
    return Composition(units, base).residuals(x, torch.tensor(300), text, index, total, slice(0, 1), own)


def made(base, *units, **told):
    return generate(base, "a red circle", controls=units, **({"seed": 1, "size": (64, 64), "steps": 4} | told)).latents


def test_weights_of_the_modes_are_the_published_ones():
    soft = mode_weights("prompt", 13)
    assert soft == mode_weights("control", 13) == [0.825 ** (12 - i) for i in range(13)]
    torch.testing.assert_close(torch.tensor(mode_weights("guess", 13)), torch.logspace(-1, 0, 13))
    assert mode_weights("balanced", 13) is None
    assert mode_weights("guess", 1) == [1.0]


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_weights_each_output_and_says_who_hears_it(sd1, branch, mode):
    plain, told = say(sd1, branch.unit(HINT)), say(sd1, branch.unit(HINT, mode=mode))
    weights = mode_weights(mode, 13) or [1.0] * 13
    for output, was, weight in zip((*told.skips, told.mid), (*plain.skips, plain.mid), weights, strict=True):
        torch.testing.assert_close(output[1], was[1] * weight)
        heard = bool(output[0].abs().max() > 0)
        assert heard == (mode in ("balanced", "prompt"))


def test_without_guidance_there_is_no_silent_half(sd1, branch):
    told = say(sd1, branch.unit(HINT, mode="guess"), guided=False)
    assert float(told.mid.abs().max()) > 0


def test_free_layer_weights_choose_outputs(sd1, branch):
    only_mid = say(sd1, branch.unit(HINT, weights=[0] * 12 + [0.5]))
    assert all(float(skip.abs().max()) == 0 for skip in only_mid.skips)
    torch.testing.assert_close(only_mid.mid, say(sd1, branch.unit(HINT)).mid * 0.5)
    soft = made(sd1, branch.unit(HINT, weights=[0.825 ** (12 - i) for i in range(13)]))
    assert torch.equal(soft, made(sd1, branch.unit(HINT, mode="prompt")))


def test_a_control_reads_its_own_prompt_and_the_base_does_not(sd1, branch):
    own, shared = say(sd1, branch.unit(HINT, prompt="a blue square")), say(sd1, branch.unit(HINT))
    assert (own.mid - shared.mid).abs().max() > 1e-5
    same = made(sd1, branch.unit(HINT, prompt="a red circle"))
    assert (same - made(sd1, branch.unit(HINT))).abs().max() <= 1e-5
    silent = made(sd1, branch.unit(HINT, prompt="a blue square", scale=0))
    assert torch.equal(silent, made(sd1))


def test_a_pooling_control_says_one_number_a_channel_to_the_conditional_half(sd1, branch):
    branch.pools = True
    try:
        told = say(sd1, branch.unit(HINT))
    finally:
        branch.pools = False
    plain = say(sd1, branch.unit(HINT))
    for output, was in zip((*told.skips, told.mid), (*plain.skips, plain.mid), strict=True):
        torch.testing.assert_close(output[1], was[1].mean((1, 2), keepdim=True).expand_as(was[1]))
        assert float(output[0].abs().max()) == 0


def test_what_is_hidden_reaches_the_network_as_minus_one(sd1, branch):
    hidden = torch.zeros(1, 1, 64, 64)
    hidden[..., :32] = 1
    seen = []
    hook = branch.hint_encoder.conv_in.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        say(sd1, branch.unit(HINT, hidden=hidden))
    finally:
        hook.remove()
    assert bool((seen[0][..., :32] == -1).all())
    assert torch.equal(seen[0][..., 32:], HINT[..., 32:])


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_guess_mode_is_diffusers(sd1, sd1_folder, branch, tmp_path, guidance):
    from PIL import Image

    from hackamore.core.image import from_hint
    from hackamore.sampling.schedulers import make_scheduler

    write_branch(branch, tmp_path)
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(
        sd1_folder,
        controlnet=ControlNetModel.from_pretrained(tmp_path, torch_dtype=torch.float32),
        scheduler=make_scheduler("ddim", sd1.scheduler_config),
        torch_dtype=torch.float32,
    )
    pipeline.set_progress_bar_config(disable=True)
    reference = pipeline(
        "", image=Image.fromarray(from_hint(HINT)[0]), num_inference_steps=4, guidance_scale=guidance, guess_mode=True,
        controlnet_conditioning_scale=0.9, generator=[torch.Generator().manual_seed(1)], output_type="latent",
        height=64, width=64,
    ).images  # fmt: skip
    settings = {"seed": 1, "size": (64, 64), "steps": 4, "guidance": guidance}
    mine = generate(sd1, "", controls=[branch.unit(HINT, scale=0.9, mode="guess")], **settings).latents
    free = generate(sd1, "", **settings).latents
    agree(
        mine, reference, free, family="sd1", kind="controlnet, guess mode",
        beside="diffusers: StableDiffusionControlNetPipeline",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "loud"}, "unknown mode"),
        ({"weights": [1, "x"]}, "not numbers"),
        ({"weights": []}, "out of range"),
        ({"weights": [1] * 13, "mode": "guess"}, "has layer weights and mode guess"),
        ({"type": "canny"}, "does not know 'type'"),
        ({"hidden": torch.zeros(1, 1, 64, 64)}, "hides nothing"),
    ],
)
def test_wrong_settings_are_one_sentence(branch, settings, words):
    with pytest.raises(HackamoreError, match=words):
        branch.unit(HINT, **settings)


def test_layer_weights_of_another_number_name_the_right_one(sd1, branch):
    with pytest.raises(HackamoreError, match="2 layer weights") as error:
        check(sd1, ["a lake"], controls=[branch.unit(HINT, weights=[1, 1])], size=(64, 64))
    assert "13" in str(error.value)


def test_fewer_outputs_serve_all_blocks_by_three_rules():
    outputs = [torch.tensor(float(i)) for i in range(5)]
    taken = {rule: [int(x) for x in spread_over(outputs, 12, rule)] for rule in ("share", "run", "turn")}
    assert taken["share"] == [int(i / (12 / 5)) for i in range(12)]
    assert taken["run"] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert taken["turn"] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert spread_over([], 12, "run") == ()


def test_a_mask_reaches_tokens_where_it_reaches_pixels():
    mask = torch.zeros(1, 1, 64, 128)
    mask[..., 32:] = 1
    pixels = mask_for(mask, torch.zeros(1, 3, 4, 8))
    tokens = mask_for(mask, torch.zeros(1, 32, 3))
    assert torch.equal(tokens[0, :, 0].reshape(4, 8), pixels[0, 0])
    assert torch.equal(pixels[0, 0, 0], torch.tensor([0.0, 0, 1, 1, 1, 1, 1, 1]))


@pytest.mark.parametrize("size", [(264, 384), (520, 640), (528, 768), (72, 8)])
def test_a_mask_finds_the_rows_of_tokens_at_every_level(size):
    mask = torch.zeros(1, 1, size[1], size[0])
    mask[..., : size[1] // 2, :] = 1
    width, height = size[0] // 8, size[1] // 8
    for _ in range(4):
        told = mask_for(mask, torch.zeros(1, height * width, 2))
        assert torch.equal(told, mask_for(mask, torch.zeros(1, 2, height, width)).flatten(2).transpose(1, 2))
        width, height = -(-width // 2), -(-height // 2)
    with pytest.raises(HackamoreError, match="fits nothing"):
        mask_for(mask, torch.zeros(1, 7, 2))


def test_a_mask_on_a_pooling_control_says_where_it_acts(sd1, branch):
    left = torch.zeros(1, 1, 64, 64)
    left[..., :32] = 1
    branch.pools = True
    try:
        told = say(sd1, branch.unit(HINT, mask=left))
    finally:
        branch.pools = False
    assert float(told.skips[0][1][..., 4:].abs().max()) == 0
    assert float(told.skips[0][1][..., :4].abs().min()) > 0


def test_residuals_of_different_sites_add_up():
    a = Residuals(skips=(torch.ones(1),), mid=torch.ones(1))
    b = Residuals(encoder=(torch.ones(1),), mid=torch.ones(1))
    both = a + b
    assert (len(both.skips), len(both.encoder), float(both.mid)) == (1, 1, 2.0)
    assert len(both) == 3


def test_a_control_that_reads_no_prompt_refuses_its_own(sd1):
    from hackamore.controls.adapter import new_adapter
    from hackamore.controls.xs import new_xs

    for control in (new_adapter(sd1), new_xs(sd1, size_ratio=0.5)):
        with pytest.raises(HackamoreError, match="reads no prompt"):
            control.unit(HINT, prompt="a lake")
