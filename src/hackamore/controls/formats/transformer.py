"""ControlNets for SD3, SD3.5 and FLUX.1, in diffusers' layout or their makers' own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from hackamore.controls.blocks import BlockControl, FluxControl, SD3Control
from hackamore.controls.formats.diffusers import CONDITION, stored, write_folder
from hackamore.controls.formats.file import ControlFile
from hackamore.controls.formats.keys import check_keys
from hackamore.core.errors import HackamoreError

STABILITY = ("blur", "canny", "depth")
"""What ``control_type`` counts in Stability's files."""
PIXELS = {"canny": "edges", "depth": "inverted"}
"""How Stability's controls for SD3.5 large see their hints, where not as they are."""

Tensors = dict[str, Tensor]
AnyBlocks = TypeVar("AnyBlocks", bound=BlockControl)


def read_sd3_control(file: ControlFile, base: Any) -> SD3Control:
    """Read a ControlNet for SD3 or SD3.5: diffusers' layout (whole, sharded or a single file) or Stability's own.

    Raises :class:`HackamoreError` when it is of another family or width, when keys are missing or left over, or when
    it takes a hint of a kind that is not known.
    """
    from diffusers import SD3ControlNetModel

    width = file.shapes.get("controlnet_blocks.0.weight", (0,))[0]
    text = file.shapes.get("context_embedder.weight", (0, 0))[1]
    check_fits(file, base, "sd3", width, text)
    told = file.shapes.get("y_embedder.mlp.0.weight", file.shapes.get(_POOLED, (0, 0)))
    if told[1] == width and _own_layout(file.shapes):
        raise HackamoreError(
            f"{file.path} is of a kind that is not supported",
            received="a control whose blocks all read the base's own embedding of the pooled text",
            expected="SD3 and SD3.5 controls as diffusers or Stability's SD3.5 large write them",
        )
    net = _loaded(file, base, SD3ControlNetModel, sd3_settings, from_stability)
    condition = _condition(file)
    plain = net.context_embedder is not None
    pixels = "as it is" if plain else PIXELS.get(condition or "", "as it is")
    return _finished(SD3Control(base, net, pixels=pixels, name=file.name, condition=condition), file)


def read_flux_control(file: ControlFile, base: Any) -> FluxControl:
    """Read a ControlNet for FLUX.1 in diffusers' layout: InstantX's, Shakker's, a union, XLabs', a filling one."""
    from diffusers import FluxControlNetModel

    width, text = file.shapes.get("context_embedder.weight", (0, 0))
    check_fits(file, base, "flux", width, text)
    net = _loaded(file, base, FluxControlNetModel, flux_settings, lambda tensors: tensors)
    return _finished(FluxControl(base, net, name=file.name, condition=_condition(file)), file)


def read_xlabs(file: ControlFile, base: Any) -> FluxControl:
    """Read a ControlNet for FLUX.1 in XLabs' own layout."""
    from diffusers import FluxControlNetModel

    width, text = file.shapes.get("txt_in.weight", (0, 0))
    check_fits(file, base, "flux", width, text)
    net = _loaded(file, base, FluxControlNetModel, flux_settings, from_xlabs)
    return _finished(FluxControl(base, net, name=file.name, condition=_condition(file)), file)


def write_blocks(
    control: BlockControl,
    folder: Path,
    dtype: torch.dtype | None = None,
    *,
    eight_bits: bool = False,
    told: Mapping[str, str] | None = None,
) -> Path:
    """Write ``control`` so that diffusers' ``from_pretrained(folder)`` loads it; returns the weights file.

    ``told``: further lines of the header.
    """
    weights = {key: stored(value, dtype, eight_bits) for key, value in control.net.state_dict().items()}
    return write_folder(folder, weights, json.loads(control.net.to_json_string()), control, told)


def check_fits(file: ControlFile, base: Any, family: str, width: int, text: int) -> None:
    """Raise :class:`HackamoreError` unless family, width and text width (0: it reads none) are the base's."""
    sites = base.sites
    if family == base.family and width == sites.width and text in (0, sites.text_width):
        return
    mine = f"width {sites.width}" if sites.width else f"width {sites.skips[0] if sites.skips else 0}"
    raise HackamoreError(
        f"the control {file.name} does not fit the base {base.name}",
        received=f"a control of family {family} (width {width}, text width {text or 'none'})",
        expected=f"family {base.family} ({mine}, text width {sites.text_width})",
    )


def sd3_settings(shapes: dict[str, tuple[int, ...]], config: dict[str, Any], base: Any) -> dict[str, Any]:
    """diffusers' settings for the network of a file with these tensor ``shapes``; what they do not tell, ``config``."""
    theirs = base.transformer.config
    channels, joint = theirs.in_channels, "context_embedder.weight" in shapes
    head = int(config.get("attention_head_dim", theirs.attention_head_dim))
    places = shapes.get("pos_embed.pos_embed", (1, theirs.pos_embed_max_size**2))[1]
    extra = shapes.get("pos_embed_input.proj.weight", (0, channels))[1] - channels
    if extra not in (0, 1):
        raise HackamoreError(
            "the control is of a kind that is not supported",
            received=f"a hint of {channels + extra} channels",
            expected=f"{channels}, or one more for what is hidden",
        )
    return {
        "sample_size": theirs.sample_size,
        "patch_size": theirs.patch_size,
        "in_channels": channels,
        "out_channels": theirs.out_channels,
        "num_layers": _count(shapes, "controlnet_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": base.sites.width // head,
        "joint_attention_dim": theirs.joint_attention_dim if joint else None,
        "caption_projection_dim": shapes.get("context_embedder.weight", (base.sites.width,))[0],
        "pooled_projection_dim": theirs.pooled_projection_dim,
        "pos_embed_max_size": round(places**0.5),
        "extra_conditioning_channels": extra,
        "dual_attention_layers": _having(shapes, "attn2.to_q.weight"),
        "qk_norm": "rms_norm" if _having(shapes, "attn.norm_q.weight") else None,
        "use_pos_embed": "pos_embed.proj.weight" in shapes,
        "force_zeros_for_pooled_projection": bool(config.get("force_zeros_for_pooled_projection", joint)),
    }


def flux_settings(shapes: dict[str, tuple[int, ...]], config: dict[str, Any], base: Any) -> dict[str, Any]:
    """The same for FLUX.1."""
    theirs = base.transformer.config
    head = int(config.get("attention_head_dim", theirs.attention_head_dim))
    modes = shapes.get("controlnet_mode_embedder.weight")
    hint = shapes.get("input_hint_block.conv_out.weight")
    return {
        "patch_size": 2 if hint else 1,
        "in_channels": theirs.in_channels,
        "num_layers": _count(shapes, "controlnet_blocks"),
        "num_single_layers": _count(shapes, "controlnet_single_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": base.sites.width // head,
        "joint_attention_dim": theirs.joint_attention_dim,
        "pooled_projection_dim": theirs.pooled_projection_dim,
        "guidance_embeds": any("guidance_embedder" in key for key in shapes),
        "axes_dims_rope": tuple(theirs.axes_dims_rope),
        "num_mode": modes[0] if modes else None,
        "conditioning_embedding_channels": hint[0] if hint else None,
    }


def from_stability(tensors: Tensors) -> Tensors:
    """Stability's layout → diffusers'; tensors in diffusers' layout stay as they are.

    What the file holds of the base's own embedding of latents is left out: its blocks run on what the base embeds.
    """
    if not _own_layout(tensors):
        return tensors
    unused = ("control_type", "x_embedder.proj.weight", "x_embedder.proj.bias", "pos_embed.proj.weight")
    kept = {key: value for key, value in tensors.items() if key not in (*unused, "pos_embed.proj.bias", "pos_embed")}
    return _renamed(kept, _STABILITY)


def from_xlabs(tensors: Tensors) -> Tensors:
    """XLabs' layout → diffusers'."""
    made = _renamed(tensors, _XLABS)
    blocks = {
        f"input_hint_block.{number}.": f"input_hint_block.blocks.{number // 2 - 1}." for number in range(2, 14, 2)
    }
    ends = {"input_hint_block.0.": "input_hint_block.conv_in.", "input_hint_block.14.": "input_hint_block.conv_out."}
    for key in list(made):
        for before, after in (blocks | ends).items():
            if key.startswith(before):
                made[key.replace(before, after)] = made.pop(key)
    return made


_POOLED = "time_text_embed.text_embedder.linear_1.weight"

_STABILITY: dict[str, str | tuple[str, str, str]] = {
    ".adaLN_modulation.1.": ".norm1.linear.",
    ".attn.qkv.": (".attn.to_q.", ".attn.to_k.", ".attn.to_v."),
    ".attn.proj.": ".attn.to_out.0.",
    ".mlp.fc1.": ".ff.net.0.proj.",
    ".mlp.fc2.": ".ff.net.2.",
    "t_embedder.mlp.0.": "time_text_embed.timestep_embedder.linear_1.",
    "t_embedder.mlp.2.": "time_text_embed.timestep_embedder.linear_2.",
    "y_embedder.mlp.0.": "time_text_embed.text_embedder.linear_1.",
    "y_embedder.mlp.2.": "time_text_embed.text_embedder.linear_2.",
}
"""Part of a key → part of diffusers' key; three where one tensor holds queries, keys and values."""

_XLABS: dict[str, str | tuple[str, str, str]] = {
    ".img_mod.lin.": ".norm1.linear.",
    ".txt_mod.lin.": ".norm1_context.linear.",
    ".img_attn.qkv.": (".attn.to_q.", ".attn.to_k.", ".attn.to_v."),
    ".txt_attn.qkv.": (".attn.add_q_proj.", ".attn.add_k_proj.", ".attn.add_v_proj."),
    ".img_attn.norm.query_norm.scale": ".attn.norm_q.weight",
    ".img_attn.norm.key_norm.scale": ".attn.norm_k.weight",
    ".txt_attn.norm.query_norm.scale": ".attn.norm_added_q.weight",
    ".txt_attn.norm.key_norm.scale": ".attn.norm_added_k.weight",
    ".img_attn.proj.": ".attn.to_out.0.",
    ".txt_attn.proj.": ".attn.to_add_out.",
    ".img_mlp.0.": ".ff.net.0.proj.",
    ".img_mlp.2.": ".ff.net.2.",
    ".txt_mlp.0.": ".ff_context.net.0.proj.",
    ".txt_mlp.2.": ".ff_context.net.2.",
    "double_blocks.": "transformer_blocks.",
    "time_in.in_layer.": "time_text_embed.timestep_embedder.linear_1.",
    "time_in.out_layer.": "time_text_embed.timestep_embedder.linear_2.",
    "vector_in.in_layer.": "time_text_embed.text_embedder.linear_1.",
    "vector_in.out_layer.": "time_text_embed.text_embedder.linear_2.",
    "guidance_in.in_layer.": "time_text_embed.guidance_embedder.linear_1.",
    "guidance_in.out_layer.": "time_text_embed.guidance_embedder.linear_2.",
    "txt_in.": "context_embedder.",
    "img_in.": "x_embedder.",
    "pos_embed_input.": "controlnet_x_embedder.",
}


def _renamed(tensors: Tensors, names: dict[str, str | tuple[str, str, str]]) -> Tensors:
    made: Tensors = {}
    for key, value in tensors.items():
        keys = [key]
        for part, theirs in names.items():
            if part not in key:
                continue
            several = (theirs,) if isinstance(theirs, str) else theirs
            keys = [old.replace(part, new) for old in keys for new in several]
        made |= dict(zip(keys, value.chunk(len(keys)) if len(keys) > 1 else [value], strict=True))
    return made


def _loaded(
    file: ControlFile,
    base: Any,
    kind: Any,
    settings: Callable[[dict[str, tuple[int, ...]], dict[str, Any], Any], dict[str, Any]],
    rename: Callable[[Tensors], Tensors],
) -> Any:
    """diffusers' network ``kind`` with the file's weights; nothing big is read before every key has been checked."""
    found = rename({key: torch.empty(shape, device="meta") for key, shape in file.shapes.items()})
    shapes = {key: tuple(value.shape) for key, value in found.items()}
    with torch.device("meta"):
        net = kind(**settings(shapes, file.config, base))
    _widen(net, shapes)
    check_keys(file.path, net.state_dict(), found)
    tensors = rename(file.tensors())
    net.load_state_dict({key: value.to(base.dtype, copy=True) for key, value in tensors.items()}, assign=True)
    return net


def _widen(net: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    """A filling control for FLUX.1 takes one latent channel more, for what is hidden: four numbers a token."""
    taken = shapes.get("controlnet_x_embedder.weight", (0, 0))[1]
    if hasattr(net, "controlnet_x_embedder") and taken == net.config.in_channels + 4:
        with torch.device("meta"):
            net.controlnet_x_embedder = torch.nn.Linear(taken, net.inner_dim)


def _own_layout(keys: Iterable[str]) -> bool:
    """Whether the keys are those of Stability's own layout."""
    return any(".adaLN_modulation." in key for key in keys)


def _finished(control: AnyBlocks, file: ControlFile) -> AnyBlocks:
    control.sha256 = file.sha256
    control.requires_grad_(False).eval()
    return control


def _condition(file: ControlFile) -> str | None:
    """What kind of hint it takes: as the header says, as Stability counts, or as Stability's folders are called."""
    if told := file.metadata.get(CONDITION):
        return told
    if "control_type" in file.shapes:
        number = round(float(file.tensors("control_type")["control_type"].float()))
        return STABILITY[number] if 0 <= number < len(STABILITY) else None
    stability = "pos_embed_input.proj.weight" in file.shapes and "context_embedder.weight" not in file.shapes
    return next((word for word in STABILITY if stability and word in file.name.lower()), None)


def _count(shapes: dict[str, tuple[int, ...]], part: str) -> int:
    """How many of ``part`` there are: one more than the highest number in the keys."""
    numbers = {key.split(".")[1] for key in shapes if key.startswith(part + ".")}
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)


def _having(shapes: dict[str, tuple[int, ...]], end: str) -> tuple[int, ...]:
    """The numbers of the transformer blocks with a tensor ``end``."""
    keys = [key for key in shapes if key.startswith("transformer_blocks.") and key.endswith("." + end)]
    return tuple(sorted(int(key.split(".")[1]) for key in keys))
