"""From the pictures of a control to its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hackamore.annotators.pose import draw_people
from hackamore.core.image import Picture
from hackamore.core.skeleton import People
from hackamore.evaluation.fidelity import normalise
from hackamore.evaluation.results import Best, ControlResult, Figure, Row, Steered
from hackamore.evaluation.score import Floats, Reading, Score
from hackamore.metrics.intervals import bootstrap

DIGITS = 6


@dataclass(frozen=True)
class Pictures:
    """What a control is judged by, each a picture for every example.

    ``true``; ``seen`` through the autoencoder; ``off`` without the control; ``on`` by scale; ``candidates`` with other
    seeds at the first scale.
    """

    true: Sequence[Picture]
    seen: Sequence[Picture]
    off: Sequence[Picture] | None
    on: dict[float, Sequence[Picture]]
    candidates: Sequence[Sequence[Picture]]

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(len(some) for some in (self.true, self.seen, self.off or (), *self.on.values(), *self.candidates))


@dataclass(frozen=True)
class Judged:
    """The figures of a control, what was read back from its pictures by column, and its best pictures."""

    result: ControlResult
    readings: dict[str, list[Reading]]
    best: list[Picture] | None


def judge(
    scores: Sequence[Score],
    hints: Sequence[Reading],
    pictures: Pictures,
    names: dict[str, str],
    progress: Callable[[int], None],
) -> Judged:
    """Read every picture once and compare it with its hint.

    ``names`` are the label, kind, control and data of the result; ``progress`` is told how many pictures are read.
    """
    read = scores[0].read
    told = 0

    def reading(some: Sequence[Picture]) -> list[Reading]:
        nonlocal told
        made = []
        for picture in some:
            made.append(read(picture))
            told += 1
            progress(told)
        return made

    readings = {"true": reading(pictures.true), "seen": reading(pictures.seen)}
    if pictures.off is not None:
        readings["off"] = reading(pictures.off)
    on = {scale: reading(some) for scale, some in pictures.on.items()}
    readings |= {f"on {scale:g}": some for scale, some in on.items()}
    first = next(iter(on))
    tries = [on[first], *(reading(some) for some in pictures.candidates)]
    chosen = choose(scores[0], tries, hints) if len(tries) > 1 else None
    best = None
    if chosen is not None:
        made = [pictures.on[first], *pictures.candidates]
        best = [made[c][k] for k, c in enumerate(chosen)]
        readings["best"] = [tries[c][k] for k, c in enumerate(chosen)]
    rows = tuple(_row(score, hints, readings, on, len(tries)) for score in scores)
    return Judged(ControlResult(**names, rows=rows, chosen=chosen), readings, best)


def choose(score: Score, tries: Sequence[Sequence[Reading]], hints: Sequence[Reading]) -> tuple[int, ...]:
    """For each hint the number of the try that follows it best; the earlier of equal ones."""
    chosen = []
    for k, hint in enumerate(hints):
        figures = [score.compare(some[k], hint) for some in tries]
        winner = 0
        for c, figure in enumerate(figures):
            winner = c if score.beats(figure, figures[winner]) else winner
        chosen.append(winner)
    return tuple(chosen)


def figure_of(score: Score, statistics: Floats) -> Figure:
    """The figure of a set from its statistics N×K, with its interval."""
    return figure_from(statistics, score.figure)


def figure_from(statistics: Floats, figure: Callable[[Floats], float]) -> Figure:
    """A function of mean statistics, with its bootstrap interval; no interval for a single picture."""
    if len(statistics) < 2:
        return Figure(value=_number(figure(statistics.mean(0))))
    low, high = bootstrap(statistics, figure)
    return Figure(value=_number(figure(statistics.mean(0))), low=_number(low), high=_number(high))


def drawing(reading: Reading) -> Picture:
    """What was read back, to be looked at."""
    return draw_people(reading) if isinstance(reading, People) else reading


def _row(
    score: Score,
    hints: Sequence[Reading],
    readings: dict[str, list[Reading]],
    on: dict[float, list[Reading]],
    tries: int,
) -> Row:
    tallies = {name: score.tally(readings[name], hints) for name in ("true", "seen")}

    def steered(scale: float, some: list[Reading]) -> dict[str, object]:
        own, floor = score.tally(some, hints), score.shuffled(some, hints)
        return {
            "scale": scale,
            "figure": figure_of(score, own),
            "floor": None if floor is None else figure_of(score, floor),
            "normalised": None if floor is None else _normalised(score, own, floor, tallies["seen"]),
        }

    best = None
    if "best" in readings:
        best = Best.model_validate({**steered(next(iter(on)), readings["best"]), "of": tries})
    return Row(
        name=score.name,
        better=score.better,
        unit=score.unit,
        off=figure_of(score, score.tally(readings["off"], hints)) if "off" in readings else None,
        on=tuple(Steered.model_validate(steered(scale, some)) for scale, some in on.items()),
        best=best,
        true=figure_of(score, tallies["true"]),
        ceiling=figure_of(score, tallies["seen"]),
    )


def _normalised(score: Score, own: Floats, floor: Floats, ceiling: Floats) -> Figure | None:
    """Own, floor and ceiling of the same drawn pictures, so that the interval knows how they move together."""
    width = own.shape[1]

    def placed(mean: Floats) -> float:
        one, low, high = (score.figure(mean[k * width : (k + 1) * width]) for k in range(3))
        value = normalise(one, low, high, score.better)
        return float("nan") if value is None else value

    told = figure_from(np.concatenate([own, floor, ceiling], axis=1), placed)
    return None if told.value is None else told


def _number(value: float) -> float | None:
    return round(value, DIGITS) if np.isfinite(value) else None
