"""A control bound to a hint: how strongly, when, and where it acts."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from hackamore.controls.control import AnyControl
from hackamore.controls.modes import check_mode, check_weights, conditional_only, mode_weights
from hackamore.controls.schedule import Schedule, Window, parse_schedule, window
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, from_hint, load_picture, to_hint


class Unit:
    """One control at work in one generation.

    ``hint``: a tensor N×3×H×W in [0, 1], or a picture H×W×3 uint8; N is 1 or the number of pictures.
    ``scale``: strength, 1 as trained. ``start``, ``end``: the window, as shares of the steps (step i of N is active iff
    i/N ≥ start and (i+1)/N ≤ end). ``schedule``: strength@place points instead of those three.
    ``mask``: where it acts, 1×1×H×W in [0, 1] or a picture, white; black elsewhere.
    ``mode``: ``balanced``; ``prompt`` (soft layer weights, so that the prompt counts more); ``control`` (the same,
    heard by the conditional half only); ``guess`` (steeper weights, conditional half only, needs no prompt).
    ``weights``: free layer weights instead of the mode's, one for each output of the control, the shallowest first.
    ``prompt``: what the control itself reads instead of the picture's prompt.
    Further ``options`` are the control's own: ``hidden`` (inpainting: a mask, white where the picture is hidden),
    ``type`` (union: which of its conditions the hint is) …
    Raises :class:`HackamoreError` for values out of range, an empty mask, options that the control does not know, or a
    schedule beside scale, start or end.
    """

    def __init__(
        self,
        control: AnyControl,
        hint: Tensor | Picture,
        *,
        scale: float | None = None,
        start: float | None = None,
        end: float | None = None,
        schedule: str | Schedule | None = None,
        mask: Tensor | Picture | None = None,
        mode: str = "balanced",
        weights: Sequence[float] | None = None,
        prompt: str | None = None,
        **options: Any,
    ) -> None:
        self.control = control
        self.hint = _hint(hint)
        self.mask = None if mask is None else _mask(mask)
        self.mode, self.prompt = check_mode(mode), prompt
        self.weights = None if weights is None else check_weights(weights)
        if self.weights is not None and mode in ("prompt", "guess"):
            raise HackamoreError(
                f"a control has layer weights and mode {mode}, which has its own", expected="mode balanced or control"
            )
        if prompt is not None and not getattr(control, "reads_prompt", not hasattr(control, "attach")):
            raise HackamoreError(f"the control {control.name} reads no prompt of its own", received=prompt)
        self.options = self._checked_options(options)
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

    def _checked_options(self, options: dict[str, Any]) -> dict[str, Any]:
        known: Collection[str] = getattr(self.control, "options", ())
        unknown = sorted(options.keys() - set(known))
        if unknown:
            expected = ", ".join(known) or "nothing beyond scale, window, schedule, mask, mode, weights and prompt"
            raise HackamoreError(f"the control {self.control.name} does not know {unknown[0]!r}", expected=expected)
        if options.get("hidden") is not None:
            options["hidden"] = _mask(options["hidden"], "hides nothing", "white where the picture is hidden")
        return options

    def scaled_to(self, scale: float) -> Unit:
        """The same unit with another scale, its window kept; a schedule has no scale to change."""
        if isinstance(self.strength, Schedule):
            raise HackamoreError(
                f"the control {self.control.name} has a schedule, not a scale", remedy="scale, start and end instead"
            )
        unit = copy.copy(self)
        unit.strength = window(scale, self.strength.start, self.strength.end)
        return unit

    def strength_at(self, index: int, total: int) -> float:
        """The factor on its residuals at step ``index`` of ``total``; at 0 its network is not run."""
        return self.strength.at(index, total)

    def layer_weights(self, outputs: int) -> list[float] | None:
        """The weights of the control's ``outputs``; None where all are 1."""
        if self.weights is None:
            return mode_weights(self.mode, outputs)
        if len(self.weights) != outputs:
            raise HackamoreError(
                f"{len(self.weights)} layer weights for the control {self.control.name}", expected=f"{outputs}"
            )
        return list(self.weights)

    @property
    def conditional_only(self) -> bool:
        """Whether the unconditional half of guidance does not hear it."""
        return conditional_only(self.mode) or bool(getattr(self.control, "pools", False))

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


def _mask(mask: Tensor | Picture, wrong: str = "is empty", expected: str = "white where the control acts") -> Tensor:
    if not isinstance(mask, torch.Tensor):
        mask = to_hint(load_picture(mask)).mean(1, keepdim=True)
    mask = _checked("mask", mask, 1)
    if float(mask.max()) <= 0:
        raise HackamoreError(f"the mask {wrong}", received="all black", expected=expected)
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
