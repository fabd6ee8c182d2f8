"""T2I-Adapters, unions and flow-matching bases: begun from pictures, painted in part, enlarged, in tiles.

Where diffusers has no pipeline of the kind, its own networks are put into the pipeline that it has: adapter features
into the U-Net of img2img and inpainting; for tiles that do not overlap, each tile's part of the noise into a pipeline
of its own.
"""

import types
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    ControlNetUnionModel,
    FluxImg2ImgPipeline,
    FluxPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetUnionImg2ImgPipeline,
    StableDiffusionXLControlNetUnionInpaintPipeline,
    StableDiffusionXLControlNetUnionPipeline,
    StableDiffusionXLPipeline,
    T2IAdapter,
)
from PIL import Image

from hackamore.controls.adapter import new_adapter
from hackamore.controls.branch import new_control
from hackamore.controls.catalog import load_control
from hackamore.controls.formats.diffusers import write_branch
from hackamore.controls.formats.t2i import write_adapter
from hackamore.controls.formats.union import write_union
from hackamore.core.image import from_hint
from hackamore.generate import Tile, Upscale, generate
from hackamore.sampling.schedulers import make_scheduler
from hackamore.sampling.upscale import enlarge
from tests.conftest import randomise
from tests.control_models import lively_adapter, lively_union
from tests.equivalence.agreement import agree
from tests.transformer_models import SD35, load, write_flux, write_sd3

PROMPT, NEGATIVE, STEPS, SEED = "a red circle at noon", "a lake", 5, 5
PICTURE = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
MASK = np.zeros((64, 64, 3), np.uint8)
MASK[16:48, 32:64] = 255
BEGUN = {"image": Image.fromarray(PICTURE), "strength": 0.7}
PAINTED = BEGUN | {"mask_image": Image.fromarray(MASK)}
MINE = {"img2img": {"init": PICTURE, "strength": 0.7}, "inpainting": {"init": PICTURE, "mask": MASK, "strength": 0.7}}


def hint_of(size, seed=1):
    return torch.rand(1, 3, size[1], size[0], generator=torch.Generator().manual_seed(seed)).mul(255).round() / 255


def pil(hint):
    return Image.fromarray(from_hint(hint)[0])


def ours(base, units=(), **told):
    told = {"negative": NEGATIVE, "seed": SEED, "size": (64, 64), "steps": STEPS, "guidance": 5.0} | told
    return generate(base, PROMPT, controls=units, **told).latents


def theirs(kind, base, parts, drawn=0, **told):
    """The pipeline ``kind``; ``drawn`` numbers were taken from the generator by a first pass."""
    parts = parts | {"scheduler": make_scheduler(base.scheduler, base.scheduler_config)}
    pipeline = kind(**parts)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(SEED)
    torch.randn(1, 4, drawn // 4, generator=generator)
    flux = kind.__name__.startswith("Flux")
    told = (
        ({} if flux else {"negative_prompt": NEGATIVE}) | {"num_inference_steps": STEPS, "guidance_scale": 5.0} | told
    )
    return pipeline(PROMPT, generator=[generator], output_type="latent", **told).images


def parts_of(pipeline, folder, **told):
    """The parts of a pipeline, whose autoencoder gives the posterior's mode."""
    parts = pipeline.from_pretrained(folder, torch_dtype=torch.float32, **told).components
    encode = parts["vae"].encode
    parts["vae"].encode = lambda x: types.SimpleNamespace(latents=encode(x).latent_dist.mode())
    return parts


@pytest.fixture(scope="module")
def adapter(sd1, sd1_folder, tmp_path_factory):
    """A base's parts, an adapter of ours and the same of diffusers'."""
    folder = tmp_path_factory.mktemp("adapter")
    write_adapter(lively_adapter(new_adapter(sd1)), folder)
    parts = parts_of(StableDiffusionPipeline, sd1_folder)
    return parts | {"requires_safety_checker": False}, load_control(folder, sd1), T2IAdapter.from_pretrained(folder)


@pytest.fixture(scope="module")
def union(sdxl, sdxl_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("union")
    write_union(lively_union(sdxl), folder)
    parts = parts_of(StableDiffusionXLPipeline, sdxl_folder, add_watermarker=False)
    net = ControlNetUnionModel.from_pretrained(folder)
    return parts | {"controlnet": net, "add_watermarker": False}, load_control(folder, sdxl)


@contextmanager
def adapted(unet, net, hint, scale):
    """The U-Net with an adapter's features added, for both halves of guidance."""
    features = [torch.cat([x * scale] * 2) for x in net(hint)]
    plain = unet.forward

    def forward(*args, **told):
        return plain(*args, down_intrablock_additional_residuals=[x.clone() for x in features], **told)

    unet.forward = forward
    try:
        yield
    finally:
        del unet.forward


@pytest.mark.parametrize(
    ("way", "kind", "told"),
    [
        ("img2img", StableDiffusionImg2ImgPipeline, BEGUN),
        ("inpainting", StableDiffusionInpaintPipeline, PAINTED),
    ],
)
def test_adapters(sd1, adapter, way, kind, told):
    parts, mine, net = adapter
    hint = hint_of((64, 64))
    with torch.no_grad(), adapted(parts["unet"], net, hint, 0.8):
        reference = theirs(kind, sd1, parts, **told)
    latents = ours(sd1, [mine.unit(hint, scale=0.8)], **MINE[way])
    beside = f"diffusers: {kind.__name__} with T2IAdapter's features"
    agree(latents, reference, ours(sd1, **MINE[way]), family="sd1", kind=f"{way} × T2I-Adapter", beside=beside)


@pytest.mark.parametrize(
    ("way", "kind", "told"),
    [
        ("img2img", StableDiffusionXLControlNetUnionImg2ImgPipeline, BEGUN),
        ("inpainting", StableDiffusionXLControlNetUnionInpaintPipeline, PAINTED),
    ],
)
def test_unions(sdxl, union, way, kind, told):
    parts, mine = union
    hint = hint_of((64, 64))
    told = told | {"control_image": [pil(hint)], "control_mode": [1], "controlnet_conditioning_scale": 0.8}
    reference = theirs(kind, sdxl, parts, **told)
    latents = ours(sdxl, [mine.unit(hint, type="depth", scale=0.8)], **MINE[way])
    beside = f"diffusers: {kind.__name__}"
    agree(latents, reference, ours(sdxl, **MINE[way]), family="sdxl", kind=f"{way} × union", beside=beside)


UPSCALE = Upscale(size=(96, 96), strength=0.5)


def test_second_pass_with_an_adapter(sd1, adapter):
    parts, mine, net = adapter
    first = ours(sd1, [mine.unit(hint_of((64, 64)))])
    with torch.no_grad(), adapted(parts["unet"], net, hint_of((96, 96)), 1.0):
        told = {"image": enlarge(first, 12, 12), "strength": 0.5, "drawn": 256}
        reference = theirs(StableDiffusionImg2ImgPipeline, sd1, parts, **told)
    latents = ours(sd1, lambda size: [mine.unit(hint_of(size))], upscale=UPSCALE)
    beside = "diffusers: StableDiffusionImg2ImgPipeline with T2IAdapter's features"
    free = ours(sd1, upscale=UPSCALE)
    agree(latents, reference, free, family="sd1", kind="second pass × T2I-Adapter", beside=beside)


def test_second_pass_with_a_union(sdxl, union):
    parts, mine = union
    first = ours(sdxl, [mine.unit(hint_of((64, 64)), type="canny")])
    reference = theirs(
        StableDiffusionXLControlNetUnionImg2ImgPipeline, sdxl, parts, image=enlarge(first, 12, 12), strength=0.5,
        drawn=256, control_image=[pil(hint_of((96, 96)))], control_mode=[3], controlnet_conditioning_scale=1.0,
    )  # fmt: skip
    latents = ours(sdxl, lambda size: [mine.unit(hint_of(size), type="canny")], upscale=UPSCALE)
    beside, free = "diffusers: StableDiffusionXLControlNetUnionImg2ImgPipeline", ours(sdxl, upscale=UPSCALE)
    agree(latents, reference, free, family="sdxl", kind="second pass × union", beside=beside)


TILED = {"size": (128, 64), "tile": Tile(64, 0)}
WIDE = hint_of((128, 64))


def in_tiles(make):
    """What ``make(noise, hint)`` gives of the left and the right half."""
    noise = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(SEED))
    halves = [make(noise[..., 8 * k : 8 * k + 8], WIDE[..., 64 * k : 64 * k + 64]) for k in range(2)]
    return torch.cat(halves, 3)


def test_tiles_with_a_control(sd1, adapter, tmp_path):
    branch = randomise(new_control(sd1, "canny"))
    write_branch(branch, tmp_path)
    parts = adapter[0] | {"controlnet": ControlNetModel.from_pretrained(tmp_path, torch_dtype=torch.float32)}
    kind = StableDiffusionControlNetPipeline
    reference = in_tiles(lambda noise, hint: theirs(kind, sd1, parts, latents=noise, image=pil(hint)))
    latents, free = ours(sd1, [branch.unit(WIDE)], **TILED), ours(sd1, **TILED)
    beside = "diffusers: StableDiffusionControlNetPipeline for each tile"
    agree(latents, reference, free, family="sd1", kind="tiles × ControlNet", beside=beside)


def test_tiles_with_an_adapter(sd1, adapter):
    parts, mine, net = adapter

    def make(noise, hint):
        with torch.no_grad(), adapted(parts["unet"], net, hint, 1.0):
            return theirs(StableDiffusionPipeline, sd1, parts, latents=noise, height=64, width=64)

    latents, free = ours(sd1, [mine.unit(WIDE)], **TILED), ours(sd1, **TILED)
    beside = "diffusers: StableDiffusionPipeline with T2IAdapter's features for each tile"
    agree(latents, in_tiles(make), free, family="sd1", kind="tiles × T2I-Adapter", beside=beside)


def test_tiles_with_a_union(sdxl, union):
    parts, mine = union
    kind = StableDiffusionXLControlNetUnionPipeline
    reference = in_tiles(
        lambda noise, hint: theirs(kind, sdxl, parts, latents=noise, control_image=[pil(hint)], control_mode=[0])
    )
    latents, free = ours(sdxl, [mine.unit(WIDE, type="pose")], **TILED), ours(sdxl, **TILED)
    beside = "diffusers: StableDiffusionXLControlNetUnionPipeline for each tile"
    agree(latents, reference, free, family="sdxl", kind="tiles × union", beside=beside)


@pytest.fixture(scope="module")
def sd3(tmp_path_factory):
    folder = write_sd3(tmp_path_factory.mktemp("small-sd3"), SD35)
    return load(folder), parts_of(StableDiffusion3Pipeline, folder)


@pytest.mark.parametrize(
    ("way", "kind", "told"),
    [
        ("img2img", StableDiffusion3Img2ImgPipeline, BEGUN),
        ("inpainting", StableDiffusion3InpaintPipeline, PAINTED),
    ],
)
def test_flow_matching(sd3, way, kind, told):
    base, parts = sd3
    reference = theirs(kind, base, parts, height=64, width=64, **told)
    agree(ours(base, **MINE[way]), reference, None, family="sd3", kind=way, beside=f"diffusers: {kind.__name__}")


def test_flux(tmp_path):
    folder = write_flux(tmp_path)
    base = load(folder)
    parts = parts_of(FluxPipeline, folder)
    told = {"guidance_scale": 3.5, "height": 64, "width": 64}
    reference = theirs(FluxImg2ImgPipeline, base, parts, **told, **BEGUN)
    reference = FluxImg2ImgPipeline._unpack_latents(reference, 64, 64, 8)
    mine = ours(base, guidance=3.5, negative="", **MINE["img2img"])
    agree(mine, reference, None, family="flux", kind="img2img", beside="diffusers: FluxImg2ImgPipeline")
