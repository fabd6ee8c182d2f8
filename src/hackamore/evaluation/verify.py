"""Control fidelity in use: verify what was made, keep the best of several, search the scale that reaches a figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from hackamore.annotators.recognise import in_palette
from hackamore.bases.base import Base
from hackamore.controls.place import kind_of
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture
from hackamore.core.palette import WORLDS
from hackamore.core.skeleton import People
from hackamore.evaluation.fidelity import KINDS, scores
from hackamore.evaluation.score import Reading, Score
from hackamore.generate import Image, Progress, Result, generate
from hackamore.generate.plan import steps_of
from hackamore.sampling.loop import Prefix

LARGEST_SCALE = 2.0
"""No search goes beyond it."""
CLOSE = 0.025
"""A search is content when the figure reaches its target by no more than this share of it."""
NARROW = 0.004
"""A search ends when the scale is known to this."""
MOST_PROBES = 12
MOST_CANDIDATES = 64
"""No more are made for one picture to choose from."""


class Judge:
    """Who scores the pictures of a generation: for each unit the figures of its kind, none where there are none.

    ``parameters`` are those of the annotators that made the hints, one mapping a unit, so that a picture is read back
    as its hint was made. ``people``: for a pose whom its hint shows, since a drawing alone has no figure.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        parameters: Sequence[Mapping[str, Any]] | None = None,
        people: Sequence[People | None] | None = None,
    ) -> None:
        told, shown = parameters or [{}] * len(units), people or [None] * len(units)
        self.hints: list[Sequence[Reading]] = [
            [who] if who is not None and kind_of(unit) == "pose" else unit.pictures
            for unit, who in zip(units, shown, strict=True)
        ]
        self.scores = [
            _scores(unit, words) if _readable(unit, who) else ()
            for unit, words, who in zip(units, told, shown, strict=True)
        ]
        self.notices = [
            f"{unit.control.name} has no control-fidelity figure (kind {kind_of(unit) or 'unknown'})"
            for unit, known in zip(units, self.scores, strict=True)
            if not known
        ]

    def figures(self, picture: Picture, k: int = 0) -> list[dict[str, float]]:
        """For each unit its figures of picture number ``k``, by name; the first is the one that is quoted.

        A figure that is not defined, as of an empty hint, is left out.
        """
        found = []
        for known, hints in zip(self.scores, self.hints, strict=True):
            hint = hints[k if len(hints) > 1 else 0]
            reading = known[0].read(picture) if known else None
            told = {score.name: score.compare(reading, hint) for score in known} if reading is not None else {}
            found.append({name: figure for name, figure in told.items() if math.isfinite(figure)})
        return found

    def order(self, figures: Sequence[Sequence[Mapping[str, float]]]) -> list[int]:
        """Positions of pictures from best to worst by the quoted figures, ranks summed over the units; then as made."""
        ranks = [0] * len(figures)
        for unit, known in enumerate(self.scores):
            if known:
                mine = [told[unit].get(known[0].name, math.nan) for told in figures]
                for k, one in enumerate(mine):
                    ranks[k] += sum(known[0].beats(other, one) for other in mine)
        return sorted(range(len(figures)), key=ranks.__getitem__)


def verify(result: Result, judge: Judge) -> Result:
    """The same result, each picture's control-fidelity figures in its Recipe."""
    images = [_told(image, judge.figures(image.pixels, k)) for k, image in enumerate(result.images)]
    return replace(result, images=images, notices=[*result.notices, *judge.notices])


def best_of(
    base: Base, prompt: str, count: int, judge: Judge, *, seed: int = 0, num: int = 1, **settings: Any
) -> Result:
    """``num`` pictures, each the best of ``count`` by its control-fidelity figure, verified.

    Candidate j of picture k has the seed ``seed + k · count + j``; the Recipe holds the one that was kept.
    ``settings`` are those of :func:`generate`. Raises :class:`HackamoreError` where nothing has a figure.
    """
    check_choice(judge, count, settings.get("controls", ()))
    kept: list[Result] = []
    for k in range(num):
        made = generate(base, prompt, seed=seed + k * count, num=count, **_share(settings, k, num))
        verified = verify(made, judge)
        figures = [[unit.fidelity or {} for unit in image.recipe.units] for image in verified.images]
        best = judge.order(figures)[0]
        kept.append(replace(verified, images=[verified.images[best]], latents=made.latents[best : best + 1]))
    return joined(kept)


@dataclass(frozen=True)
class Search:
    """What a search for a figure found: the scale, its figure, whether it is reached, every (scale, figure) tried, and
    the cost in generations (steps that were run ÷ steps of one).
    """

    scale: float
    figure: float
    reached: bool
    probes: tuple[tuple[float, float], ...]
    cost: float


def reach(
    base: Base, prompt: str, target: float, judge: Judge, *, controls: Sequence[Unit], **settings: Any
) -> tuple[Result, Search]:
    """One picture with the smallest scale of the first control at which its quoted figure reaches ``target``.

    The figure is the raw one of the control's kind. The scale is bracketed in [0, 2] and narrowed by bisection, with
    regula falsi once both ends are known; steps before the control's window begins are run once and shared. Where no
    scale reaches the target, the best picture comes back with ``reached`` false. ``settings`` are those of
    :func:`generate`, for one picture.
    """
    check_target(judge, controls, target)
    score, first = judge.scores[0][0], controls[0]
    steps, run = steps_of(base, **settings), [0]
    told: Callable[[Progress], None] | None = settings.pop("progress", None)
    prefix = _silent_prefix(first.scaled_to(1.0), steps)
    made: dict[float, tuple[Result, float]] = {}

    def count(progress: Progress) -> None:
        run[0] += 1
        if told is not None:
            told(progress)

    def probe(scale: float) -> float:
        units = [first.scaled_to(scale), *controls[1:]]
        result = verify(generate(base, prompt, controls=units, progress=count, prefix=prefix, **settings), judge)
        figure = (result.images[0].recipe.units[0].fidelity or {}).get(score.name, math.nan)
        made[scale] = result, figure
        return figure

    scale = search(probe, target, score)
    result, figure = made[scale]
    probes = tuple((scale, figure) for scale, (_, figure) in made.items())
    return result, Search(scale, figure, not score.beats(target, figure), probes, run[0] / steps)


def check_target(judge: Judge, controls: Sequence[Unit], target: float) -> None:
    """Raise :class:`HackamoreError` for a target that no search can be begun for."""
    if not controls or not judge.scores[0]:
        raise HackamoreError(
            "the first control has no control-fidelity figure to reach", received="; ".join(judge.notices) or None
        )
    controls[0].scaled_to(1.0)
    score = judge.scores[0][0]
    most = 1.0 if score.better == "higher" else math.inf
    if not (math.isfinite(target) and 0 < target <= most):
        raise HackamoreError(
            "the target fidelity is out of range",
            received=target,
            expected=f"{'0 to 1' if most == 1 else 'a number above 0'} for {score.name}",
        )


def check_choice(judge: Judge, count: int, controls: Sequence[Unit]) -> None:
    """Raise :class:`HackamoreError` for a choice among ``count`` that cannot be made."""
    if not 2 <= count <= MOST_CANDIDATES:
        expected = f"2 to {MOST_CANDIDATES}"
        raise HackamoreError("the number to choose from is out of range", received=count, expected=expected)
    if not any(judge.scores):
        raise HackamoreError(
            "no control of this generation has a control-fidelity figure",
            received="; ".join(judge.notices) or "no control",
            expected="at least one control of a kind that can be read back from a picture",
        )
    most = max(len(rows) for unit in controls for rows in (unit.hint, unit.mask) if rows is not None)
    if most > 1:
        raise HackamoreError("the best of several is chosen for one hint at a time", received=f"{most} hints or masks")


def search(probe: Callable[[float], float], target: float, score: Score) -> float:
    """The smallest scale tried at which ``probe(scale)`` reaches ``target``, or else the one that came nearest."""
    sign = 1.0 if score.better == "higher" else -1.0
    found: dict[float, float] = {}

    def gap(scale: float) -> float:
        figure = probe(scale)
        found[scale] = sign * (figure - target) / abs(target) if math.isfinite(figure) else -math.inf
        return found[scale]

    high = next((scale for scale in (1.0, 1.5, LARGEST_SCALE) if gap(scale) >= 0), None)
    if high is None:
        return max(found, key=found.__getitem__)
    low = max((scale for scale in found if scale < high), default=0.0)
    if low == 0.0 and found[high] > CLOSE and gap(0.0) >= 0:
        return 0.0
    while found[high] > CLOSE and high - low > NARROW and len(found) < MOST_PROBES:
        share = 0.5
        if math.isfinite(found.get(low, math.inf)):
            share = min(0.8, max(0.2, (0.4 * CLOSE - found[low]) / (found[high] - found[low])))
        middle = round(low + share * (high - low), 4)
        if gap(middle) >= 0:
            high = middle
        else:
            low = middle
    return high


def _readable(unit: Unit, people: People | None) -> bool:
    """Whether the hint can be compared at all: of a pose the people must be known, a segmentation be the worlds'."""
    if kind_of(unit) == "pose":
        return people is not None
    return kind_of(unit) != "seg" or all(in_palette(hint, WORLDS) > 0.5 for hint in unit.pictures)


def _silent_prefix(unit: Unit, steps: int) -> Prefix | None:
    """The steps before ``unit`` first acts, where there are any."""
    silent = next((index for index in range(steps) if unit.strength_at(index, steps) != 0), 0)
    return Prefix(silent) if silent else None


def _scores(unit: Unit, parameters: Mapping[str, Any]) -> tuple[Score, ...]:
    kind = kind_of(unit)
    if kind not in KINDS:
        return ()
    return scores(kind, **({} if kind in ("seg", "pose") else parameters))


def _told(image: Image, figures: list[dict[str, float]]) -> Image:
    units = tuple(
        unit.model_copy(update={"fidelity": {name: round(value, 4) for name, value in told.items()} or None})
        for unit, told in zip(image.recipe.units, figures, strict=True)
    )
    return Image(image.pixels, image.recipe.model_copy(update={"units": units}))


def _share(settings: dict[str, Any], k: int, num: int) -> dict[str, Any]:
    """Settings of the k-th of ``num`` generations: its progress is that share of the whole."""
    told = settings.get("progress")
    if told is None:
        return settings
    return settings | {"progress": lambda p: told(replace(p, first=p.first + k * p.total, total=p.total * num))}


def joined(results: Sequence[Result]) -> Result:
    """The pictures of several results as one."""
    return Result(
        [image for result in results for image in result.images],
        torch.cat([result.latents for result in results]),
        results[0].hints,
        list(dict.fromkeys(notice for result in results for notice in result.notices)),
    )
