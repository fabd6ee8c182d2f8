"""Many units → one steered prediction a step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from hackamore.bases.base import Base, Text
from hackamore.controls.control import Voice
from hackamore.controls.unit import Unit
from hackamore.core.residuals import Residuals


class Composition:
    """The units of one generation: each hint prepared once, each network run only at the steps where it counts.

    :attr:`base` is the given base with the units' attached controls (LLLite, ControlNet-XS …) inside; the given one
    stays as it is, so that several generations can share it.
    """

    def __init__(self, units: Sequence[Unit], base: Base) -> None:
        self.units = list(units)
        self.prepared: list[Any] = [None] * len(self.units)
        self.voices: list[Voice | None] = []
        self.base = base
        for unit in self.units:
            attach = getattr(unit.control, "attach", None)
            self.voices.append(None if attach is None else Voice())
            if attach is not None:
                self.base = attach(self.base, self.voices[-1])

    def predict(
        self, x: Tensor, t: Tensor, text: Text, index: int, total: int, pictures: slice, own: Sequence[Text | None]
    ) -> Tensor:
        """The base's prediction at step ``index`` of ``total``, steered by the units that are active then.

        ``x`` holds the ``pictures`` of this batch once, or twice in a row (the two halves of guidance); ``own`` has the
        encoded prompt of each unit that reads its own.
        """
        residuals = self.residuals(x, t, text, index, total, pictures, own)
        self._tell_voices(x, index, total, pictures)
        return self.base.predict(x, t, text, residuals)

    def residuals(
        self, x: Tensor, t: Tensor, text: Text, index: int, total: int, pictures: slice, own: Sequence[Text | None]
    ) -> Residuals | None:
        """The sum of what the units outside the base say; None where all are silent."""
        active = [
            (number, strength)
            for number, unit in enumerate(self.units)
            if self.voices[number] is None and (strength := unit.strength_at(index, total)) != 0
        ]
        told = []
        for group in self._together(active):
            first = self.units[group[0][0]]
            silent = _silent(first, x, pictures)
            rows = slice(silent, None)
            heard = own[group[0][0]] or text
            prepared = [self._prepared(number, pictures, len(x) - silent) for number, _ in group]
            control: Any = first.control
            if len(group) > 1:
                made = control.joined(x[rows], t, heard[rows], prepared, [strength for _, strength in group])
            else:
                made = control.residuals(x[rows], t, heard[rows], prepared[0])
            weights = first.layer_weights(len(made))
            made = made if weights is None else made.weighted(weights)
            made = made if len(group) > 1 else made.scaled(group[0][1])
            if first.mask is not None:
                made = made.masked(_rows(first.mask.to(x.device), pictures, len(x) - silent))
            made = made.behind(silent) if silent else made
            wide = made.blocks or made.singles
            told.append(made.spread(self.base.sites.blocks, self.base.sites.singles) if wide else made)
        return reduce(add, told) if told else None

    def _together(self, active: list[tuple[int, float]]) -> list[list[tuple[int, float]]]:
        """Units of one union control run it once, where nothing but hint and strength sets them apart."""
        groups: dict[object, list[tuple[int, float]]] = {}
        for number, strength in active:
            unit = self.units[number]
            alone = not hasattr(unit.control, "joined") or unit.mask is not None
            key = number if alone else (id(unit.control), unit.mode, unit.weights, unit.prompt)
            groups.setdefault(key, []).append((number, strength))
        return list(groups.values())

    def _tell_voices(self, x: Tensor, index: int, total: int, pictures: slice) -> None:
        """Tell each attached control what it says at this step."""
        for number, (unit, voice) in enumerate(zip(self.units, self.voices, strict=True)):
            if voice is None:
                continue
            voice.strength = unit.strength_at(index, total)
            if voice.strength == 0:
                continue
            voice.prepared = self._prepared(number, pictures, len(x))
            voice.silent = _silent(unit, x, pictures)
            voice.unconditional = len(x) - (pictures.stop - pictures.start)
            voice.mask = None if unit.mask is None else _rows(unit.mask.to(x.device), pictures, len(x))
            plain = unit.weights is None and unit.mode == "balanced"
            voice.weights = None if plain else lambda outputs, unit=unit: unit.layer_weights(outputs) or [1.0] * outputs

    def _prepared(self, number: int, pictures: slice, rows: int) -> Any:
        if self.prepared[number] is None:
            unit = self.units[number]
            self.prepared[number] = unit.control.prepare(unit.hint, **unit.options)
        return _rows(self.prepared[number], pictures, rows)


def _silent(unit: Unit, x: Tensor, pictures: slice) -> int:
    """How many rows at the batch's start do not hear the unit: the unconditional half, where there is one."""
    return len(x) - (pictures.stop - pictures.start) if unit.conditional_only else 0


def _rows(value: Any, pictures: slice, rows: int) -> Any:
    """One row for each row of the batch: a shared hint repeated, the pictures' own once for each guidance half."""
    if isinstance(value, dict):
        return {name: _rows(part, pictures, rows) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_rows(part, pictures, rows) for part in value)
    if not isinstance(value, torch.Tensor) or value.ndim == 0:
        return value
    if len(value) == 1:
        return value.expand(rows, *value.shape[1:])
    own = value[pictures]
    return torch.cat([own] * (rows // len(own)))
