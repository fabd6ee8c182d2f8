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

    def __init__(self, units: Sequence[Unit], count: int, total: int) -> None:
        self.units, self.count, self.total = list(units), count, total
        self.prepared = [self._prepare(unit) for unit in self.units]

    def _prepare(self, unit: Unit) -> Any:
        if not any(unit.strength_at(index, self.total) for index in range(self.total)):
            return None
        return unit.control.prepare(unit.hint)

    def residuals(self, x: Tensor, t: Tensor, text: Text, index: int) -> Residuals | None:
        """The sum of what the active units say at step ``index``; None where all are silent.

        ``x`` holds the pictures once, or twice in a row (the two halves of classifier-free guidance).
        """
        told = []
        for unit, prepared in zip(self.units, self.prepared, strict=True):
            strength = unit.strength_at(index, self.total)
            if strength == 0:
                continue
            made = unit.control.residuals(x, t, text, _spread(prepared, len(x), self.count)).scaled(strength)
            told.append(made if unit.mask is None else made.masked(_spread(unit.mask.to(x.device), len(x), self.count)))
        return reduce(add, told) if told else None


def _spread(value: Tensor, rows: int, count: int) -> Tensor:
    """One row for each row of the batch: a shared hint repeated, the pictures' own once for each guidance half."""
    if len(value) == 1:
        return value.expand(rows, *value.shape[1:])
    return torch.cat([value] * (rows // count))
