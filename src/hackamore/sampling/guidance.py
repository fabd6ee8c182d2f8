"""Classifier-free guidance (Ho & Salimans 2022, eq. 6)."""

from __future__ import annotations

from torch import Tensor


def guide(prediction: Tensor, scale: float) -> Tensor:
    """Of a prediction for (unconditional, conditional) halves 2N×C×h×w: ``u + scale·(c − u)``, N×C×h×w."""
    unconditional, conditional = prediction.chunk(2)
    return unconditional + scale * (conditional - unconditional)
