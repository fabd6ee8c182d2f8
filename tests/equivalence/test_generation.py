"""img2img, inpainting and the second pass: the latents of diffusers' pipelines, given the posterior's mode.

Their pipelines draw from the posterior; ours take its mode, so that a picture is encoded alike every time.
Here theirs are handed the mode.
"""

import types

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from PIL import Image

from hackamore.controls.branch import new_control
from hackamore.controls.catalog import load_control
from hackamore.controls.formats.diffusers import write_branch
from hackamore.core.image import from_hint
from hackamore.generate import Upscale, generate
from hackamore.sampling.schedulers import make_scheduler
from hackamore.sampling.upscale import enlarge
from tests.conftest import randomise
from tests.equivalence.agreement import agree

PROMPT, NEGATIVE, STEPS, SEED = "a red circle at noon", "a lake", 6, 5
HINT = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255
PICTURE = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
MASK = np.zeros((64, 64, 3), np.uint8)
MASK[16:56, 24:64] = 255


@pytest.fixture(scope="module", params=["sd1", "sd2"])
def shape(request, tmp_path_factory):
    """A small base, a control for it, and the parts of diffusers' pipelines."""
    base = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp("control")
    write_branch(randomise(new_control(base, "canny")), folder)
    whole = request.getfixturevalue(f"{request.param}_folder")
    parts = StableDiffusionPipeline.from_pretrained(whole, torch_dtype=torch.float32).components
    encode = parts["vae"].encode
    parts["vae"].encode = lambda x: types.SimpleNamespace(latents=encode(x).latent_dist.mode())
    net = ControlNetModel.from_pretrained(folder, torch_dtype=torch.float32)
    return base, load_control(folder, base), parts, net


def theirs(kind, shape, scheduler, control=False, generator=None, **told):
    """The pipeline ``kind`` at our weights, seed and scheduler."""
    base, _, parts, net = shape
    parts = parts | {"scheduler": make_scheduler(scheduler, base.scheduler_config)}
    if control:
        parts["controlnet"] = net
        told = {"control_image": Image.fromarray(from_hint(HINT)[0])} | told
    pipeline = kind(**parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    generator = generator or torch.Generator().manual_seed(SEED)
    told = {"num_inference_steps": STEPS, "guidance_scale": 5.0, "negative_prompt": NEGATIVE} | told
    return pipeline(PROMPT, generator=[generator], output_type="latent", **told).images


def ours(shape, scheduler, control=None, **told):
    units = [] if control is None else [shape[1].unit(HINT, **control)]
    told = {"negative": NEGATIVE, "seed": SEED, "size": (64, 64), "steps": STEPS, "guidance": 5.0} | told
    return generate(shape[0], PROMPT, controls=units, scheduler=scheduler, **told).latents


@pytest.mark.parametrize("scheduler", ["ddim", "euler_a", "dpm++_2m_karras", "unipc", "lcm"])
def test_img2img(shape, scheduler):
    told = {"image": Image.fromarray(PICTURE), "strength": 0.7}
    mine = ours(shape, scheduler, init=PICTURE, strength=0.7)
    reference = theirs(StableDiffusionImg2ImgPipeline, shape, scheduler, **told)
    beside = "diffusers: StableDiffusionImg2ImgPipeline"
    agree(mine, reference, None, family=shape[0].family, kind=f"img2img, {scheduler}", beside=beside)


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_img2img_with_a_control_whose_window_counts_the_steps_that_run(shape, strength):
    free = ours(shape, "euler", init=PICTURE, strength=strength)
    mine = ours(shape, "euler", {"scale": 0.8, "start": 0.3, "end": 0.7}, init=PICTURE, strength=strength)
    reference = theirs(
        StableDiffusionControlNetImg2ImgPipeline, shape, "euler", control=True, image=Image.fromarray(PICTURE),
        strength=strength, controlnet_conditioning_scale=0.8, control_guidance_start=0.3, control_guidance_end=0.7,
    )  # fmt: skip
    beside, kind = "diffusers: StableDiffusionControlNetImg2ImgPipeline", f"img2img {strength:g} × ControlNet"
    agree(mine, reference, free, family=shape[0].family, kind=kind, beside=beside)


@pytest.mark.parametrize(("scheduler", "strength"), [("ddim", 1.0), ("euler", 0.6), ("dpm++_2m", 0.6)])
def test_inpainting(shape, scheduler, strength):
    pictures = {"image": Image.fromarray(PICTURE), "mask_image": Image.fromarray(MASK)}
    mine = ours(shape, scheduler, init=PICTURE, mask=MASK, strength=strength)
    reference = theirs(StableDiffusionInpaintPipeline, shape, scheduler, strength=strength, **pictures)
    beside = "diffusers: StableDiffusionInpaintPipeline"
    agree(mine, reference, None, family=shape[0].family, kind=f"inpainting {strength:g}, {scheduler}", beside=beside)


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_inpainting_with_a_control(shape, strength):
    pictures = {"image": Image.fromarray(PICTURE), "mask_image": Image.fromarray(MASK)}
    free = ours(shape, "ddim", init=PICTURE, mask=MASK, strength=strength)
    mine = ours(shape, "ddim", {"scale": 0.8}, init=PICTURE, mask=MASK, strength=strength)
    reference = theirs(
        StableDiffusionControlNetInpaintPipeline, shape, "ddim", control=True, strength=strength,
        controlnet_conditioning_scale=0.8, **pictures,
    )  # fmt: skip
    beside, kind = "diffusers: StableDiffusionControlNetInpaintPipeline", f"inpainting {strength:g} × ControlNet"
    agree(mine, reference, free, family=shape[0].family, kind=kind, beside=beside)


def test_the_second_pass_is_img2img_of_enlarged_latents(shape):
    base, control, *_ = shape
    hints = {size: torch.nn.functional.interpolate(HINT, size[::-1]) for size in ((64, 64), (96, 96))}
    told = {"negative": NEGATIVE, "seed": SEED, "size": (64, 64), "steps": STEPS, "guidance": 5.0}
    upscale = Upscale(size=(96, 96), strength=0.5, steps=8)
    made = [
        generate(base, PROMPT, controls=controls, scheduler="ddim", upscale=upscale, **told).latents
        for controls in (lambda size: [control.unit(hints[size], scale=0.8)], ())
    ]
    first = generate(base, PROMPT, controls=[control.unit(hints[64, 64], scale=0.8)], scheduler="ddim", **told).latents
    generator = torch.Generator().manual_seed(SEED)
    torch.randn(1, 4, 8, 8, generator=generator)  # what the first pass drew
    reference = theirs(
        StableDiffusionControlNetImg2ImgPipeline, shape, "ddim", control=True, image=enlarge(first, 12, 12),
        generator=generator, strength=0.5, num_inference_steps=8, controlnet_conditioning_scale=0.8,
        control_image=Image.fromarray(from_hint(hints[96, 96])[0]),
    )  # fmt: skip
    beside, kind = "diffusers: StableDiffusionControlNetImg2ImgPipeline", "second pass × ControlNet"
    agree(made[0], reference, made[1], family=base.family, kind=kind, beside=beside)
