"""What the fast mode keeps from step to step: what controls said, and what lies deep in the base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from hackamore.controls.calls import Call
from hackamore.core.residuals import Residuals


class Memory:
    """Of one part of a batch, through the steps of one pass.

    ``carry``: how what was kept is carried on (see :class:`hackamore.core.effort.Fast`). ``deep_layers``: how many of
    the decoder's last layers run on top of kept deep features; 0 keeps none.
    """

    def __init__(self, carry: Literal["line", "hold"] = "line", deep_layers: int = 0) -> None:
        self.carry, self.deep_layers = carry, deep_layers
        self._said: dict[tuple[int, int], Course] = {}
        self._deep = Course()

    def keep(self, call: Call, index: int, said: Residuals) -> None:
        """What was said at step ``index``, as it left the control."""
        self._said.setdefault(_key(call), Course()).keep(index, len(call.x), said)

    def said(self, call: Call, index: int) -> Residuals | None:
        """What is said at step ``index``, carried on from where the control ran; None where it must run."""
        course = self._said.get(_key(call))
        return None if course is None else course.at(index, len(call.x), self.carry)

    def keep_deep(self, index: int, features: Tensor) -> None:
        """The base's deep features of step ``index``, N×C×h×w."""
        self._deep.keep(index, len(features), Residuals(mid=features))

    def deep(self, index: int, rows: int) -> Tensor | None:
        """The deep features of the last ``rows`` rows, carried on to step ``index``; None where none are kept."""
        carried = self._deep.at(index, rows, self.carry)
        return None if carried is None else carried.mid


class Course:
    """Tensors of the last two steps at which they were computed.

    Rows are those of both halves of guidance, or of the prompt's half, which comes last; where more rows are asked for
    than were kept, nothing is known.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[int, int, Residuals]] = []

    def keep(self, index: int, rows: int, value: Residuals) -> None:
        """What was computed at step ``index``."""
        if self._kept and self._kept[-1][1] != rows:
            self._kept.clear()
        self._kept.append((index, rows, value))
        del self._kept[:-2]

    def at(self, index: int, rows: int, carry: Literal["line", "hold"]) -> Residuals | None:
        """The same at a later step, of the last ``rows`` rows."""
        if not self._kept or self._kept[-1][1] < rows:
            return None
        at, known, last = self._kept[-1]
        if carry == "line" and len(self._kept) > 1:
            before, _, earlier = self._kept[0]
            last = last.along(earlier, (index - at) / (at - before))
        return last if rows == known else last.last(rows)


def deep_of(memories: Sequence[Memory | None], index: int, rows: Sequence[int]) -> Tensor | None:
    """The kept deep features of several parts as one batch; None where one of them has none."""
    found = [None if one is None else one.deep(index, count) for one, count in zip(memories, rows, strict=True)]
    known = [features for features in found if features is not None]
    return torch.cat(known) if len(known) == len(found) else None


def _key(call: Call) -> tuple[int, int]:
    return call.number, len(call.prepared)
