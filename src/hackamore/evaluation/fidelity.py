"""Control fidelity: how well a hint agrees with the hint read back from the finished picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hackamore.annotators.canny import Canny
from hackamore.core import palette
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture
from hackamore.metrics.edges import edge_f1
from hackamore.metrics.regions import agreement, mean_iou

Score = Callable[[Picture, Picture], float]
"""(finished picture, hint), both H×W×3 uint8 → the figure of the hint's kind, higher is better."""


@dataclass(frozen=True)
class Fidelity:
    """A control-fidelity figure with what it has to be read against.

    ``figure``: mean over outputs and their own hints. ``floor``: the same outputs against shuffled hints.
    ``ceiling``: the true pictures through the autoencoder, where there are true pictures.
    """

    metric: str
    figure: float
    floor: float
    ceiling: float | None = None

    @property
    def normalised(self) -> float | None:
        """(figure − floor) ÷ (ceiling − floor): 0 ignores the hint, 1 is as good as the real picture."""
        if self.ceiling is None or self.ceiling <= self.floor:
            return None
        return (self.figure - self.floor) / (self.ceiling - self.floor)


def canny_score(tolerance: int = 2, annotator: Canny | None = None) -> Score:
    """F1 of Canny edges of the picture against the hint's, within ``tolerance`` pixels."""
    edges = annotator or Canny()

    def score(picture: Picture, hint: Picture) -> float:
        return edge_f1(edges(picture)[..., 0] > 127, hint[..., 0] > 127, tolerance)

    return score


def seg_score(metric: str = "agreement") -> Score:
    """Agreement (share of pixels) or mean IoU of the inspector's reading of the picture with the hint."""
    from hackamore.evaluation.inspector import load_inspector

    inspector = load_inspector()

    def score(picture: Picture, hint: Picture) -> float:
        found, true = inspector.read(picture), palette.read(hint)
        return agreement(found, true) if metric == "agreement" else mean_iou(found, true, len(palette.CLASSES))

    return score


def scores(kind: str) -> dict[str, Score]:
    """The figures of a kind of hint, by name; the first is the one that is quoted."""
    if kind == "canny":
        return {"canny F1 (2 px)": canny_score(2), "canny F1 (0 px)": canny_score(0)}
    if kind == "seg":
        return {"seg agreement": seg_score(), "seg mIoU": seg_score("miou")}
    raise HackamoreError(f"no control-fidelity figure for {kind!r}", expected="canny, seg")


def measure(
    metric: str,
    score: Score,
    outputs: Sequence[Picture],
    hints: Sequence[Picture],
    reconstructions: Sequence[Picture] | None = None,
) -> Fidelity:
    """The figure of ``outputs`` with floor and, given the true pictures through the autoencoder, ceiling.

    Shuffled hints are the hints moved on by one and by half the set, so that no picture meets its own.
    """
    count = len(hints)
    shifts = sorted({1 % count, count // 2 % count} - {0})
    floor = [score(picture, hints[(k + shift) % count]) for k, picture in enumerate(outputs) for shift in shifts]
    ceiling = None if reconstructions is None else _mean(map(score, reconstructions, hints))
    return Fidelity(metric, _mean(map(score, outputs, hints)), _mean(floor), ceiling)


def _mean(values: object) -> float:
    listed = list(values)  # type: ignore[call-overload]
    return float(np.mean(listed)) if listed else 0.0
