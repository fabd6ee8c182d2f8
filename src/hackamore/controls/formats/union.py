"""Union ControlNet files: xinsir's union and ProMax, which lie in diffusers' layout, and ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hackamore.controls.formats.diffusers import CONDITION, config_of, stored, write_folder
from hackamore.controls.formats.file import ControlFile
from hackamore.controls.formats.keys import check_keys
from hackamore.controls.formats.names import their_name
from hackamore.controls.formats.trunk import check_family, check_settings
from hackamore.controls.formats.unet import empty_branch, fill
from hackamore.controls.union import HEADS, Fuser, Union
from hackamore.controls.union_types import PUBLISHED
from hackamore.core.errors import HackamoreError

TYPES = "hackamore.types"
"""Where the header names the types, with commas between; published files do not."""
BRANCH, FUSER = "branch.", "fuser."
ORDER = "controlnet_conditioning_channel_order"
NEEDED = ("controlnet_cond_embedding.conv_in.weight", "control_add_embedding.linear_1.weight", "task_embedding")
"""What the structure is told by, beside the copy's own tensors."""
COUNTS = (6, 8)
"""How many types published unions have: the union and its ProMax."""


def read_union(file: ControlFile, base: Any) -> Union:
    """Read a union ControlNet for ``base``: its types are told by its header, or are the published ones.

    Raises :class:`HackamoreError` when it is of another family or width, when keys are missing or left over, or when
    it has as many types as no published union has and does not name them.
    """
    check_family(file.name, file.shapes, base)
    check_settings(file.name, file.config, file.shapes, base)
    order = file.config.get(ORDER, "rgb")
    if order != "rgb" or file.config.get("global_pool_conditions"):
        raise HackamoreError(
            f"{file.path} is another kind of union",
            received=f"hints in the order {order}" if order != "rgb" else "residuals averaged over the picture",
            expected="hints in the order rgb, residuals as they are",
        )
    if missing := sorted(set(NEEDED) - file.shapes.keys()):
        raise HackamoreError(f"{file.path} lacks {len(missing)} tensors: {', '.join(missing)}")
    types = types_of(file)
    union = _empty(file, base, types)
    names = {name: key_of(name) for name, _ in union.named_parameters()}
    check_keys(file.path, {names[name]: parameter for name, parameter in union.named_parameters()}, file.shapes)
    tensors = file.tensors()
    fill(union, {name: tensors[key] for name, key in names.items()}, base.device, base.dtype)
    union.condition, union.name, union.sha256 = file.metadata.get(CONDITION), file.name, file.sha256
    return union


def write_union(
    union: Union,
    folder: Path,
    dtype: torch.dtype | None = None,
    *,
    eight_bits: bool = False,
    told: Mapping[str, str] | None = None,
) -> Path:
    """Write ``union`` so that ``ControlNetUnionModel.from_pretrained(folder)`` loads it; returns the weights file.

    Its header names the types, and has the lines ``told``.
    """
    fuser = union.fuser
    config = {"_class_name": "ControlNetUnionModel"} | config_of(union.branch)
    config |= {
        "addition_time_embed_dim": fuser.control_add_embedding.numbers,
        "num_control_type": len(union.types),
        "num_trans_channel": fuser.task_embedding.shape[1],
        "num_trans_head": fuser.heads,
        "num_trans_layer": len(fuser.transformer_layes),
        "num_proj_channel": fuser.spatial_ch_projs.out_features,
    }
    weights = {key_of(name): stored(value, dtype, eight_bits) for name, value in union.named_parameters()}
    return write_folder(folder, weights, config, union, {**(told or {}), TYPES: ",".join(union.types)})


def types_of(file: ControlFile) -> tuple[str, ...]:
    """What the types of the union in ``file`` are called; raises :class:`HackamoreError` where nobody knows."""
    count = file.shapes["task_embedding"][0]
    told = tuple(name for name in file.metadata.get(TYPES, "").split(",") if name)
    types = told or PUBLISHED[:count]
    if len(types) != count or not (told or count in COUNTS):
        raise HackamoreError(
            f"{file.path} has {count} types of hint"
            + (f" and names {len(told)}" if told else " and does not name them"),
            expected=f"{' or '.join(map(str, COUNTS))} types, as published, or their names in the header ({TYPES})",
        )
    return types


def key_of(name: str) -> str:
    """The key in a file of our parameter ``name``."""
    return their_name(name.removeprefix(BRANCH)) if name.startswith(BRANCH) else name.removeprefix(FUSER)


def _empty(file: ControlFile, base: Any, types: tuple[str, ...]) -> Union:
    """A union with the structure that the shapes in ``file`` tell, without memory."""
    branch = empty_branch(base, file.shapes)
    layers = len({key.split(".")[1] for key in file.shapes if key.startswith("transformer_layes.")})
    numbers = file.shapes["control_add_embedding.linear_1.weight"][1] // len(types)
    width, time = branch.sites.skips[0], branch.trunk.time_embedding.linear_2.out_features
    heads = int(file.config.get("num_trans_head", HEADS))
    with torch.device("meta"):
        return Union(branch, types, Fuser(len(types), width, time, layers=layers, heads=heads, numbers=numbers))
