"""Two names for every tensor of a U-Net control: the original layout's (cldm) and diffusers'."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise

from hackamore.controls.formats.marks import PREFIX

_RESNET = {
    "in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2", "out_layers.3": "conv2", "skip_connection": "conv_shortcut",
}  # fmt: skip
_THEIRS = {
    "trunk.": "",
    "hint_encoder.": "controlnet_cond_embedding.",
    "zero_skips.": "controlnet_down_blocks.",
    "zero_mid.": "controlnet_mid_block.",
}
_EMBEDDINGS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "middle_block_out.0": "controlnet_mid_block",
}


def their_name(name: str) -> str:
    """The name in diffusers' file of our parameter ``name``."""
    prefix = next(p for p in _THEIRS if name.startswith(p))
    return _THEIRS[prefix] + name.removeprefix(prefix)


def from_cldm(keys: Iterable[str]) -> dict[str, str]:
    """diffusers' name → the key as it stands in a file in the original layout; keys without a name stay themselves.

    A prefix ``control_model.`` is passed over; where it stands, keys without it belong to the rest of a whole model
    and are left out.
    """
    keys = list(keys)
    own = [key for key in keys if key.startswith(PREFIX)] or keys
    inner = {key.removeprefix(PREFIX): key for key in own}
    downs = sorted(_numbers(inner, r"input_blocks\.(\d+)\.0\.op\."))
    last = max(_numbers(inner, r"input_blocks\.(\d+)\."), default=0)
    ends = [0, *downs, last + 1]
    layers = [after - before - 1 for before, after in pairwise(ends)]
    hints = max(_numbers(inner, r"input_hint_block\.(\d+)\."), default=0) // 2
    names = prefixes(layers, hints)
    return {_renamed(key, names): whole for key, whole in inner.items()}


def to_cldm(keys: Iterable[str]) -> dict[str, str]:
    """diffusers' name → the original layout's, without prefix; keys without a name stay themselves."""
    keys = list(keys)
    layers: list[int] = []
    while count := len(_numbers(keys, rf"down_blocks\.{len(layers)}\.resnets\.(\d+)\.")):
        layers.append(count)
    hints = len(_numbers(keys, r"controlnet_cond_embedding\.blocks\.(\d+)\.")) + 1
    names = {theirs: cldm for cldm, theirs in prefixes(layers, hints).items()}
    return {key: _renamed(key, names) for key in keys}


def prefixes(layers: Iterable[int], hints: int) -> dict[str, str]:
    """The original layout's modules → diffusers', for a copy with so many ``layers`` a level.

    ``hints``: the number of the hint encoder's last convolution, its first being 0. Source of the order of blocks:
    ``cldm/cldm.py`` and ``ldm/modules/diffusionmodules/openaimodel.py`` of lllyasviel/ControlNet.
    """
    layers = list(layers)
    names = dict(_EMBEDDINGS)
    number = 1
    for level, count in enumerate(layers):
        for layer in range(count):
            names |= _resnet(f"input_blocks.{number}.0", f"down_blocks.{level}.resnets.{layer}")
            names[f"input_blocks.{number}.1"] = f"down_blocks.{level}.attentions.{layer}"
            number += 1
        if level < len(layers) - 1:
            names[f"input_blocks.{number}.0.op"] = f"down_blocks.{level}.downsamplers.0.conv"
            number += 1
    names |= _resnet("middle_block.0", "mid_block.resnets.0") | _resnet("middle_block.2", "mid_block.resnets.1")
    names["middle_block.1"] = "mid_block.attentions.0"
    names |= {f"zero_convs.{i}.0": f"controlnet_down_blocks.{i}" for i in range(number)}
    encoder = "controlnet_cond_embedding"
    names |= {f"input_hint_block.{2 * i}": f"{encoder}.blocks.{i - 1}" for i in range(1, hints)}
    return names | {"input_hint_block.0": f"{encoder}.conv_in", f"input_hint_block.{2 * hints}": f"{encoder}.conv_out"}


def _resnet(cldm: str, theirs: str) -> dict[str, str]:
    return {f"{cldm}.{mine}": f"{theirs}.{other}" for mine, other in _RESNET.items()}


def _renamed(key: str, names: Mapping[str, str]) -> str:
    """``key`` with the longest of its beginnings that has a name renamed."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        start = ".".join(parts[:length])
        if start in names:
            return names[start] + key[len(start) :]
    return key


def _numbers(keys: Iterable[str], pattern: str) -> set[int]:
    """The numbers that ``pattern`` finds at the beginning of ``keys``."""
    found = (re.match(pattern, key) for key in keys)
    return {int(match[1]) for match in found if match}
