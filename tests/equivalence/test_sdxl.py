"""SDXL: our latents are those of diffusers' XL pipelines at the same weights, alone and with controls."""

import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline
from PIL import Image

from hackamore.controls.branch import new_control
from hackamore.controls.catalog import load_control
from hackamore.controls.formats.diffusers import write_branch
from hackamore.core.image import from_hint
from hackamore.generate import generate
from hackamore.sampling.schedulers import make_scheduler
from tests.conftest import randomise
from tests.equivalence.agreement import agree

PROMPT, SIZE, STEPS = "a red circle at noon", (64, 48), 5
HINTS = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255
XL, XL_CONTROL = "diffusers: StableDiffusionXLPipeline", "diffusers: StableDiffusionXLControlNetPipeline"


@pytest.fixture(scope="session")
def controls(sdxl, tmp_path_factory):
    folders = []
    for seed in (0, 1):
        folders.append(tmp_path_factory.mktemp(f"sdxl-control{seed}"))
        write_branch(randomise(new_control(sdxl, "canny"), seed), folders[-1])
    return folders


def theirs(base, folder, controls=(), scheduler="euler", guidance=5.0, negative=None, **told):
    told |= {"num_inference_steps": STEPS, "guidance_scale": guidance, "negative_prompt": negative}
    told |= {"generator": [torch.Generator().manual_seed(5)], "output_type": "latent"}
    told |= {"width": SIZE[0], "height": SIZE[1]}
    kind, parts = StableDiffusionXLPipeline, {}
    if controls:
        nets = [ControlNetModel.from_pretrained(c, torch_dtype=torch.float32) for c in controls]
        kind, parts = StableDiffusionXLControlNetPipeline, {"controlnet": nets if len(nets) > 1 else nets[0]}
        pictures = [Image.fromarray(p) for p in from_hint(HINTS[: len(controls)])]
        told["image"] = pictures if len(pictures) > 1 else pictures[0]
    scheduler = make_scheduler(scheduler, base.scheduler_config)
    pipeline = kind.from_pretrained(
        folder, scheduler=scheduler, torch_dtype=torch.float32, add_watermarker=False, **parts
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(PROMPT, **told).images


def ours(base, controls=(), settings=(), scheduler="euler", guidance=5.0, negative=""):
    units = [
        load_control(folder, base).unit(HINTS[k : k + 1], **told)
        for k, (folder, told) in enumerate(zip(controls, settings, strict=True))
    ]
    told = {"negative": negative, "seed": 5, "size": SIZE, "steps": STEPS, "scheduler": scheduler}
    return generate(base, PROMPT, controls=units, guidance=guidance, **told).latents


def test_the_family_is_told(sdxl):
    assert sdxl.family == "sdxl"
    assert sdxl.sites.text_width == 2048
    assert len(sdxl.sites.skips) == 9


@pytest.mark.parametrize("negative", ["", "a lake"])
def test_without_a_control(sdxl, sdxl_folder, negative):
    reference = theirs(sdxl, sdxl_folder, negative=negative or None)
    agree(ours(sdxl, negative=negative), reference, None, family="sdxl", kind=f"none{negative and ', negative'}",
          beside=XL)  # fmt: skip


@pytest.mark.parametrize("scheduler", ["euler", "ddim", "dpm++_2m_karras"])
def test_one_control(sdxl, sdxl_folder, controls, scheduler):
    mine = ours(sdxl, controls[:1], [{"scale": 0.8}], scheduler)
    reference = theirs(sdxl, sdxl_folder, controls[:1], scheduler, controlnet_conditioning_scale=0.8)
    free = ours(sdxl, scheduler=scheduler)
    agree(mine, reference, free, family="sdxl", kind=f"ControlNet, {scheduler}", beside=XL_CONTROL)


def test_two_controls_with_windows(sdxl, sdxl_folder, controls):
    settings = [{"scale": 0.7, "end": 0.6}, {"scale": 0.4, "start": 0.3}]
    mine = ours(sdxl, controls, settings, negative="a lake")
    reference = theirs(
        sdxl, sdxl_folder, controls, negative="a lake", controlnet_conditioning_scale=[0.7, 0.4],
        control_guidance_start=[0.0, 0.3], control_guidance_end=[0.6, 1.0],
    )  # fmt: skip
    free = ours(sdxl, negative="a lake")
    agree(mine, reference, free, family="sdxl", kind="two ControlNets, windows", beside=XL_CONTROL)
