"""By which keys a single file is told: which base it is, or what else it is that is no base."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hackamore.core.errors import HackamoreError
from hackamore.core.weights import WeightsFile

Shapes = Mapping[str, tuple[int, ...]]
UNET = "model.diffusion_model."
WIDTH = UNET + "input_blocks.0.0.weight"


@dataclass(frozen=True)
class Kind:
    """One kind of file: what it is, in words, and what tells it.

    ``family``: the base that it is; None where it is known by sight alone, then ``note`` says what is not done.
    """

    words: str
    tells: Callable[[Shapes], bool]
    family: str | None = None
    note: str = "which is not supported"


def has(*keys: str) -> Callable[[Shapes], bool]:
    """All of ``keys`` are there, with or without the prefix of a whole model."""
    return lambda shapes: all(key in shapes or UNET + key in shapes for key in keys)


def holds(*words: str) -> Callable[[Shapes], bool]:
    """Some key has one of ``words`` in it."""
    return lambda shapes: any(word in key for key in shapes for word in words)


def ends(*words: str) -> Callable[[Shapes], bool]:
    """Some key ends with one of ``words``."""
    return lambda shapes: any(key.endswith(words) for key in shapes)


def takes(channels: int) -> Callable[[Shapes], bool]:
    """A U-Net in the original layout that takes so many channels."""
    return lambda shapes: shapes.get(WIDTH, (0, 0))[1] == channels


def attends(width: int, projection: int) -> Callable[[Shapes], bool]:
    """A U-Net that attends to text of ``width`` through projections of so many axes (convolutions 4, linear 2)."""

    def tells(shapes: Shapes) -> bool:
        return text_width(shapes) == width and axes(shapes) == projection

    return tells


def text_width(shapes: Shapes) -> int:
    """The width of the text that a U-Net in the original layout attends to; 0 where it attends to none."""
    found = (shape[-1] for key, shape in shapes.items() if key.startswith(UNET) and key.endswith("attn2.to_k.weight"))
    return next(found, 0)


def axes(shapes: Shapes) -> int:
    """The axes of the first projection into attention: 4 is a convolution (SD 1.x), 2 is linear (SD 2.x, XL)."""
    found = (shape for key, shape in shapes.items() if key.startswith(UNET) and key.endswith(".1.proj_in.weight"))
    return len(next(found, ()))


def flux_takes(channels: int) -> Callable[[Shapes], bool]:
    """A FLUX transformer that takes so many channels."""
    flux = has("double_blocks.0.img_attn.norm.key_norm.scale", "single_blocks.0.linear1.weight", "img_in.weight")
    return lambda shapes: flux(shapes) and _of(shapes, "img_in.weight")[1] == channels


def sd3_takes(channels: int) -> Callable[[Shapes], bool]:
    """An SD3 transformer that takes so many channels."""
    sd3 = has("joint_blocks.0.context_block.attn.qkv.weight", "x_embedder.proj.weight", "pos_embed")
    return lambda shapes: sd3(shapes) and _of(shapes, "x_embedder.proj.weight")[1] == channels


def _of(shapes: Shapes, key: str) -> tuple[int, ...]:
    return shapes.get(key) or shapes[UNET + key]


def _no_unet(tells: Callable[[Shapes], bool]) -> Callable[[Shapes], bool]:
    return lambda shapes: WIDTH not in shapes and tells(shapes)


def _all(*tells: Callable[[Shapes], bool]) -> Callable[[Shapes], bool]:
    return lambda shapes: all(tell(shapes) for tell in tells)


NO_BASE = "which is not a base"
KINDS: tuple[Kind, ...] = (
    Kind(
        "a LoRA",
        ends(".lora_down.weight", ".lora_A.weight", ".lora_A.default.weight", ".lora.down.weight", "_lora.down.weight"),
        note=f"{NO_BASE}; it goes on one (--lora)",
    ),
    Kind("a LoRA of the kind LoHa or LoKr", ends(".hada_w1_a", ".lokr_w1", ".lokr_w1_a")),
    Kind(
        "a model in quantised weights",
        ends(".weight_scale", ".scale_weight", "scaled_fp8", ".qweight", ".weight.absmax", ".weight.quant_map"),
    ),
    Kind(
        "a control",
        _no_unet(
            holds(
                "control_model.", "controlnet_", "input_hint_block.", "lllite", "control_add_embedding",
                "control_to_base", "adapter.body.", "body.0.block1.weight", "body.0.in_conv.weight", "lora_controlnet",
            )
        ),
        note=f"{NO_BASE}; it goes to --control",
    ),
    Kind("an IP-Adapter", _no_unet(holds("image_proj.", "ip_adapter.")), note=f"{NO_BASE}; it goes to --control"),
    Kind("a motion module of AnimateDiff", _no_unet(holds("motion_modules")), note=NO_BASE),
    Kind(
        "a textual inversion",
        lambda shapes: any(key in shapes for key in ("emb_params", "string_to_param.*", "clip_g")) or (
            len(shapes) == 1 and next(iter(shapes)).startswith("<")
        ),
        note=f"{NO_BASE}; it goes to --embedding",
    ),
    Kind("an upscaler", has("conv_first.weight"), note=NO_BASE),
    # U-Nets that are not of text to image alone
    Kind("Stable Video Diffusion", _all(has("input_blocks.0.0.weight"), holds(".time_stack."))),
    Kind("an inpainting model (9 channels)", takes(9)),
    Kind("an editing model (InstructPix2Pix, 8 channels)", takes(8)),
    Kind("an upscaling model (7 channels)", takes(7)),
    Kind("a depth model (5 channels)", takes(5)),
    Kind("Playground v2.5", _all(takes(4), has("edm_mean"))),
    Kind("CosXL", _all(takes(4), has("edm_vpred.sigma_max"))),
    Kind("the refiner of Stable Diffusion XL", _all(takes(4), has("conditioner.embedders.0.model.ln_final.weight"),
         attends(1280, 2))),
    Kind("an unCLIP model", _all(takes(4), has("label_emb.0.0.weight"), attends(1024, 2))),
    # bases
    Kind("Stable Diffusion XL", _all(takes(4), has("label_emb.0.0.weight"), attends(2048, 2)), "sdxl"),
    Kind("Stable Diffusion 2.x", _all(takes(4), attends(1024, 2)), "sd2"),
    Kind("Stable Diffusion 1.x", _all(takes(4), attends(768, 4)), "sd1"),
    Kind("a latent diffusion model of an unknown family", has("input_blocks.0.0.weight")),
    Kind("Stable Diffusion 3 or 3.5", sd3_takes(16), "sd3"),
    Kind("Chroma", holds("distilled_guidance_layer.")),
    Kind("FLUX.2", holds("single_stream_modulation.lin.", "double_stream_modulation_img.")),
    Kind("FLUX.1", flux_takes(64), "flux"),
    Kind("FLUX.1 Fill (384 channels)", flux_takes(384)),
    Kind("FLUX.1 Depth or Canny (128 channels, the hint among them)", flux_takes(128)),
    Kind("AuraFlow", has("double_layers.0.attn.w1q.weight")),
    Kind("Hunyuan Video", holds("txt_in.individual_token_refiner.")),
    Kind("Qwen-Image", holds("txt_norm.weight")),
    Kind("Wan", has("head.modulation")),
    Kind("Lumina 2 or Z-Image", has("cap_embedder.0.weight")),
    Kind("PixArt or Sana", holds("cross_attn.kv_linear.", "cross_attn.q_linear.")),
    # parts alone
    Kind("a U-Net alone in diffusers' layout", has("conv_in.weight", "up_blocks.0.resnets.0.conv1.weight"),
         note="which is part of a base; give the folder that holds all parts"),
    Kind("a transformer alone in diffusers' layout", has("transformer_blocks.0.norm1.linear.weight"),
         note="which is part of a base; give the folder that holds all parts"),
    Kind("an autoencoder", holds("decoder.conv_in.weight"), note=f"{NO_BASE}; it goes to --vae"),
    Kind("an image encoder", holds("vision_model.embeddings."), note=NO_BASE),
    Kind("a text encoder", holds("text_model.embeddings.", "encoder.block.0.layer.0.SelfAttention."),
         note="which is part of a base; it goes to parts= (--parts)"),
)  # fmt: skip


def kind_of(file: WeightsFile) -> Kind:
    """The entry that tells ``file``; raises :class:`HackamoreError` showing its first keys when none does."""
    for kind in KINDS:
        if kind.tells(file.shapes):
            return kind
    first = ", ".join(sorted(file.shapes)[:3])
    raise HackamoreError(
        f"{file.path} is of no kind that is known",
        received=f"{len(file.shapes)} tensors: {first} …",
        expected="Stable Diffusion 1.x, 2.x, XL, 3 or 3.5, or FLUX.1 in the original layout",
    )


def family_of(file: WeightsFile) -> str:
    """The family of the base in ``file``; raises :class:`HackamoreError` saying what it is where it is none."""
    kind = kind_of(file)
    if kind.family is None:
        raise HackamoreError(
            f"{file.path} is {kind.words}, {kind.note}",
            expected="Stable Diffusion 1.x, 2.x, XL, 3 or 3.5, or FLUX.1",
        )
    return kind.family
