"""A control bound to a hint: how strongly, when, and where it acts."""

from __future__ import annotations

import torch
from torch import Tensor

from hackamore.controls.control import Control
from hackamore.controls.schedule import Schedule, Window, parse_schedule, window
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, from_hint, load_picture, to_hint


class Unit:
    """One control at work in one generation.

    ``hint``: a tensor N×3×H×W in [0, 1], or a picture H×W×3 uint8; N is 1 or the number of pictures.
    ``scale``: strength, 1 as trained. ``start``, ``end``: the window, as shares of the steps (step i of N is active iff
    i/N ≥ start and (i+1)/N ≤ end). ``schedule``: strength@place points instead of those three.
    ``mask``: where it acts, 1×1×H×W in [0, 1] or a picture, white; black elsewhere.
    Raises :class:`HackamoreError` for values out of range, an empty mask, or a schedule beside scale, start or end.
    """

    def __init__(
        self,
        control: Control,
        hint: Tensor | Picture,
        *,
        scale: float | None = None,
        start: float | None = None,
        end: float | None = None,
        schedule: str | Schedule | None = None,
        mask: Tensor | Picture | None = None,
    ) -> None:
        self.control = control
        self.hint = _hint(hint)
        self.mask = None if mask is None else _mask(mask)
        told = [name for name, value in (("scale", scale), ("start", start), ("end", end)) if value is not None]
        if schedule is not None and told:
            raise HackamoreError(
                f"a control has a schedule and {' and '.join(told)}",
                expected="either a schedule, or scale, start and end",
            )
        self.strength: Schedule | Window
        if schedule is None:
            self.strength = window(
                1.0 if scale is None else scale, 0.0 if start is None else start, 1.0 if end is None else end
            )
        else:
            self.strength = parse_schedule(schedule) if isinstance(schedule, str) else schedule

    def scaled_to(self, scale: float) -> Unit:
        """The same unit with another scale, its window kept; a schedule has no scale to change."""
        if isinstance(self.strength, Schedule):
            raise HackamoreError(
                f"the control {self.control.name} has a schedule, not a scale", remedy="scale, start and end instead"
            )
        start, end = self.strength.start, self.strength.end
        return Unit(self.control, self.hint, scale=scale, start=start, end=end, mask=self.mask)

    def strength_at(self, index: int, total: int) -> float:
        """The factor on its residuals at step ``index`` of ``total``; at 0 its network is not run."""
        return self.strength.at(index, total)

    def acts(self, total: int) -> bool:
        """Whether it says anything at all in a run of ``total`` steps."""
        return any(self.strength_at(index, total) for index in range(total))

    @property
    def pictures(self) -> list[Picture]:
        """The very hint the control receives, as pictures."""
        return from_hint(self.hint)


def _hint(hint: Tensor | Picture) -> Tensor:
    if not isinstance(hint, torch.Tensor):
        return to_hint(load_picture(hint))
    return _checked("hint", hint, 3)


def _mask(mask: Tensor | Picture) -> Tensor:
    if not isinstance(mask, torch.Tensor):
        mask = to_hint(load_picture(mask)).mean(1, keepdim=True)
    mask = _checked("mask", mask, 1)
    if float(mask.max()) <= 0:
        raise HackamoreError("the mask is empty", received="all black", expected="white where the control acts")
    return mask


def _checked(name: str, value: Tensor, channels: int) -> Tensor:
    """N×channels×H×W in [0, 1], rounded to 8 bits, so that the Recipe holds exactly what the control receives."""
    if value.ndim == 3:
        value = value[None]
    if value.ndim != 4 or value.shape[1] != channels:
        expected = f"N×{channels}×H×W"
        raise HackamoreError(f"the {name} has the wrong shape", received=tuple(value.shape), expected=expected)
    low, high = float(value.min()), float(value.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        expected = "values in [0, 1], not [−1, 1]"
        raise HackamoreError(f"the {name} is out of range", received=f"{low:.3g} to {high:.3g}", expected=expected)
    return (value.float().clamp(0, 1) * 255).round() / 255
