"""The doors of every control: one says residuals to the base, the other listens inside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from hackamore.bases.base import Base, Sites, Text
from hackamore.core.residuals import Residuals, mask_for


class AnyControl(Protocol):
    """What every control has.

    ``options``: names of what its units may further be told (``hidden``, ``type`` …), handed to ``prepare``.
    ``outputs``: how many layer weights it has. ``check(size, **options)``: raises for what ``prepare`` would refuse.
    ``spatial``: whether its hint says where things are. All of these where a control has them.
    ``pools``: shuffle controls, which act on the conditional half only. ``reads_prompt``: whether its units can have a
    prompt of their own (those that are attached cannot).
    """

    name: str
    condition: str | None
    sites: Sites
    sha256: dict[str, str]

    @property
    def prepare(self) -> Callable[..., Any]:
        """``prepare(hint, **options)``: do once per generation what depends on the hint alone (N×3×H×W in [0, 1]).

        Gives tensors with N rows (or 1), nested in tuples, lists and dicts as the control likes.
        """


class Control(AnyControl, Protocol):
    """Something that steers a base from outside: told its hint once, asked for residuals at each step."""

    def residuals(self, x: Tensor, t: Tensor, text: Text, prepared: Any) -> Residuals:
        """What to add to the base at this step; ``x`` are the scaled noisy latents N×C×h×w."""


@dataclass
class Voice:
    """What an attached control is told at the step that is being run; at ``strength`` 0 it must do nothing.

    ``prepared``: what its ``prepare`` gave, a row for each row of the batch. ``weights``: outputs → layer weights.
    ``mask``: N×1×H×W, where it acts. ``silent``: so many rows at the batch's start (guidance's first half) hear
    nothing. ``unconditional``: so many rows at the batch's start are guidance's first half, heard or not.
    """

    strength: float = 0.0
    prepared: Any = None
    weights: Callable[[int], list[float]] | None = None
    mask: Tensor | None = None
    silent: int = 0
    unconditional: int = 0

    def say(self, x: Tensor, output: int = 0, outputs: int = 1) -> Tensor:
        """Output number ``output`` of ``outputs`` as strong, where and for whom it is heard."""
        strength = self.strength * (1.0 if self.weights is None else self.weights(outputs)[output])
        x = x if strength == 1 else x * strength
        if self.mask is not None:
            x = x * mask_for(self.mask, x)
        if self.silent:
            x = x.clone()
            x[: self.silent] = 0
        return x


class AttachedControl(AnyControl, Protocol):
    """Something that steers a base from inside."""

    def attach(self, base: Base, voice: Voice) -> Base:
        """A base that shares the weights of ``base`` and listens to ``voice`` at each step; ``base`` is unchanged."""
