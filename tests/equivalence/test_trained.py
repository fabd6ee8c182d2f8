"""A control that was trained here loads in diffusers, and gives the same pictures: one row for each kind."""

import pytest
import torch
from diffusers import (
    ControlNetModel,
    ControlNetUnionModel,
    ControlNetXSAdapter,
    FluxControlNetModel,
    FluxControlNetPipeline,
    FluxPipeline,
    SD3ControlNetModel,
    StableDiffusion3ControlNetPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionControlNetXSPipeline,
    StableDiffusionXLControlNetUnionPipeline,
    T2IAdapter,
)
from PIL import Image

from hackamore.bases.tokens import pack, unpack
from hackamore.controls.catalog import load_control
from hackamore.controls.formats.names import their_name
from hackamore.core.image import from_hint
from hackamore.generate import generate
from hackamore.sampling.loop import noise_like
from hackamore.sampling.schedulers import make_scheduler
from tests.equivalence.agreement import agree
from tests.equivalence.test_xs import fused
from tests.form_models import Asked, kinds_of, new_form, train
from tests.transformer_models import SD3, load, write_flux, write_sd3

PROMPT, NEGATIVE, STEPS, SEED = "a red circle at noon", "a lake", 3, 5
HINT = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255
PICTURE = Image.fromarray(from_hint(HINT)[0])
UNETS = {
    "controlnet": (ControlNetModel, StableDiffusionControlNetPipeline, "controlnet"),
    "t2i-adapter": (T2IAdapter, StableDiffusionAdapterPipeline, "adapter"),
    "t2i-adapter-light": (T2IAdapter, StableDiffusionAdapterPipeline, "adapter"),
    "xs": (ControlNetXSAdapter, StableDiffusionControlNetXSPipeline, "controlnet"),
}


def trained(base, form, folder):
    """A form after three steps that are long enough to be seen, written."""
    made = new_form(base, form)
    train(made, Asked(base, form), lr=1e-2)
    made.write(folder)
    return made


def ours(base, units, guidance=5.0, **told):
    told = {"negative": NEGATIVE, "seed": SEED, "size": (64, 64), "steps": STEPS} | told
    return generate(base, PROMPT, controls=units, guidance=guidance, **told).latents


def theirs(pipeline, guidance=5.0, **told):
    pipeline.set_progress_bar_config(disable=True)
    told |= {"num_inference_steps": STEPS, "guidance_scale": guidance, "negative_prompt": NEGATIVE}
    told |= {"output_type": "latent", "height": 64, "width": 64}
    return pipeline(PROMPT, **told).images


def row(base, folder, reference, form, pipeline, **told):
    control = load_control(folder, base)
    options = {"type": kinds_of(form)[0]} if form == "union" else {}
    mine, free = (ours(base, units, **told) for units in ([control.unit(HINT, **options)], []))
    kind = f"{form}, trained here"
    agree(mine, reference, free, family=base.family, kind=kind, beside=f"diffusers: {pipeline.__name__}")


@pytest.mark.parametrize("form", UNETS)
def test_for_a_unet(sd1, sd1_folder, tmp_path, form):
    trained(sd1, form, tmp_path)
    kind, pipeline, part = UNETS[form]
    net = kind.from_pretrained(tmp_path, torch_dtype=torch.float32)
    parts = {part: net} if form != "xs" else {"controlnet": None, "unet": fused(sd1, net.requires_grad_(False))}
    scheduler = make_scheduler("ddim", sd1.scheduler_config)
    whole = pipeline.from_pretrained(sd1_folder, **parts, scheduler=scheduler, torch_dtype=torch.float32)
    reference = theirs(whole, image=PICTURE, generator=[torch.Generator().manual_seed(SEED)])
    row(sd1, tmp_path, reference, form, pipeline, scheduler="ddim")


def test_a_control_lora_as_the_controlnet_that_it_stands_for(sd1, sd1_folder, tmp_path):
    """diffusers has no class for it; its own for ControlNets, with W + up·down, gives what our file gives."""
    network = trained(sd1, "control-lora", tmp_path).network.half().float()  # the file's numbers
    net = ControlNetModel.from_unet(
        sd1.unet, conditioning_channels=3, conditioning_embedding_out_channels=(16, 32, 96, 256)
    )
    rest = {their_name(name): p for name, p in network.named_parameters() if name.startswith(("hint_", "zero_"))}
    net.load_state_dict(network.merged() | rest)
    scheduler = make_scheduler("ddim", sd1.scheduler_config)
    pipeline = StableDiffusionControlNetPipeline
    whole = pipeline.from_pretrained(sd1_folder, controlnet=net, scheduler=scheduler, torch_dtype=torch.float32)
    reference = theirs(whole, image=PICTURE, generator=[torch.Generator().manual_seed(SEED)])
    mine, free = (ours(sd1, units, scheduler="ddim") for units in ([load_control(tmp_path, sd1).unit(HINT)], []))
    beside = "diffusers: StableDiffusionControlNetPipeline, W + up·down"
    agree(mine, reference, free, family="sd1", kind="control-lora, trained here", beside=beside)


def test_for_a_union(sdxl, sdxl_folder, tmp_path):
    trained(sdxl, "union", tmp_path)
    pipeline = StableDiffusionXLControlNetUnionPipeline
    whole = pipeline.from_pretrained(
        sdxl_folder, controlnet=ControlNetUnionModel.from_pretrained(tmp_path, torch_dtype=torch.float32),
        scheduler=make_scheduler("ddim", sdxl.scheduler_config), torch_dtype=torch.float32, add_watermarker=False,
    )  # fmt: skip
    generator = [torch.Generator().manual_seed(SEED)]
    reference = theirs(whole, control_image=[PICTURE], control_mode=[0], generator=generator)
    row(sdxl, tmp_path, reference, "union", pipeline, scheduler="ddim")


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_for_a_transformer(tmp_path, family):
    flux = family == "flux"
    folder = write_flux(tmp_path / "base") if flux else write_sd3(tmp_path / "base", SD3)
    base = load(folder)
    trained(base, "controlnet", tmp_path / "control")
    kind, plain, pipeline = (
        (FluxControlNetModel, FluxPipeline, FluxControlNetPipeline)
        if flux
        else (SD3ControlNetModel, StableDiffusion3Pipeline, StableDiffusion3ControlNetPipeline)
    )
    net = kind.from_pretrained(tmp_path / "control", torch_dtype=torch.float32)
    whole = pipeline(**plain.from_pretrained(folder, torch_dtype=torch.float32).components, controlnet=net)
    noise, _ = noise_like((16, 8, 8), [SEED])
    told = {"latents": pack(noise) if flux else noise, "control_image": PICTURE}
    guidance = 3.5 if flux else 5.0
    told |= {"true_cfg_scale": 1.0} if flux else {}
    reference = theirs(whole, guidance, **told)
    reference = unpack(reference, 8, 8) if flux else reference
    row(base, tmp_path / "control", reference, "controlnet", pipeline, guidance=guidance)
