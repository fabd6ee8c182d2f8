"""Every form in which a ControlNet is published steers as diffusers' pipeline does with the same weights."""

from functools import cache

import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline
from PIL import Image

from hackamore.controls.catalog import load_control
from hackamore.controls.formats.convert import convert
from hackamore.core.image import from_hint
from hackamore.generate import generate
from hackamore.sampling.schedulers import make_scheduler
from tests.equivalence.agreement import agree
from tests.format_models import cldm, control_lora, difference, net_for, save, whole

HINT = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255
PIPELINES = {
    "sd1": StableDiffusionControlNetPipeline,
    "sd2": StableDiffusionControlNetPipeline,
    "sdxl": StableDiffusionXLControlNetPipeline,
}


def ours(base, *units):
    told = {"negative": "a lake", "seed": 5, "size": (64, 64), "steps": 3, "guidance": 5.0, "scheduler": "ddim"}
    return generate(base, "a red circle", controls=units, **told).latents


def beside(base):
    return f"diffusers: {PIPELINES[base.family].__name__}"


def theirs(base, folder, net):
    pipeline = PIPELINES[base.family].from_pretrained(
        folder, controlnet=net, scheduler=make_scheduler("ddim", base.scheduler_config), torch_dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        "a red circle", image=Image.fromarray(from_hint(HINT)[0]), negative_prompt="a lake", num_inference_steps=3,
        guidance_scale=5.0, generator=[torch.Generator().manual_seed(5)], output_type="latent", height=64, width=64,
    ).images  # fmt: skip


@pytest.fixture(scope="session")
def case(request):
    """Shape → itself, a base, a ControlNet for it, what the reference makes of both, and what is without."""

    @cache
    def made(shape):
        base = request.getfixturevalue(shape)
        net = net_for(base.unet)
        return shape, base, net, theirs(base, request.getfixturevalue(f"{shape}_folder"), net), ours(base)

    return made


FORMS = {
    "cldm .safetensors": lambda net, unet, at: save(cldm(net), at / "control.safetensors"),
    "cldm .pth without prefix": lambda net, unet, at: save(cldm(net, ""), at / "control.pth"),
    "cldm whole model .ckpt": lambda net, unet, at: save(whole(cldm(net), unet), at / "control.ckpt"),
    "difference": lambda net, unet, at: save(difference(cldm(net), unet), at / "control.safetensors"),
    "diffusers folder": lambda net, unet, at: net.save_pretrained(at / "control") or at / "control",
    "diffusers single file": lambda net, unet, at: save(net.state_dict(), at / "control.safetensors"),
    "diffusers .bin folder": lambda net, unet, at: (
        net.save_pretrained(at / "control", safe_serialization=False) or at / "control"
    ),
    "diffusers shards": lambda net, unet, at: (
        net.save_pretrained(at / "control", max_shard_size="500KB") or at / "control"
    ),
}


COMMON = ("cldm .safetensors", "cldm whole model .ckpt", "difference", "diffusers folder")
ROWS = [("sd1", form) for form in FORMS] + [(shape, form) for shape in ("sd2", "sdxl") for form in COMMON]


@pytest.mark.parametrize(("shape", "form"), ROWS)
def test_a_controlnet_in_every_form(case, shape, form, tmp_path):
    shape, base, net, reference, free = case(shape)
    path = FORMS[form](net, base.unet, tmp_path)
    mine = ours(base, load_control(path, base).unit(HINT))
    agree(mine, reference, free, family=shape, kind=f"ControlNet, {form}", beside=beside(base))


@pytest.mark.parametrize("to", ["cldm", "diffusers"])
@pytest.mark.parametrize("shape", ["sd1", "sd2"])  # the library's reader of single files knows no more
def test_what_convert_writes_is_what_diffusers_reads(case, shape, to, tmp_path):
    _, _, net, _, _ = case(shape)
    net.save_pretrained(tmp_path / "net")
    path = convert(tmp_path / "net", tmp_path / "made.safetensors", to)
    (tmp_path / "settings").mkdir()
    net.save_config(tmp_path / "settings")
    read = ControlNetModel.from_single_file(str(path), config=str(tmp_path / "settings"), local_files_only=True)
    assert all(torch.equal(value, read.state_dict()[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("shape", ["sd1", "sd2", "sdxl"])
def test_a_control_lora(request, case, shape, tmp_path):
    shape, base, net, _, free = case(shape)
    tensors, meant = control_lora(net, base.unet)
    path = save(tensors, tmp_path / "control-lora.safetensors")
    mine = ours(base, load_control(path, base).unit(HINT))
    reference = theirs(base, request.getfixturevalue(f"{shape}_folder"), meant)
    agree(mine, reference, free, family=shape, kind="Control-LoRA", beside=f"{beside(base)}, weights made whole")


def test_a_shuffle_control_by_config_by_name_and_as_asked(request, case, tmp_path):
    shape, base, _, _, free = case("sd1")
    pooled = net_for(base.unet, global_pool_conditions=True)
    pooled.save_pretrained(tmp_path / "folder")
    named, plain = save(cldm(pooled), tmp_path / "control_shuffle.pth"), save(cldm(pooled), tmp_path / "plain.pth")
    units = [
        load_control(path, base, **told).unit(HINT)
        for path, told in ((tmp_path / "folder", {}), (named, {}), (plain, {"pools": True}))
    ]
    reference = theirs(base, request.getfixturevalue(f"{shape}_folder"), pooled)
    for unit in units:
        agree(ours(base, unit), reference, free, family=shape, kind="ControlNet, shuffle", beside=beside(base))
    assert not load_control(named, base, pools=False).pools
    assert not load_control(plain, base).pools


def test_a_control_that_takes_blue_first(request, case, tmp_path):
    shape, base, _, _, free = case("sd1")
    net = net_for(base.unet, controlnet_conditioning_channel_order="bgr")
    net.save_pretrained(tmp_path / "net")
    reference = theirs(base, request.getfixturevalue(f"{shape}_folder"), net)
    mine = ours(base, load_control(tmp_path / "net", base).unit(HINT))
    agree(mine, reference, free, family=shape, kind="ControlNet, blue first", beside=beside(base))


SIZES = {
    "mid": {
        "down_block_types": ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"), "transformer_layers_per_block": 1
    },
    "small": {
        "down_block_types": ("DownBlock2D",) * 3, "transformer_layers_per_block": 1, "mid_block_type": "UNetMidBlock2D"
    },
}  # fmt: skip
"""The published controls for SDXL with fewer transformer layers, or none."""


@pytest.mark.parametrize("layout", ["cldm", "diffusers"])
@pytest.mark.parametrize("size", SIZES)
def test_smaller_controls_for_sdxl(sdxl, sdxl_folder, size, layout, tmp_path):
    net = net_for(sdxl.unet, **SIZES[size])
    path = save(cldm(net) if layout == "cldm" else net.state_dict(), tmp_path / "control.safetensors")
    mine = ours(sdxl, load_control(path, sdxl).unit(HINT))
    kind = f"ControlNet, {size}, {layout}"
    agree(mine, theirs(sdxl, sdxl_folder, net), ours(sdxl), family="sdxl", kind=kind, beside=beside(sdxl))
