"""Units elsewhere than whole and at their own size: checked against a base, cut out for a tile, made larger."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hackamore.bases.base import Base
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size, from_hint, resize, to_hint


def is_spatial(control: Any) -> bool:
    """Whether a hint says where things are; where it does not (an IP-Adapter's picture), it is never cut or resized."""
    return bool(getattr(control, "spatial", True))


def kind_of(unit: Unit) -> str | None:
    """What the unit's hint is: its type where the control knows several (a union), else the control's condition."""
    control: Any = unit.control
    types, told = getattr(control, "types", None), unit.options.get("type")
    if told is None:
        return unit.control.condition
    if types:
        return str(types[control.number(told)])
    return told if isinstance(told, str) else unit.control.condition


def check_unit(unit: Unit, base: Base, size: Size, pictures: int) -> None:
    """Raise :class:`HackamoreError` for a unit of another base, or that does not fit ``pictures`` of ``size``."""
    control = unit.control
    if control.sites != base.sites:
        raise HackamoreError(
            f"the control {control.name} was made for another base than {base.name}",
            received=f"widths {control.sites.skips}, text width {control.sites.text_width}",
            expected=f"widths {base.sites.skips}, text width {base.sites.text_width}",
        )
    hint = {"hint": unit.hint} if is_spatial(control) else {}
    told = {**hint, "mask": unit.mask, "hidden": unit.options.get("hidden")}
    for name, value in told.items():
        if value is not None and (value.shape[3], value.shape[2]) != size:
            raise HackamoreError(
                f"the {name} of {control.name} has another size than the picture",
                received=f"{value.shape[3]}×{value.shape[2]}",
                expected=f"{size[0]}×{size[1]}",
            )
    if (outputs := getattr(control, "outputs", None)) is not None:
        unit.layer_weights(outputs)
    if (own := getattr(control, "check", None)) is not None:
        own(size, **unit.options)
    for name, value in (told | {"hint": unit.hint}).items():
        if value is not None and len(value) not in (1, pictures):
            raise HackamoreError(
                f"{len(value)} {name}s of {control.name} for {pictures} pictures",
                expected="one for all, or one for each picture",
            )


def cropped(unit: Unit, box: Callable[[Tensor], Tensor], size: Size) -> Unit | None:
    """The unit inside a tile of ``size`` that ``box`` cuts out of tensors …×H×W; None where its mask leaves nothing.

    Hint, mask and hidden part are cut alike, and the tile's hint is prepared by itself: the control sees in a tile what
    it saw in training, whatever its kind. A pooling control's hint (shuffle) is made smaller instead, as it does not
    say where things are.
    """
    mask = None if unit.mask is None else box(unit.mask)
    if mask is not None and float(mask.max()) <= 0:
        return None
    part = copy.copy(unit)
    part.mask = mask
    part.options = {name: box(value) if _is_map(value) else value for name, value in unit.options.items()}
    if is_spatial(unit.control):
        pools = getattr(unit.control, "pools", False)
        shape = (size[1], size[0])
        part.hint = F.interpolate(unit.hint, shape, mode="area") if pools else box(unit.hint)
    return part


def resized(unit: Unit, size: Size, fit: Callable[[Picture], Picture]) -> Unit:
    """The unit for a picture of another ``size``: each hint through ``fit``, masks by area."""
    larger = copy.copy(unit)
    if is_spatial(unit.control):
        larger.hint = to_hint([fit(picture) for picture in unit.pictures])
    larger.mask = None if unit.mask is None else resized_mask(unit.mask, size)
    larger.options = {
        name: resized_mask(value, size) if _is_map(value) else value for name, value in unit.options.items()
    }
    return larger


def resized_mask(mask: Tensor, size: Size) -> Tensor:
    """A mask N×1×H×W stretched to ``size``."""
    pictures = [resize(picture, size, "stretch") for picture in from_hint(mask.expand(-1, 3, -1, -1))]
    return to_hint(pictures)[:, :1].contiguous()


def _is_map(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim == 4
