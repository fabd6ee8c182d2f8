"""Many units → one Residuals a step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from hackamore.bases.base import Text
from hackamore.controls.unit import Unit
from hackamore.core.residuals import Residuals


class Composition:
    """The units of one generation: each hint prepared once, each network run only at the steps where it counts."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units = list(units)
        self.prepared: list[Any] = [None] * len(self.units)

    def residuals(self, x: Tensor, t: Tensor, text: Text, index: int, total: int, pictures: slice) -> Residuals | None:
        """The sum of what the active units say at step ``index`` of ``total``; None where all are silent.

        ``x`` holds the ``pictures`` of this batch once, or twice in a row (the two halves of guidance).
        """
        told = []
        for number, unit in enumerate(self.units):
            strength = unit.strength_at(index, total)
            if strength == 0:
                continue
            if self.prepared[number] is None:
                self.prepared[number] = unit.control.prepare(unit.hint)
            prepared = _rows(self.prepared[number], pictures, len(x))
            made = unit.control.residuals(x, t, text, prepared).scaled(strength)
            if unit.mask is not None:
                made = made.masked(_rows(unit.mask.to(x.device), pictures, len(x)))
            told.append(made)
        return reduce(add, told) if told else None


def _rows(value: Tensor, pictures: slice, rows: int) -> Tensor:
    """One row for each row of the batch: a shared hint repeated, the pictures' own once for each guidance half."""
    if len(value) == 1:
        return value.expand(rows, *value.shape[1:])
    own = value[pictures]
    return torch.cat([own] * (rows // len(own)))
