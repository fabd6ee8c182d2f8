"""Many units → one steered prediction a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from hackamore.backends.backend import EAGER, Backend
from hackamore.bases.base import Base, Text
from hackamore.controls.calls import Call, run_together, side_by_side
from hackamore.controls.control import Voice
from hackamore.controls.memory import Memory, deep_of
from hackamore.controls.unit import Unit
from hackamore.core.effort import EXACT, Effort
from hackamore.core.residuals import Residuals


class Composition:
    """The units of one generation: each hint prepared once, each network run only at the steps where it counts.

    :attr:`base` is the given base with the units' attached controls (LLLite, ControlNet-XS …) inside; the given one
    stays as it is, so that several generations can share it. ``backend`` runs the networks; one with controls inside,
    which are told something new at each step, PyTorch.
    """

    def __init__(self, units: Sequence[Unit], base: Base, backend: Backend = EAGER) -> None:
        self.units = list(units)
        self.prepared: list[Any] = [None] * len(self.units)
        self.voices: list[Voice | None] = []
        self.base = base
        for unit in self.units:
            attach = getattr(unit.control, "attach", None)
            self.voices.append(None if attach is None else Voice())
            if attach is not None:
                self.base = attach(self.base, self.voices[-1])
        self.has_attached = self.base is not base
        self.backend, self.base_backend = backend, EAGER if self.has_attached else backend

    def predict(
        self, x: Tensor, t: Tensor, text: Text, index: int, total: int, pictures: slice, own: Sequence[Text | None]
    ) -> Tensor:
        """The base's prediction at step ``index`` of ``total``, steered by the units that are active then.

        ``x`` holds the ``pictures`` of this batch once, or twice in a row (the two halves of guidance); ``own`` has the
        encoded prompt of each unit that reads its own.
        """
        return predict_together([Part(self, x, text, pictures, own)], t, index, total)[0]

    def residuals(
        self, x: Tensor, t: Tensor, text: Text, index: int, total: int, pictures: slice, own: Sequence[Text | None]
    ) -> Residuals | None:
        """The sum of what the units outside the base say; None where all are silent."""
        calls = self.calls(x, text, index, total, pictures, own)
        return self.sum(calls, run_together(calls, t, self.backend), x, pictures)

    def calls(
        self,
        x: Tensor,
        text: Text,
        index: int,
        total: int,
        pictures: slice,
        own: Sequence[Text | None],
        *,
        halves: bool = True,
    ) -> list[Call]:
        """The runs of controls that this step needs: one for each unit that is active, or group of a union's units.

        Without ``halves`` they run for the prompt's half of guidance alone, and speak to both.
        """
        active = [
            (number, strength)
            for number, unit in enumerate(self.units)
            if self.voices[number] is None and (strength := unit.strength_at(index, total)) != 0
        ]
        made: list[Call] = []
        for group in self._together(active):
            first = self.units[group[0][0]]
            silent, count = _silent(first, x, pictures), pictures.stop - pictures.start
            both = not halves and not silent and len(x) > count
            rows = slice(len(x) - count if both else silent, None)
            prepared = [self._prepared(number, pictures, len(x[rows])) for number, _ in group]
            heard = own[group[0][0]] or text
            strengths = [strength for _, strength in group]
            earlier = sum(call.control is first.control for call in made)
            made.append(Call(first.control, group[0][0], x[rows], heard[rows], prepared, strengths, earlier, both))
        return made

    def sum(self, calls: Sequence[Call], said: Sequence[Residuals], x: Tensor, pictures: slice) -> Residuals | None:
        """What the ``calls`` for ``x`` said, weighted, scaled, masked and added; None where there were none."""
        told = []
        for call, made in zip(calls, said, strict=True):
            unit = self.units[call.number]
            weights = unit.layer_weights(len(made))
            made = made if weights is None else made.weighted(weights)
            made = made if len(call.strengths) > 1 else made.scaled(call.strengths[0])
            if unit.mask is not None:
                made = made.masked(_rows(unit.mask.to(x.device), pictures, len(call.x)))
            if call.both:
                made = made.doubled()
            elif len(call.x) < len(x):
                made = made.behind(len(x) - len(call.x))
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

    def tell_voices(self, x: Tensor, index: int, total: int, pictures: slice, *, silent: bool = False) -> None:
        """Tell each attached control what it says at this step; ``silent``: nothing."""
        for number, (unit, voice) in enumerate(zip(self.units, self.voices, strict=True)):
            if voice is None:
                continue
            voice.strength = 0.0 if silent else unit.strength_at(index, total)
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


@dataclass(frozen=True)
class Part:
    """Some ``pictures`` of one generation in a batch; ``x``, ``text``, ``own`` as for :meth:`Composition.predict`.

    ``memory``: what is kept of it from step to step, where anything may be spared.
    """

    composition: Composition
    x: Tensor
    text: Text
    pictures: slice
    own: Sequence[Text | None]
    memory: Memory | None = None

    def calls(self, index: int, total: int, effort: Effort) -> list[Call]:
        """The runs of controls that count at this step."""
        if effort.controls == "none":
            return []
        told = self.x, self.text, index, total, self.pictures, self.own
        return self.composition.calls(*told, halves=effort.halves)

    def remembered(self, call: Call, index: int, effort: Effort) -> Residuals | None:
        """What is carried on instead of running ``call``; None where it must run."""
        return None if self.memory is None or effort.controls != "carry" else self.memory.said(call, index)


def predict_together(parts: Sequence[Part], t: Tensor, index: int, total: int, effort: Effort = EXACT) -> list[Tensor]:
    """The base's prediction for each of several generations, run once over all their rows.

    Each hears its own units alone, and a control that several of them use is run once. Several parts must be of one
    base without attached controls, and their texts of one length. ``effort`` says what is spared.
    """
    backend = parts[0].composition.backend
    asked = [(part, call) for part in parts for call in part.calls(index, total, effort)]
    known = [part.remembered(call, index, effort) for part, call in asked]
    needed = [(part, call) for (part, call), said in zip(asked, known, strict=True) if said is None]
    fresh = run_together([call for _, call in needed], t, backend)
    for (part, call), said in zip(needed, fresh, strict=True):
        if part.memory is not None:
            part.memory.keep(call, index, said)
    new = iter(fresh)
    told = [(part, call, next(new) if said is None else said) for (part, call), said in zip(asked, known, strict=True)]
    residuals = []
    for part in parts:
        own = [(call, said) for one, call, said in told if one is part]
        residuals.append(part.composition.sum([c for c, _ in own], [s for _, s in own], part.x, part.pictures))
        part.composition.tell_voices(part.x, index, total, part.pictures, silent=effort.controls == "none")
    return _predicted(parts, t, index, residuals, effort)


def _predicted(
    parts: Sequence[Part], t: Tensor, index: int, residuals: Sequence[Residuals | None], effort: Effort
) -> list[Tensor]:
    """The base over all rows: whole, or on top of the deep features that were kept."""
    rows = [len(part.x) for part in parts]
    x, text = torch.cat([part.x for part in parts]), Text.cat([part.text for part in parts])
    told = side_by_side(residuals, rows)
    first = parts[0].composition
    base: Any = first.base
    backend = first.base_backend
    memories = [part.memory for part in parts]
    layers = memories[0].deep_layers if memories[0] is not None else 0
    if not layers or not hasattr(base, "predict_deep") or first.has_attached or (told is not None and told.encoder):
        return list(torch.split(backend.run(base.network, base.predict, x, t, text, told), rows))
    deep = None if effort.deep else deep_of(memories, index, rows)
    if deep is not None:
        made = backend.run(base.network, base.predict_shallow, x, t, text, told, deep, layers)
        return list(torch.split(made, rows))
    made, deep = backend.run(base.network, base.predict_deep, x, t, text, told, layers)
    for memory, own in zip(memories, torch.split(deep, rows), strict=True):
        if memory is not None:
            memory.keep_deep(index, own)
    return list(torch.split(made, rows))


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
