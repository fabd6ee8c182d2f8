"""Union controls: our latents are those of diffusers' union pipeline at the same weights, seed and scheduler."""

import pytest
import torch
from diffusers import ControlNetUnionModel, StableDiffusionXLControlNetUnionPipeline
from diffusers.models import MultiControlNetUnionModel
from PIL import Image

from hackamore.controls.catalog import load_control
from hackamore.controls.formats.union import write_union
from hackamore.core.image import from_hint
from hackamore.generate import generate
from hackamore.sampling.schedulers import make_scheduler
from tests.control_models import lively_union
from tests.equivalence.agreement import agree

BESIDE = "diffusers: StableDiffusionXLControlNetUnionPipeline"
PROMPT, NEGATIVE, STEPS = "a red circle at noon", "a lake", 5
HINTS = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255
PICTURES = [Image.fromarray(picture) for picture in from_hint(HINTS)]


@pytest.fixture(scope="module")
def folders(sdxl, tmp_path_factory):
    """Unions with random weights, with the eight types of ProMax."""
    made = [tmp_path_factory.mktemp(f"union{seed}") for seed in range(2)]
    for seed, folder in enumerate(made):
        write_union(lively_union(sdxl, seed), folder)
    return made


def theirs(base, base_folder, nets, guidance=5.0, **told):
    nets = [ControlNetUnionModel.from_pretrained(folder) for folder in nets]
    pipeline = StableDiffusionXLControlNetUnionPipeline.from_pretrained(
        base_folder,
        controlnet=MultiControlNetUnionModel(nets) if len(nets) > 1 else nets[0],
        scheduler=make_scheduler("ddim", base.scheduler_config),
        torch_dtype=torch.float32,
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        PROMPT, negative_prompt=NEGATIVE, guidance_scale=guidance, num_inference_steps=STEPS, height=64, width=64,
        generator=[torch.Generator().manual_seed(5)], output_type="latent", **told,
    ).images  # fmt: skip


def ours(base, units, guidance=5.0):
    told = {"negative": NEGATIVE, "seed": 5, "size": (64, 64), "steps": STEPS, "scheduler": "ddim"}
    return generate(base, PROMPT, controls=units, guidance=guidance, **told).latents


@pytest.mark.parametrize(("kind", "number", "guidance"), [("pose", 0, 5.0), ("tile", 6, 5.0), ("canny", 3, 1.0)])
def test_one_type(sdxl, sdxl_folder, folders, kind, number, guidance):
    unit = load_control(folders[0], sdxl).unit(HINTS[:1], type=kind, scale=0.7)
    told = {"control_image": [PICTURES[0]], "control_mode": [number], "controlnet_conditioning_scale": 0.7}
    reference = theirs(sdxl, sdxl_folder, folders[:1], guidance, **told)
    name = f"union, {kind}{'' if guidance > 1 else ', no guidance'}"
    agree(ours(sdxl, [unit], guidance), reference, ours(sdxl, [], guidance), family="sdxl", kind=name, beside=BESIDE)


@pytest.mark.parametrize("scales", [[1.0, 1.0], [0.7, 0.4]])
def test_two_types_together(sdxl, sdxl_folder, folders, scales):
    union = load_control(folders[0], sdxl)
    units = [union.unit(HINTS[:1], type="depth", scale=scales[0]), union.unit(HINTS[1:], type="seg", scale=scales[1])]
    told = {"control_image": PICTURES, "control_mode": [1, 5], "controlnet_conditioning_scale": scales}
    reference = theirs(sdxl, sdxl_folder, folders[:1], **told)
    agree(
        ours(sdxl, units), reference, ours(sdxl, []), family="sdxl", kind=f"union, two types at {scales}", beside=BESIDE
    )


def test_one_type_in_its_window(sdxl, sdxl_folder, folders):
    unit = load_control(folders[0], sdxl).unit(HINTS[:1], type="normal", scale=0.7, start=0.2, end=0.8)
    told = {"control_image": [PICTURES[0]], "control_mode": [4], "controlnet_conditioning_scale": 0.7}
    told |= {"control_guidance_start": 0.2, "control_guidance_end": 0.8}
    reference = theirs(sdxl, sdxl_folder, folders[:1], **told)
    agree(ours(sdxl, [unit]), reference, ours(sdxl, []), family="sdxl", kind="union, window", beside=BESIDE)


def test_two_unions_with_windows(sdxl, sdxl_folder, folders):
    one, other = (load_control(folder, sdxl) for folder in folders)
    units = [one.unit(HINTS[:1], type="depth", scale=0.7, end=0.6), other.unit(HINTS[1:], type="inpaint", scale=0.4)]
    reference = theirs(
        sdxl, sdxl_folder, folders, control_image=PICTURES, control_mode=[1, 7],
        controlnet_conditioning_scale=[0.7, 0.4], control_guidance_start=[0.0, 0.0], control_guidance_end=[0.6, 1.0],
    )  # fmt: skip
    agree(ours(sdxl, units), reference, ours(sdxl, []), family="sdxl", kind="two unions, windows", beside=BESIDE)
