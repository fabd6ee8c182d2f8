"""ControlNet-XS in diffusers' layout: ``ControlNetXSAdapter``, a folder or a single file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hackamore.bases.unet import FAMILIES
from hackamore.controls.formats.diffusers import CONDITION, stored, write_folder
from hackamore.controls.formats.file import ControlFile
from hackamore.controls.formats.keys import check_keys
from hackamore.controls.xs import XS, Shape, heads_of
from hackamore.core.errors import HackamoreError

FIRST = "control_to_base_for_conv_in.weight"
HINT = "controlnet_cond_embedding."
ORDER, MIX = "conditioning_channel_order", "time_embedding_mix"


def read_xs(file: ControlFile, base: Any) -> XS:
    """Read a ControlNet-XS for ``base``; what keys do not tell and no configuration says is diffusers' default.

    Raises :class:`HackamoreError` when it is of another family or width, or when keys are missing or left over.
    """
    text = next((shape[-1] for key, shape in file.shapes.items() if key.endswith("attn2.to_k.weight")), 0)
    first = file.shapes.get(FIRST, (0,))[0]
    mine = (getattr(base.sites, "text_width", 0), base.sites.skips[0] if base.sites.skips else 0)
    if (text, first) != mine:
        raise HackamoreError(
            f"the control {file.name} does not fit the base {base.name}",
            received=f"a control of family {FAMILIES.get(text, 'unknown')} (width {first}, text width {text})",
            expected=f"family {base.family} (width {mine[1]}, text width {mine[0]})",
        )
    order, mix = (file.config.get(name, usual) for name, usual in ((ORDER, "rgb"), (MIX, 1.0)))
    if order not in ("rgb", "bgr"):
        raise HackamoreError(f"{file.path} takes its hint in another channel order", received=order, expected="rgb")
    if not 0 <= float(mix) < math.inf:
        raise HackamoreError(f"{file.path} mixes its times strangely", received=f"{MIX} {mix}", expected="0 to 1")
    control = XS(base, shape_of(file.shapes, file.config, base), file.metadata.get(CONDITION))
    check_keys(file.path, control.state_dict(), file.shapes)
    control.load_state_dict(file.tensors())
    control.name, control.sha256 = file.name, file.sha256
    return control.requires_grad_(False).eval()


def shape_of(shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any], base: Any) -> Shape:
    """The :class:`Shape` of a file with these tensor ``shapes`` and this ``config`` (which may be empty)."""
    levels = range(len(base.sites.encoder))
    widths = [shapes.get(f"down_blocks.{level}.ctrl_to_base.0.weight", (0, 0))[1] for level in levels]
    ends = [shapes.get(f"{HINT}blocks.{number}.weight") for number in range(1, 99, 2)]
    hint = [shapes.get(f"{HINT}conv_in.weight", (0,)), *(end for end in ends if end is not None)]
    heads = config.get("num_attention_heads", heads_of(base))
    return Shape(
        tuple(widths),
        tuple(heads) if isinstance(heads, (list, tuple)) else (int(heads),) * len(levels),
        tuple(shape[0] for shape in hint),
        "time_embedding.linear_1.weight" in shapes,
        float(config.get(MIX, 1.0)),
        int(config.get("max_norm_num_groups", base.unet.config.norm_num_groups)),
        str(config.get(ORDER, "rgb")),
    )


def write_xs(
    control: XS,
    base: Any,
    folder: Path,
    dtype: torch.dtype | None = None,
    *,
    eight_bits: bool = False,
    told: Mapping[str, str] | None = None,
) -> Path:
    """Write ``control`` of ``base`` so that ``ControlNetXSAdapter.from_pretrained(folder)`` loads it; its weights file.

    diffusers reads four-channel latents and two layers a level; a control of another base is for this library alone.
    ``told``: further lines of the header.
    """
    shape, unet = control.shape, base.unet.config
    config = {
        "_class_name": "ControlNetXSAdapter",
        "conditioning_channels": control.controlnet_cond_embedding.conv_in.in_channels,
        ORDER: shape.order,
        "conditioning_embedding_out_channels": shape.hint_widths,
        MIX: shape.time_mix,
        "learn_time_embedding": shape.own_time,
        "num_attention_heads": shape.heads,
        "block_out_channels": shape.widths,
        "base_block_out_channels": unet.block_out_channels,
        "max_norm_num_groups": shape.groups,
    }
    copied = ("cross_attention_dim", "down_block_types", "sample_size", "transformer_layers_per_block")
    config |= {name: unet[name] for name in (*copied, "upcast_attention", "use_linear_projection")}
    weights = {key: stored(value, dtype, eight_bits) for key, value in control.state_dict().items()}
    return write_folder(folder, weights, config, control, told)
