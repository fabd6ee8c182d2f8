"""Control fidelity: how well a hint agrees with the hint read back from the finished picture.

docs/evaluation.md defines every figure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hackamore.annotators.catalog import make_annotator
from hackamore.annotators.inspector import load_inspector
from hackamore.annotators.pose import PeopleAnnotator
from hackamore.core import palette
from hackamore.core.errors import HackamoreError, unknown_name
from hackamore.core.image import Picture
from hackamore.core.skeleton import People
from hackamore.evaluation.score import Floats, Reading, Score, one
from hackamore.metrics.colour import grid_difference
from hackamore.metrics.depth import aligned_rmse, depth_rmse
from hackamore.metrics.edges import edge_f1
from hackamore.metrics.normals import mean_angle, median_angle
from hackamore.metrics.pose import SHARE, match, oks, pck_counts
from hackamore.metrics.regions import agreement, confusion, table_miou
from hackamore.metrics.similarity import ms_ssim

WHITE = 127
"""Above it a pixel of a line drawing is a line."""


@dataclass(frozen=True)
class Fidelity:
    """A control-fidelity figure with what it has to be read against.

    ``figure``: outputs and their own hints. ``floor``: the same outputs against shuffled hints, where there are more
    than one. ``ceiling``: the true pictures through the autoencoder, where there are true pictures.
    """

    metric: str
    figure: float
    floor: float | None = None
    ceiling: float | None = None
    better: Literal["higher", "lower"] = "higher"

    @property
    def normalised(self) -> float | None:
        """(figure − floor) ÷ (ceiling − floor): 0 ignores the hint, 1 is as good as the real picture.

        None where floor or ceiling is unknown, or the ceiling is no better than the floor.
        """
        if self.floor is None or self.ceiling is None:
            return None
        return normalise(self.figure, self.floor, self.ceiling, self.better)


def normalise(figure: float, floor: float, ceiling: float, better: str) -> float | None:
    """(figure − floor) ÷ (ceiling − floor), whichever direction is better; None for a ceiling that is none."""
    span = ceiling - floor
    if not (span > 0 if better == "higher" else span < 0):
        return None
    return (figure - floor) / span


def measure(
    score: Score,
    outputs: Sequence[Picture],
    hints: Sequence[Reading],
    reconstructions: Sequence[Picture] | None = None,
) -> Fidelity:
    """The figure of ``outputs`` with floor and, given the true pictures through the autoencoder, ceiling."""

    def total(readings: Sequence[Reading]) -> float:
        return score.figure(score.tally(readings, hints).mean(0))

    readings = [score.read(picture) for picture in outputs]
    shuffled = score.shuffled(readings, hints)
    floor = None if shuffled is None else score.figure(shuffled.mean(0))
    ceiling = None if reconstructions is None else total([score.read(picture) for picture in reconstructions])
    return Fidelity(score.name, total(readings), floor, ceiling, score.better)


def scores(kind: str, **parameters: Any) -> tuple[Score, ...]:
    """The figures of a kind of hint; the first is the one that is quoted.

    ``parameters`` are those of the kind's annotator, with which the picture is read back. Without any, segmentation,
    depth, normals and people are read by Meadow's inspector. Raises :class:`HackamoreError` for a kind that has no
    figure, and for wrong parameters.
    """
    if kind not in KINDS:
        raise unknown_name("kind of control-fidelity figure", kind, list(KINDS))
    return KINDS[kind](kind, parameters)


def _edges(kind: str, parameters: dict[str, Any]) -> tuple[Score, ...]:
    """Edges that Canny finds in the picture, against the hint's."""
    read = make_annotator(kind, **parameters)
    return tuple(Score(f"{kind} F1 ({pixels} px)", read, _f1(pixels)) for pixels in (2, 0))


def _lines(kind: str, parameters: dict[str, Any]) -> tuple[Score, ...]:
    """Soft or thick lines: structural similarity of the drawings."""
    read = make_annotator(kind, **parameters)

    def similar(found: Picture, hint: Picture) -> Floats:
        return one(ms_ssim(found[..., 0], hint[..., 0]))

    return (Score(f"{kind} MS-SSIM", read, similar),)


def _thin_lines(kind: str, parameters: dict[str, Any]) -> tuple[Score, ...]:
    (similar,) = _lines(kind, parameters)
    return similar, Score(f"{kind} F1 (2 px)", similar.read, _f1(2))


def _colours(kind: str, parameters: dict[str, Any]) -> tuple[Score, ...]:
    """Colours: CIEDE2000 between the means of a grid of eight cells along the shorter side."""
    read = make_annotator(kind, **parameters)

    def apart(found: Picture, hint: Picture) -> Floats:
        return one(grid_difference(found, hint))

    return (Score(f"{kind} ΔE00", read, apart, better="lower"),)


def _segmentation(kind: str, parameters: dict[str, Any]) -> tuple[Score, ...]:
    if parameters:
        raise HackamoreError(f"{kind} is read back by Meadow's inspector, which has no parameters", received=parameters)
    inspector, count = load_inspector(), len(palette.CLASSES)

    def read(picture: Picture) -> Picture:
        return palette.paint(inspector.read(picture))

    def classes(hint: Picture) -> Any:
        return palette.WORLDS.read(hint, nearest=True)  # a hint that was kept as JPEG is still one

    def same(found: Picture, hint: Picture) -> Floats:
        return one(agreement(palette.read(found), classes(hint)))

    def table(found: Picture, hint: Picture) -> Floats:
        return confusion(palette.read(found), classes(hint), count).ravel().astype(np.float64)

    def miou(mean: Floats) -> float:
        return table_miou(mean.reshape(count, count))

    return Score("seg agreement", read, same), Score("seg mIoU", read, table, miou)


def _depth(kind: str, parameters: dict[str, Any]) -> tuple[Score, ...]:
    """Relative inverse depth on 0–255, near is white."""
    read = make_annotator(kind, **parameters)

    def plain(found: Picture, hint: Picture) -> Floats:
        return one(depth_rmse(found[..., 0], hint[..., 0]))

    def aligned(found: Picture, hint: Picture) -> Floats:
        return one(aligned_rmse(found[..., 0], hint[..., 0]))

    return (
        Score("depth RMSE", read, plain, better="lower"),
        Score("depth RMSE, scale and shift fitted", read, aligned, better="lower"),
    )


def _normals(kind: str, parameters: dict[str, Any]) -> tuple[Score, ...]:
    read = make_annotator(kind, **parameters)

    def mean(found: Picture, hint: Picture) -> Floats:
        return one(mean_angle(normal_vectors(found), normal_vectors(hint)))

    def median(found: Picture, hint: Picture) -> Floats:
        return one(median_angle(normal_vectors(found), normal_vectors(hint)))

    return (
        Score("normal angle, mean", read, mean, better="lower", unit="°"),
        Score("normal angle, median", read, median, better="lower", unit="°"),
    )


def _pose(kind: str, parameters: dict[str, Any]) -> tuple[Score, ...]:
    """People found in the picture against those of the hint, which is :class:`People`, not their drawing."""
    finder = make_annotator(kind, **(parameters or {"engine": "meadow"}))
    assert isinstance(finder, PeopleAnnotator)
    read = finder.find

    def placed(found: Reading, hint: Reading) -> Floats:
        return np.array(pck_counts(_people(found).people, _people(hint).people), np.float64)

    def similar(found: Reading, hint: Reading) -> Floats:
        true, there = _people(hint).people, _people(found).people
        known = [
            0.0 if place is None else oks(there[place], person)
            for person, place in zip(true, match(there, true), strict=True)
            if person.visible.any()
        ]
        return np.array([sum(known), len(known)], np.float64)

    return Score(f"pose PCK ({SHARE:g} box)", read, placed), Score("pose OKS", read, similar)


def _f1(pixels: int) -> Callable[[Picture, Picture], Floats]:
    def statistics(found: Picture, hint: Picture) -> Floats:
        return one(edge_f1(found[..., 0] > WHITE, hint[..., 0] > WHITE, pixels))

    return statistics


def _people(told: Reading) -> People:
    if isinstance(told, People):
        return told
    raise HackamoreError("the figure of pose needs key points", received="a drawing", expected="OpenPose key points")


def normal_vectors(picture: Picture) -> Floats:
    """A normal hint as unit vectors H×W×3, zero where it is black, to the 0.4° that eight bits give."""
    there = picture.any(axis=-1, keepdims=True)
    return np.asarray(np.where(there, (picture + 0.5) / 127.5 - 1, 0))


KINDS: dict[str, Callable[[str, dict[str, Any]], tuple[Score, ...]]] = {
    "canny": _edges,
    "softedge": _lines,
    "scribble": _lines,
    "lineart": _thin_lines,
    "mlsd": _thin_lines,
    "depth": _depth,
    "normal": _normals,
    "seg": _segmentation,
    "pose": _pose,
    "color": _colours,
    "tile": _colours,
    "blur": _colours,
    "recolor": _colours,
}
"""Kinds of hints that have a figure."""
