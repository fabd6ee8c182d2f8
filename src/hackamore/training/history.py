"""What a run has shown so far: pure functions over the rows of its ``log.jsonl``.

Probe rows are ``{"step", "probe": {...}}``. The figure that decides is ``normalised`` control fidelity, or the hint
``gain`` where no probe of the run has one. Nothing is kept beside the log, so that a resumed run knows the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

Rows = Sequence[Mapping[str, Any]]

BEGUN = 0.1
"""Share of what is possible beyond the control off from which on a control counts as one that learns."""
LEAST_RISE, LEAST_GAIN = 0.005, 0.01
"""A probe is better than another by more than this: a share of what is possible; a share of the better hint gain."""
JUMP, JUMPS = 0.15, 3.0
"""A sudden rise: so much of what is possible between two probes, and so many times the usual change between them."""
USED = 0.005
"""Hint gain from which on the loss makes use of the hint: half a percent."""


@dataclass(frozen=True)
class Probed:
    """A probe: after ``step`` steps, the ``figure`` that decides, whether that is normalised, and all it found."""

    step: int
    figure: float
    normalised: bool
    found: Mapping[str, float | None]

    def beats(self, other: Probed) -> bool:
        """Whether it is better by more than a probe's trifle."""
        least = LEAST_RISE if self.normalised else LEAST_GAIN * abs(other.figure)
        return self.figure > other.figure + least

    @property
    def begun(self) -> bool:
        """Whether the control has begun to learn: ``BEGUN`` of the way from what captions alone bring to all."""
        idle = max(known(self.found, "idle") or 0.0, 0.0)
        return self.figure >= (idle + BEGUN * (1 - idle) if self.normalised else USED)

    def __str__(self) -> str:
        if self.normalised:
            return f"{self.figure:.2f} of what is possible"
        return f"its own hint makes the loss {100 * self.figure:.1f} % smaller than another's does"


@dataclass(frozen=True)
class Sudden:
    """The greatest rise between two probes: between which steps, from which figure to which."""

    before: int
    step: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"sudden convergence at about step {self.step:,} ({self.low:.2f} → {self.high:.2f})"


@dataclass(frozen=True)
class Plateau:
    """Where a rise is going: the ``figure`` at its end, and the ``step`` at which 95 % of the way will be done."""

    figure: float
    step: int


def known(found: Mapping[str, Any], name: str) -> float | None:
    """A finite number of a row, else None."""
    value = found.get(name)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def deciding(found: Mapping[str, Any]) -> float | None:
    """The figure of one probe that decides: ``normalised``, where that is unknown ``gain``, or None."""
    normalised = known(found, "normalised")
    return known(found, "gain") if normalised is None else normalised


def probes(rows: Rows) -> list[Probed]:
    """All probes in the order of their steps; those without a normalised figure are left out where others have one."""
    found = {int(row["step"]): row["probe"] for row in rows if isinstance(row.get("probe"), Mapping)}
    name = "normalised" if any(known(told, "normalised") is not None for told in found.values()) else "gain"
    points = ((step, known(told, name), told) for step, told in sorted(found.items()))
    return [Probed(step, value, name == "normalised", told) for step, value, told in points if value is not None]


def best(rows: Rows) -> Probed | None:
    """The best probe; of those that are equal but for a trifle the earliest. None before the first."""
    top: Probed | None = None
    for probed in probes(rows):
        top = probed if top is None or probed.beats(top) else top
    return top


def waited(rows: Rows) -> int:
    """How many probes there were since the best one; 0 as long as the control has not begun to learn.

    A run that waits for its sudden convergence shows nothing for long; that alone is no reason to stop it.
    """
    top = best(rows)
    if top is None or not top.begun:
        return 0
    return sum(probed.step > top.step for probed in probes(rows))


def exhausted(rows: Rows, patience: int | None) -> bool:
    """Whether the deciding figure has not risen for ``patience`` probes; None never stops."""
    return patience is not None and waited(rows) >= patience


def sudden(rows: Rows) -> Sudden | None:
    """The sudden convergence: the greatest rise between neighbouring probes, where it stands out of their changes.

    It does when it is at least ``JUMP`` of what is possible (of the whole range, for hint gains) and ``JUMPS`` times
    the median change between the other probes. Needs three probes.
    """
    points = probes(rows)
    if len(points) < 3:
        return None
    changes = [after.figure - before.figure for before, after in pairwise(points)]
    place = int(np.argmax(changes))
    usual = median(abs(change) for k, change in enumerate(changes) if k != place)
    figures = [point.figure for point in points]
    least = JUMP if points[0].normalised else max(JUMP * (max(figures) - min(figures)), USED)
    if changes[place] < max(least, JUMPS * usual):
        return None
    before, after = points[place], points[place + 1]
    return Sudden(before.step, after.step, before.figure, after.figure)


def smoothed(values: Iterable[float], weight: float = 0.9) -> list[float]:
    """Exponential moving average; the beginning is a plain mean, so that the first value does not linger."""
    made: list[float] = []
    for count, value in enumerate(values):
        keep = min(weight, count / (count + 1))
        made.append(value if count == 0 else keep * made[-1] + (1 - keep) * value)
    return made


def noise(points: Sequence[Probed]) -> float:
    """The standard deviation of a probe about a smooth course, from the median second difference; 0 below 6 probes."""
    if len(points) < 6:
        return 0.0
    figures = np.array([point.figure for point in points])
    bends = figures[2:] - 2 * figures[1:-1] + figures[:-2]
    return float(1.4826 * np.median(np.abs(bends)) / math.sqrt(6))


def plateau(rows: Rows) -> Plateau | None:
    """Where the figure is going: a − b·e^(−step/τ), fitted to the probes from the sudden convergence on.

    None for fewer than four such probes, for a figure that does not rise, and for a rise whose end is not in sight
    (more than four times the steps that the probes cover).
    """
    jump = sudden(rows)
    points = [point for point in probes(rows) if jump is None or point.step >= jump.step]
    if len(points) < 4:
        return None
    steps = np.array([point.step for point in points], np.float64)
    figures = np.array([point.figure for point in points], np.float64)
    span = steps[-1] - steps[0]
    fits = [_fit(steps - steps[0], figures, tau) for tau in np.geomspace(span / 20, 4 * span, 40)]
    error, end, fall, tau = min(fits)
    if fall <= 2 * error or tau > 1.33 * span:
        return None
    return Plateau(float(end), round(float(steps[0] + 3 * tau)))


def _fit(steps: Any, figures: Any, tau: float) -> tuple[float, float, float, float]:
    """(root mean square error, a, b, τ) of the best a − b·e^(−step/τ)."""
    falling = np.exp(-steps / tau)
    matrix = np.stack([np.ones_like(steps), -falling], 1)
    (end, fall), *_ = np.linalg.lstsq(matrix, figures, rcond=None)
    error = float(np.sqrt(np.mean((matrix @ [end, fall] - figures) ** 2)))
    return error, float(end), float(fall), float(tau)
