"""One figure of how well a finished picture follows its hint, as a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hackamore.core.image import Picture
from hackamore.core.skeleton import People

Floats = NDArray[np.float64]
Reading = Picture | People
"""A hint, or what was read back from a picture in its place: a picture H×W×3 uint8; for pose the people themselves."""


def ratio(mean: Floats) -> float:
    """The first number ÷ the second; NaN for 0 ÷ 0."""
    return float(mean[0] / mean[1]) if mean[1] > 0 else float("nan")


def one(value: float) -> Floats:
    """Statistics of a figure that is a mean over pictures; a picture for which it is not defined is left out."""
    return np.array([value, 1.0]) if np.isfinite(value) else np.zeros(2)


@dataclass(frozen=True)
class Score:
    """One named figure of a kind of hint.

    ``read`` turns a finished picture into what the hint should have been; the scores of a kind share it, so that a
    picture is read once. ``statistics`` of a reading and a hint are a few numbers whose mean over pictures gives,
    through ``figure``, the figure of the set. ``better`` says which direction is good.
    """

    name: str
    read: Callable[[Picture], Reading]
    statistics: Callable[[Any, Any], Floats]
    figure: Callable[[Floats], float] = ratio
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""

    def compare(self, reading: Reading, hint: Reading) -> float:
        """The figure of one picture, from what was read back and the hint; NaN where the hint says nothing."""
        return self.figure(self.statistics(reading, hint))

    def __call__(self, picture: Picture, hint: Reading) -> float:
        """The figure of one finished picture."""
        return self.compare(self.read(picture), hint)

    def beats(self, figure: float, other: float) -> bool:
        """Whether ``figure`` is better than ``other``; anything is better than NaN."""
        if not np.isfinite(figure) or not np.isfinite(other):
            return bool(np.isfinite(figure) and not np.isfinite(other))
        return figure > other if self.better == "higher" else figure < other

    def tally(self, readings: Sequence[Reading], hints: Sequence[Reading]) -> Floats:
        """Statistics N×K of N pictures and their own hints."""
        return np.stack([self.statistics(reading, hint) for reading, hint in zip(readings, hints, strict=True)])

    def shuffled(self, readings: Sequence[Reading], hints: Sequence[Reading]) -> Floats | None:
        """The same against shuffled hints, None for a single picture.

        The hints are moved on by one and by half the set, so that no picture meets its own.
        """
        count = len(hints)
        shifts = sorted({1 % count, count // 2 % count} - {0})
        if not shifts:
            return None
        moved = [self.tally(readings, [hints[(k + shift) % count] for k in range(count)]) for shift in shifts]
        return np.asarray(np.mean(moved, axis=0))
