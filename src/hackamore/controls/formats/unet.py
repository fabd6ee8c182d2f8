"""Readers of ControlNets for U-Nets: the original layout, diffusers', differences and Control-LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hackamore.bases.unet import DECODER
from hackamore.controls.branch import Branch
from hackamore.controls.formats.diffusers import CONDITION
from hackamore.controls.formats.file import ControlFile
from hackamore.controls.formats.keys import check_keys
from hackamore.controls.formats.marks import PREFIX
from hackamore.controls.formats.names import from_cldm, their_name, to_cldm
from hackamore.controls.formats.trunk import (
    HINT,
    Shapes,
    check_family,
    check_settings,
    depths,
    hint_widths,
    trunk_like,
)
from hackamore.controls.hint import HintEncoder
from hackamore.core.errors import HackamoreError

ORDER = "controlnet_conditioning_channel_order"
FACTORS = (".up", ".down")


def names_of(file: ControlFile) -> dict[str, str]:
    """diffusers' name → key in ``file``, in whichever of the two layouts it is; a key ``difference`` is left out."""
    keys = [key for key in file.shapes if key not in ("difference", "lora_controlnet")]
    return {key: key for key in keys} if f"{HINT}conv_in.weight" in file.shapes else from_cldm(keys)


def read_diffusers(file: ControlFile, base: Any, pools: bool | None = None) -> Branch:
    """A ControlNet in diffusers' layout. ``pools``: see :func:`read_cldm`."""
    order = file.config.get(ORDER, "rgb")
    if order not in ("rgb", "bgr"):
        raise HackamoreError(f"{file.path} takes its hint in another channel order", received=order, expected="rgb")
    branch, names = _empty(file, base, pools)
    values = _values(file, names)
    if order == "bgr":  # the first convolution turned round once, in place of every hint
        values[f"{HINT}conv_in.weight"] = values[f"{HINT}conv_in.weight"].flip(1)
    return _filled(branch, values)


def read_cldm(file: ControlFile, base: Any, pools: bool | None = None) -> Branch:
    """A ControlNet in the original layout; of a whole model only the control's part is read.

    ``pools``: whether its residuals are averaged over the picture (shuffle controls). No key tells; where config.json
    does not either, a file with “shuffle” in its name is taken for one.
    """
    branch, names = _empty(file, base, pools)
    return _filled(branch, _values(file, names))


def read_difference(file: ControlFile, base: Any, pools: bool | None = None) -> Branch:
    """A ControlNet stored as its weights minus the base's: what the base has too is added to the base's weights."""
    branch, names = _empty(file, base, pools)
    values, beneath = _values(file, names), base_weights(base)
    for name in values.keys() & beneath.keys():  # summed in fp32, kept as the branch will have it
        values[name] = (values[name].float() + beneath[name].cpu()).to(base.dtype)
    return _filled(branch, values)


def read_control_lora(file: ControlFile, base: Any, pools: bool | None = None) -> Branch:
    """A Control-LoRA (Stability): weights given whole, or as factors W = W_base + up·down; the rest is the base's."""
    names = names_of(file)
    factors = {name: key for name, key in names.items() if name.endswith(FACTORS)}
    whole = {name: key for name, key in names.items() if name not in factors}
    told = {name: file.shapes[key] for name, key in whole.items()}
    for name, key in factors.items():
        if name.endswith(".down") and f"{name[:-5]}.up" in factors:
            stem = name[:-5]
            told[f"{stem}.weight"] = file.shapes[factors[f"{stem}.up"]][:1] + file.shapes[key][1:]
    check_family(file.name, told, base)
    beneath = base_weights(base)
    missing = {name: tuple(value.shape) for name, value in beneath.items() if name not in whole}
    branch = empty_branch(base, missing | {name: file.shapes[key] for name, key in whole.items()})
    expected = {their_name(name): p for name, p in branch.named_parameters()}
    fits = {f"{name}{end}" for name in (key.removesuffix(".weight") for key in beneath) for end in FACTORS}
    strange = {name: file.shapes[key] for name, key in factors.items() if name not in fits}
    check_keys(file.path, expected, missing | {name: file.shapes[key] for name, key in whole.items()} | strange)
    tensors = file.tensors(*names.values())
    values = {name: value.cpu() for name, value in beneath.items() if name not in whole}
    for name in {name.rpartition(".")[0] for name in factors}:
        up, down = (_factor(tensors, names, f"{name}{end}", file) for end in FACTORS)
        weight = values[f"{name}.weight"]
        values[f"{name}.weight"] = (weight.float() + _product(up, down, weight, name, file)).to(base.dtype)
    values |= {name: tensors[key] for name, key in whole.items()}
    return _described(_filled(branch, values), file, pools)


def base_weights(base: Any) -> dict[str, Tensor]:
    """The weights that a copy of the base's encoder would have, by diffusers' names; LoRAs on the base left out."""
    weights: dict[str, Tensor] = base.bare.state_dict()
    return {name: value for name, value in weights.items() if name.partition(".")[0] not in DECODER}


def empty_branch(base: Any, shapes: Shapes) -> Branch:
    """A :class:`Branch` for ``base`` with the structure that ``shapes`` (by diffusers' names) tell; it has no memory.

    Raises :class:`HackamoreError` for a hint encoder that does not fit.
    """
    widths, channels = hint_widths(shapes)
    if channels != 3 or 2 ** (len(widths) - 1) != HintEncoder.STRIDE:
        raise HackamoreError(
            "the control takes another kind of hint than pictures",
            received=f"{channels} channels, {len(widths)} widths of its hint encoder",
            expected=f"3 channels, and 4 widths for a stride of {HintEncoder.STRIDE}",
        )
    down, mid = depths(shapes, len(base.unet.config.down_block_types))
    with torch.device("meta"):
        return Branch(base, widths=widths, trunk=trunk_like(base.bare, down, mid))


def fill(module: nn.Module, values: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> None:
    """Put ``values`` (by the module's own names) in place of all parameters; each is copied once, to its place."""
    placed = {
        name: values[name].to(device, dtype, copy=True).reshape(parameter.shape)
        for name, parameter in module.named_parameters()
    }
    module.load_state_dict(placed, assign=True)
    module.requires_grad_(False).eval()


def pools_of(file: ControlFile, pools: bool | None) -> bool:
    """Whether the control's residuals are averaged: as asked, as config.json says, or by a name with “shuffle”."""
    told = pools if pools is not None else file.config.get("global_pool_conditions")
    return bool(told) if told is not None else "shuffle" in file.name.lower()


def _empty(file: ControlFile, base: Any, pools: bool | None) -> tuple[Branch, dict[str, str]]:
    """A branch without weights for what ``file`` holds, all keys checked; and diffusers' name → key."""
    names = names_of(file)
    shapes = {name: file.shapes[key] for name, key in names.items()}
    check_family(file.name, shapes, base)
    check_settings(file.name, file.config, shapes, base)
    if f"{HINT}conv_in.weight" not in shapes:
        raise HackamoreError(
            f"{file.path} lacks the first tensor of its hint encoder", expected=f"{HINT}conv_in.weight"
        )
    branch = empty_branch(base, shapes)
    expected = {their_name(name): tuple(p.shape) for name, p in branch.named_parameters()}
    for name, shape in expected.items():  # a 1×1 convolution and a linear layer are the same numbers
        if name.endswith(("proj_in.weight", "proj_out.weight")) and shapes.get(name, ())[:2] == shape[:2]:
            shapes[name] = shape if set(shapes[name][2:]) <= {1} else shapes[name]
    theirs = to_cldm([*expected, *shapes]) if any(name != key for name, key in names.items()) else {}
    check_keys(
        file.path,
        {theirs.get(name, name): shape for name, shape in expected.items()},
        {theirs.get(name, name).removeprefix(PREFIX): shape for name, shape in shapes.items()},
    )
    return _described(branch, file, pools), names


def _described(branch: Branch, file: ControlFile, pools: bool | None) -> Branch:
    branch.pools = pools_of(file, pools)
    branch.sha256 = file.sha256
    branch.condition = file.metadata.get(CONDITION)
    branch.name = file.name
    return branch


def _values(file: ControlFile, names: Mapping[str, str]) -> dict[str, Tensor]:
    tensors = file.tensors(*names.values())
    return {name: tensors[key] for name, key in names.items()}


def _filled(branch: Branch, values: Mapping[str, Tensor]) -> Branch:
    mine = {name: values[their_name(name)] for name, _ in branch.named_parameters()}
    fill(branch, mine, branch.base.device, branch.base.dtype)
    return branch


def _factor(tensors: Mapping[str, Tensor], names: Mapping[str, str], name: str, file: ControlFile) -> Tensor:
    if name not in names:
        raise HackamoreError(f"{file.path} has one factor of a weight without the other", received=f"no {name}")
    return tensors[names[name]].float().flatten(1)


def _product(up: Tensor, down: Tensor, weight: Tensor, name: str, file: ControlFile) -> Tensor:
    if up.shape[1] != down.shape[0] or up.shape[0] * down.shape[1] != weight.numel():
        raise HackamoreError(
            f"{file.path} has factors that do not fit: {name}",
            received=f"{tuple(up.shape)} times {tuple(down.shape)}",
            expected=f"a weight of {tuple(weight.shape)}",
        )
    return (up @ down).reshape(weight.shape)
