"""How strong a control is at each step: windows and schedules, defined once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from hackamore.core.errors import HackamoreError

LARGEST_SCALE = 100.0


@dataclass(frozen=True)
class Schedule:
    """Piecewise linear strength over the run, as points (place in [0, 1], strength); the ends are held."""

    points: tuple[tuple[float, float], ...]

    def at(self, index: int, total: int) -> float:
        """Strength at step ``index`` of ``total``, read at place index/total."""
        place = index / total
        before = self.points[0]
        if place <= before[0]:
            return before[1]
        for after in self.points[1:]:
            if place <= after[0]:
                share = (place - before[0]) / (after[0] - before[0])
                return before[1] + share * (after[1] - before[1])
            before = after
        return before[1]

    def __str__(self) -> str:
        return "/".join(f"{strength!r}@{place!r}" for place, strength in self.points)


@dataclass(frozen=True)
class Window:
    """A constant strength from ``start`` to ``end``: step i of N is active iff i/N ≥ start and (i+1)/N ≤ end."""

    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def at(self, index: int, total: int) -> float:
        """``scale`` inside the window, 0 outside."""
        return self.scale if index / total >= self.start and (index + 1) / total <= self.end else 0.0


def window(scale: float = 1.0, start: float = 0.0, end: float = 1.0) -> Window:
    """A checked :class:`Window`; raises :class:`HackamoreError` naming the value that is out of range."""
    check_scale(scale)
    for name, value in (("start", start), ("end", end)):
        if not (math.isfinite(value) and 0 <= value <= 1):
            raise HackamoreError(
                f"{name} of a control is out of range", received=value, expected="a share of the steps, 0 to 1"
            )
    if start > end:
        raise HackamoreError(
            "a control starts after it ends", received=f"start {start:g}, end {end:g}", expected="start ≤ end"
        )
    return Window(float(scale), float(start), float(end))


def parse_schedule(text: str) -> Schedule:
    """``"0.2@0.1/0.5@0.3/0@0.7"`` → strength 0.2 until 10 % of the steps, then linear to 0.5 at 30 %, to 0 at 70 %."""
    points = []
    for part in text.split("/"):
        strength, at, place = part.partition("@")
        try:
            points.append((float(place) if at else math.nan, float(strength)))
        except ValueError:
            points.append((math.nan, math.nan))
    places = [place for place, _ in points]
    good = all(0 <= place <= 1 for place in places) and all(a < b for a, b in pairwise(places))
    if not good:
        raise HackamoreError(
            "the schedule is not understood",
            received=text,
            expected="strength@place points with rising places from 0 to 1, such as 0.2@0.1/0.5@0.3/0@0.7",
        )
    for _, value in points:
        check_scale(value)
    return Schedule(tuple(points))


def check_scale(scale: float) -> float:
    """Return ``scale`` when it is a number a control can be multiplied by."""
    if not (isinstance(scale, (int, float)) and math.isfinite(scale) and abs(scale) <= LARGEST_SCALE):
        raise HackamoreError(
            "the scale of a control is out of range",
            received=scale,
            expected=f"a number from {-LARGEST_SCALE:g} to {LARGEST_SCALE:g}; 1 is the strength it was trained with",
        )
    return float(scale)
