"""SD3 and FLUX: same weights, seed and scheduler, our latents are those of diffusers' pipelines, to 1e-4 in fp32."""

import sys
import warnings
from copy import copy, deepcopy

import pytest
import torch
from diffusers import (
    FluxControlNetModel,
    FluxControlNetPipeline,
    FluxImg2ImgPipeline,
    FluxPipeline,
    SD3ControlNetModel,
    StableDiffusion3ControlNetInpaintingPipeline,
    StableDiffusion3ControlNetPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3Pipeline,
)
from PIL import Image

from hackamore.bases.lora import with_loras
from hackamore.bases.tokens import pack, unpack
from hackamore.bases.transformer_folder import load_folder
from hackamore.controls.formats.file import open_control
from hackamore.controls.formats.transformer import read_flux_control, read_sd3_control
from hackamore.core.image import from_hint
from hackamore.generate import generate
from hackamore.sampling.loop import noise_like
from tests.equivalence.agreement import agree
from tests.transformer_models import DYNAMIC, FLUX, SD3, SD35, randomise, write_flux, write_sd3

PROMPT, NEGATIVE, SIZE, STEPS, SEED = "a red circle at noon", "a lake", (96, 64), 4, 5
HINTS = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255
HIDDEN = torch.zeros(1, 1, 64, 96)
HIDDEN[..., 16:48, 32:80] = 1
PICTURES = [Image.fromarray(picture) for picture in from_hint(HINTS)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Each base with diffusers' pipeline over the same folder, made when first asked for."""
    known = {}
    write = {
        "sd3": lambda folder: write_sd3(folder, SD3),
        "sd35": lambda folder: write_sd3(folder, SD35),
        "sd3 shifting": lambda folder: write_sd3(folder, SD3, DYNAMIC),
        "flux": write_flux,
        "schnell": lambda folder: write_flux(folder, guidance=False),
    }

    def make(name):
        if name not in known:
            folder = write[name](tmp_path_factory.mktemp("base"))
            kind = StableDiffusion3Pipeline if "sd3" in name else FluxPipeline
            pipeline = kind.from_pretrained(folder, torch_dtype=torch.float32)
            known[name] = load_folder(folder, name, torch.device("cpu"), torch.float32), pipeline
        return known[name]

    return make


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    """A saved control of diffusers' class and the network itself."""

    def make(kind, settings, seed=0):
        torch.manual_seed(seed)
        net = randomise(kind(**settings), seed)
        folder = tmp_path_factory.mktemp("control")
        net.save_pretrained(folder)
        return folder, net

    return make


def theirs(pipeline, nets=(), kind=None, **told):
    """Latents of diffusers' pipeline from our noise, N×C×h×w."""
    if nets:
        nets = list(nets) if len(nets) > 1 else nets[0]
        parts = dict(pipeline.components)
        pipeline = kind(**parts, controlnet=nets)
    pipeline.set_progress_bar_config(disable=True)
    noise, _ = noise_like((16, SIZE[1] // 8, SIZE[0] // 8), [SEED])
    flux = isinstance(pipeline, (FluxPipeline, FluxControlNetPipeline))
    told |= {"width": SIZE[0], "height": SIZE[1], "num_inference_steps": STEPS, "output_type": "latent"}
    made = pipeline(PROMPT, latents=pack(noise) if flux else noise, **told).images
    return unpack(made, SIZE[1] // 8, SIZE[0] // 8) if flux else made


def ours(base, units=(), **told):
    told = {"seed": SEED, "size": SIZE, "steps": STEPS} | told
    return generate(base, PROMPT, controls=list(units), **told).latents


@pytest.mark.parametrize("name", ["sd3", "sd35", "sd3 shifting"])
@pytest.mark.parametrize("guidance", [5.0, 1.0])
def test_sd3_without_controls(made, name, guidance):
    base, pipeline = made(name)
    mine = ours(base, guidance=guidance, negative=NEGATIVE)
    reference = theirs(pipeline, guidance_scale=guidance, negative_prompt=NEGATIVE)
    agree(mine, reference, None, family=name, kind="base", beside="diffusers: StableDiffusion3Pipeline")


@pytest.mark.parametrize("absent", [1, 2, 3])
def test_an_absent_text_encoder_says_zeros(made, absent):
    """diffusers leaves out T5 alone; beside the others' absence stand encoders whose weights are all zero."""
    base, pipeline = made("sd35")
    part = ["text_encoder", "text_encoder_2", "text_encoder_3"][absent - 1]
    without = copy(base)
    without.encoders = {name: encoder for name, encoder in base.encoders.items() if name != part}
    parts = dict(pipeline.components)
    mute = deepcopy(parts[part])
    with torch.no_grad():
        for parameter in mute.parameters():
            parameter.zero_()
    parts[part] = None if absent == 3 else mute
    reference = theirs(StableDiffusion3Pipeline(**parts), guidance_scale=5.0, negative_prompt=NEGATIVE)
    whole = ours(base, guidance=5.0, negative=NEGATIVE)
    mine = ours(without, guidance=5.0, negative=NEGATIVE)
    assert (mine - whole).abs().max() > 1e-3
    told = {"family": "sd35", "kind": f"without {part}", "beside": "diffusers: StableDiffusion3Pipeline"}
    agree(mine, reference, None, **told)


SHARED = {
    name: SD3[name]
    for name in ("sample_size", "patch_size", "in_channels", "attention_head_dim", "num_attention_heads",
                 "pooled_projection_dim", "out_channels", "pos_embed_max_size")
}  # fmt: skip
INSTANTX = SHARED | {"joint_attention_dim": 64, "caption_projection_dim": 32, "num_layers": 3}
SD35_JOINT = INSTANTX | {"qk_norm": "rms_norm", "dual_attention_layers": (0,), "num_layers": 2}
SD35_JOINT |= {"force_zeros_for_pooled_projection": False}
STABILITY = SHARED | {"joint_attention_dim": None, "use_pos_embed": False, "num_layers": 2, "pos_embed_type": None}
STABILITY |= {"force_zeros_for_pooled_projection": False}


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("sd3", "ControlNet (InstantX)", INSTANTX),
        ("sd35", "ControlNet (joint)", SD35_JOINT),
        ("sd35", "ControlNet (Stability)", STABILITY),
    ],
)
def test_sd3_with_a_control(made, control, name, kind, settings):
    base, pipeline = made(name)
    folder, net = control(SD3ControlNetModel, settings)
    unit = read_sd3_control(open_control(folder), base).unit(HINTS[:1], scale=0.8, end=0.8)
    mine = ours(base, [unit], guidance=5.0, negative=NEGATIVE)
    told = {"control_image": PICTURES[0], "controlnet_conditioning_scale": 0.8, "control_guidance_end": 0.8}
    told |= {"guidance_scale": 5.0, "negative_prompt": NEGATIVE}
    reference = theirs(pipeline, [net], StableDiffusion3ControlNetPipeline, **told)
    free = ours(base, guidance=5.0, negative=NEGATIVE)
    agree(mine, reference, free, family=name, kind=kind, beside="diffusers: StableDiffusion3ControlNetPipeline")


def test_sd3_with_two_controls_in_windows(made, control):
    base, pipeline = made("sd3")
    both = [control(SD3ControlNetModel, INSTANTX | {"num_layers": layers}, layers) for layers in (2, 2)]
    settings = [{"scale": 0.7, "end": 0.5}, {"scale": 0.5, "start": 0.25}]
    units = [
        read_sd3_control(open_control(folder), base).unit(HINTS[k : k + 1], **settings[k])
        for k, (folder, _) in enumerate(both)
    ]
    mine = ours(base, units, guidance=5.0, negative=NEGATIVE)
    told = {"control_image": PICTURES, "controlnet_conditioning_scale": [0.7, 0.5], "guidance_scale": 5.0}
    told |= {"control_guidance_start": [0.0, 0.25], "control_guidance_end": [0.5, 1.0], "negative_prompt": NEGATIVE}
    reference = theirs(pipeline, [net for _, net in both], StableDiffusion3ControlNetPipeline, **told)
    free = ours(base, guidance=5.0, negative=NEGATIVE)
    beside = "diffusers: StableDiffusion3ControlNetPipeline"
    agree(mine, reference, free, family="sd3", kind="two ControlNets in windows", beside=beside)


def test_sd3_filling_what_is_hidden(made, control):
    base, pipeline = made("sd3")
    folder, net = control(SD3ControlNetModel, INSTANTX | {"extra_conditioning_channels": 1})
    unit = read_sd3_control(open_control(folder), base).unit(HINTS[:1], hidden=HIDDEN)
    mine = ours(base, [unit], guidance=5.0, negative=NEGATIVE)
    told = {"control_image": PICTURES[0], "control_mask": Image.fromarray((HIDDEN[0, 0] * 255).byte().numpy())}
    told |= {"guidance_scale": 5.0, "negative_prompt": NEGATIVE, "controlnet_conditioning_scale": 1.0}
    reference = theirs(pipeline, [net], StableDiffusion3ControlNetInpaintingPipeline, **told)
    free = ours(base, guidance=5.0, negative=NEGATIVE)
    beside = "diffusers: StableDiffusion3ControlNetInpaintingPipeline"
    agree(mine, reference, free, family="sd3", kind="inpainting ControlNet", beside=beside)


@pytest.mark.parametrize(("name", "guidance"), [("flux", 3.5), ("flux", 1.0), ("schnell", None)])
def test_flux_without_controls(made, name, guidance):
    base, pipeline = made(name)
    mine = ours(base, guidance=guidance)
    reference = theirs(pipeline, guidance_scale=guidance or 0.0)
    agree(mine, reference, None, family=name, kind="base", beside="diffusers: FluxPipeline")


NARROW = {name: value for name, value in FLUX.items() if name != "patch_size"} | {"guidance_embeds": True}
FLUX_INSTANTX = NARROW | {"num_layers": 2, "num_single_layers": 3}
FLUX_UNION = NARROW | {"num_layers": 2, "num_single_layers": 2, "num_mode": 10, "guidance_embeds": False}
FLUX_XLABS = NARROW | {"num_layers": 3, "num_single_layers": 0, "patch_size": 2, "conditioning_embedding_channels": 16}


@pytest.mark.parametrize(
    ("name", "kind", "settings", "options"),
    [
        ("flux", "ControlNet (InstantX)", FLUX_INSTANTX, {}),
        ("schnell", "ControlNet (InstantX)", FLUX_INSTANTX, {}),
        ("flux", "union ControlNet", FLUX_UNION, {"type": "depth"}),
        ("flux", "ControlNet (XLabs)", FLUX_XLABS, {}),
    ],
)
def test_flux_with_a_control(made, control, name, kind, settings, options):
    base, pipeline = made(name)
    folder, net = control(FluxControlNetModel, settings)
    unit = read_flux_control(open_control(folder), base).unit(HINTS[:1], scale=0.7, start=0.25, **options)
    mine = ours(base, [unit])
    told = {"control_image": PICTURES[0], "controlnet_conditioning_scale": 0.7, "control_guidance_start": 0.25}
    told |= {"guidance_scale": 3.5} | ({"control_mode": 2} if options else {})
    reference = theirs(pipeline, [net], FluxControlNetPipeline, **told)
    agree(mine, reference, ours(base), family=name, kind=kind, beside="diffusers: FluxControlNetPipeline")


def test_flux_with_two_controls_in_windows(made, control):
    base, pipeline = made("flux")
    both = [control(FluxControlNetModel, FLUX_INSTANTX, seed) for seed in (0, 1)]
    settings = [{"scale": 0.7, "end": 0.5}, {"scale": 0.5, "start": 0.25}]
    units = [
        read_flux_control(open_control(folder), base).unit(HINTS[k : k + 1], **settings[k])
        for k, (folder, _) in enumerate(both)
    ]
    told = {"control_image": PICTURES, "controlnet_conditioning_scale": [0.7, 0.5], "guidance_scale": 3.5}
    told |= {"control_guidance_start": [0.0, 0.25], "control_guidance_end": [0.5, 1.0]}
    reference = theirs(pipeline, [net for _, net in both], FluxControlNetPipeline, **told)
    told = {"family": "flux", "kind": "two ControlNets in windows", "beside": "diffusers: FluxControlNetPipeline"}
    agree(ours(base, units), reference, ours(base), **told)


def test_a_flux_union_with_two_types_at_once(made, control):
    base, pipeline = made("flux")
    from diffusers import FluxMultiControlNetModel

    folder, net = control(FluxControlNetModel, FLUX_UNION)
    union = read_flux_control(open_control(folder), base)
    units = [union.unit(HINTS[:1], scale=0.6, type="canny"), union.unit(HINTS[1:], scale=0.4, type=4)]
    told = {"control_image": PICTURES, "controlnet_conditioning_scale": [0.6, 0.4], "control_mode": [0, 4]}
    told |= {"guidance_scale": 3.5, "control_guidance_start": [0.0, 0.0], "control_guidance_end": [1.0, 1.0]}
    reference = theirs(pipeline, [FluxMultiControlNetModel([net])], FluxControlNetPipeline, **told)
    told = {"family": "flux", "kind": "union of two types", "beside": "diffusers: FluxControlNetPipeline"}
    agree(ours(base, units), reference, ours(base), **told)


def write_lora(pipeline, file, seed, layers):
    """A LoRA file as training scripts write it: random layers of rank 2 on some linear layers of the transformer."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: module.weight.shape for name, module in pipeline.transformer.named_modules() if name in layers}
    state = {}
    for name, (wide, narrow) in shapes.items():
        state[f"{name}.lora_A.weight"] = torch.randn(2, narrow, generator=generator) * 0.3
        state[f"{name}.lora_B.weight"] = torch.randn(wide, 2, generator=generator) * 0.3
    type(pipeline).save_lora_weights(file.parent, transformer_lora_layers=state, weight_name=file.name)
    return file


@pytest.mark.parametrize("name", ["sd35", "flux"])
def test_from_a_picture(made, monkeypatch, name):
    base, pipeline = made(name)
    kind = StableDiffusion3Img2ImgPipeline if name == "sd35" else FluxImg2ImgPipeline
    noise, _ = noise_like((16, SIZE[1] // 8, SIZE[0] // 8), [SEED])
    # theirs draws for the posterior, which has no spread here, before it draws the noise
    monkeypatch.setattr(sys.modules[kind.__module__], "randn_tensor", lambda *_, **__: noise.clone())
    told = {"image": PICTURES[0], "strength": 0.6, "num_inference_steps": STEPS, "guidance_scale": 3.0}
    other = kind(**pipeline.components)
    other.set_progress_bar_config(disable=True)
    reference = other(PROMPT, width=SIZE[0], height=SIZE[1], output_type="latent", **told).images
    reference = unpack(reference, SIZE[1] // 8, SIZE[0] // 8) if name == "flux" else reference
    mine = ours(base, init=HINTS[:1], strength=0.6, guidance=3.0)
    free = ours(base, guidance=3.0)
    agree(mine, reference, free, family=name, kind="img2img", beside=f"diffusers: {kind.__name__}")


@pytest.mark.parametrize("name", ["sd35", "flux"])
def test_two_loras_at_their_scales(made, tmp_path, name):
    base, pipeline = made(name)
    layers = ["transformer_blocks.0.attn.to_q", "transformer_blocks.1.attn.to_out.0", "transformer_blocks.2.ff.net.2"]
    files = [write_lora(pipeline, tmp_path / f"{k}.safetensors", k, layers[k:]) for k in (0, 1)]
    pipeline = type(pipeline)(**pipeline.components | {"transformer": deepcopy(pipeline.transformer)})
    for k, file in enumerate(files):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipeline.load_lora_weights(file.parent, weight_name=file.name, adapter_name=str(k))
    pipeline.set_adapters(["0", "1"], [0.8, 0.5])
    free = ours(base, guidance=3.0)
    mine = ours(with_loras(base, [(files[0], 0.8), (files[1], 0.5)]), guidance=3.0)
    told = {"family": name, "kind": "two LoRA files", "beside": f"diffusers: {type(pipeline).__name__}"}
    agree(mine, theirs(pipeline, guidance_scale=3.0), free, **told)
    assert torch.equal(ours(base, guidance=3.0), free), "the base stays as it was"
