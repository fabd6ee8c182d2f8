"""Layer weights and halves: how a control's outputs are weighted, and whether the unconditional half hears them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hackamore.core.errors import HackamoreError, unknown_name

MODES = ("balanced", "prompt", "control", "guess")
SOFT = 0.825


def mode_weights(mode: str, outputs: int) -> list[float] | None:
    """The weights of a control's n + 1 ``outputs``, from the shallowest to the deepest; None: all 1.

    ``prompt`` and ``control``: 0.825^(n−i). ``guess``: from 0.1 to 1, evenly in the logarithm.
    """
    last = outputs - 1
    if mode in ("prompt", "control"):
        return [SOFT ** (last - i) for i in range(outputs)]
    if mode == "guess":
        return [10 ** (i / last - 1) if last else 1.0 for i in range(outputs)]
    return None


def conditional_only(mode: str) -> bool:
    """Whether only the conditional half of guidance hears the control."""
    return mode in ("control", "guess")


def check_mode(mode: str) -> str:
    """Return ``mode`` when it is one; else raise :class:`HackamoreError`."""
    if mode not in MODES:
        raise unknown_name("mode", mode, list(MODES))
    return mode


def check_weights(weights: Sequence[float]) -> tuple[float, ...]:
    """Free layer weights as numbers; raises :class:`HackamoreError` for what is none."""
    try:
        told = tuple(float(weight) for weight in weights)
    except (TypeError, ValueError) as error:
        raise HackamoreError("the layer weights are not numbers", received=weights) from error
    if not told or not all(math.isfinite(weight) and abs(weight) <= 100 for weight in told):
        raise HackamoreError("the layer weights are out of range", received=weights, expected="numbers, −100 to 100")
    return told
