"""diffusers' ControlNet folder: ``config.json`` and ``diffusion_pytorch_model.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.controls.branch import Branch
from hackamore.controls.formats.file import CONFIG
from hackamore.controls.formats.names import their_name
from hackamore.core.files import written_whole
from hackamore.core.weights import save_tensors

WEIGHTS = "diffusion_pytorch_model.safetensors"
CONDITION = "hackamore.condition"
"""Where the weights file's header says which kind of hint the control was trained on."""
LARGE = 5_000
"""Convolutions of more weights are worth storing in eight bits."""
_COPIED = (
    "act_fn", "addition_embed_type", "addition_embed_type_num_heads", "addition_time_embed_dim", "attention_head_dim",
    "block_out_channels", "class_embed_type", "cross_attention_dim", "down_block_types", "downsample_padding",
    "encoder_hid_dim", "encoder_hid_dim_type", "flip_sin_to_cos", "freq_shift", "in_channels", "layers_per_block",
    "mid_block_scale_factor", "mid_block_type", "norm_eps", "norm_num_groups", "num_attention_heads",
    "num_class_embeds", "only_cross_attention", "projection_class_embeddings_input_dim", "resnet_time_scale_shift",
    "transformer_layers_per_block", "upcast_attention", "use_linear_projection",
)  # fmt: skip


def write_branch(
    branch: Branch,
    folder: Path,
    dtype: torch.dtype | None = None,
    *,
    eight_bits: bool = False,
    told: Mapping[str, str] | None = None,
) -> Path:
    """Write ``branch`` so that ``ControlNetModel.from_pretrained(folder)`` loads it; returns the weights file.

    ``eight_bits``: see :func:`stored`. ``told``: further lines of the header.
    """
    weights = {their_name(name): stored(value, dtype, eight_bits) for name, value in branch.named_parameters()}
    return write_folder(folder, weights, {"_class_name": "ControlNetModel"} | config_of(branch), branch, told)


def stored(weight: Tensor, dtype: torch.dtype | None = None, eight_bits: bool = False) -> Tensor:
    """``weight`` as a file holds it: on the CPU, in ``dtype`` (its own where none is told).

    ``eight_bits`` stores large convolutions in fp8 (e4m3), which halves them; every reader takes them as they are.
    """
    large = eight_bits and weight.ndim == 4 and weight.numel() > LARGE
    return weight.detach().to("cpu", torch.float8_e4m3fn if large else dtype or weight.dtype).contiguous()


def write_folder(
    folder: Path, weights: dict[str, Tensor], config: Mapping[str, Any], control: Any, told: Mapping[str, str] | None
) -> Path:
    """Write weights and ``config.json``, each whole or not at all; returns the file of weights.

    Its header names the condition of ``control``, and has the lines ``told`` and the configuration, so that the file
    alone says what it is.
    """
    metadata = {"format": "pt", CONFIG: json.dumps(dict(config), default=list), **(told or {})} | (
        {CONDITION: control.condition} if control.condition else {}
    )
    save_tensors(weights, folder / WEIGHTS, metadata)
    with written_whole(folder / "config.json") as path:
        path.write_text(json.dumps(dict(config), indent=2, default=list), encoding="utf-8")
    return folder / WEIGHTS


def config_of(branch: Branch) -> dict[str, Any]:
    """The settings that diffusers makes its module from."""
    unet, encoder = branch.trunk.config, branch.hint_encoder
    widths = [encoder.conv_in.out_channels, *(block.out_channels for block in list(encoder.blocks)[1::2])]
    return {name: unet[name] for name in _COPIED if name in unet} | {
        "conditioning_embedding_out_channels": widths,
        "conditioning_channels": encoder.conv_in.in_channels,
        "controlnet_conditioning_channel_order": "rgb",
        "global_pool_conditions": branch.pools,
    }
