"""Straight line segments, as of buildings and rooms, found by LSD (von Gioi et al., 2010) instead of a network."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hackamore.annotators.annotator import Annotator
from hackamore.core.image import Picture

GAP, APART, TURN = 0.02, 0.004, np.deg2rad(4)
"""Two segments are one where they lie on a line: the gap between them and the distance aside, as shares of the
diagonal, and the angle between them."""


class Mlsd(Annotator):
    """White straight segments on black; short ones are dropped."""

    kind: ClassVar[str] = "mlsd"
    sized: ClassVar[bool] = True
    lines: ClassVar[bool] = True
    seeks: ClassVar[tuple[str, str] | None] = ("straight segments", "a lower shortest")

    shortest: float = Field(0.04, ge=0, le=1, description="shorter segments are dropped; a share of the diagonal")
    thickness: int = Field(1, ge=1, le=16, description="width of a line in pixels")

    def __call__(self, picture: Picture) -> Picture:
        """The segments, H×W×3, 0 and 255, without smoothing."""
        drawn = np.zeros(picture.shape[:2], np.uint8)
        for x1, y1, x2, y2 in np.round(self.segments(picture)).astype(int).tolist():
            cv2.line(drawn, (x1, y1), (x2, y2), 255, self.thickness, cv2.LINE_8)
        return np.repeat(drawn[..., None], 3, axis=2)

    def segments(self, picture: Picture) -> NDArray[np.float64]:
        """The segments it draws, N×4: x1, y1, x2, y2 in pixels, the longest first."""
        diagonal = float(np.hypot(*picture.shape[:2]))
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        found = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD).detect(grey)[0]
        pieces = np.zeros((0, 4)) if found is None else found.reshape(-1, 4).astype(np.float64)
        joined = join_segments(pieces[_lengths(pieces) >= 0.25 * self.shortest * diagonal], diagonal)
        return joined[_lengths(joined) >= max(self.shortest * diagonal, 1e-6)]


def join_segments(pieces: NDArray[np.float64], diagonal: float) -> NDArray[np.float64]:
    """Segments N×4 with those that continue one another joined, the longest first.

    Beginning with the longest, a segment takes in every other that lies along it and near its ends, until none does.
    """
    left = pieces[np.argsort(-_lengths(pieces), kind="stable")]
    done = []
    while len(left):
        segment, left = left[0], left[1:]
        while True:
            fits = _continues(segment, left, diagonal)
            if not fits.any():
                break
            ends = np.concatenate([segment.reshape(2, 2), left[fits].reshape(-1, 2)])
            along = (segment[2:] - segment[:2]) / max(_lengths(segment[None])[0], 1e-9)
            place = ends @ along
            segment = np.concatenate([ends[place.argmin()], ends[place.argmax()]])
            left = left[~fits]
        done.append(segment)
    joined = np.array(done).reshape(-1, 4)
    return joined[np.argsort(-_lengths(joined), kind="stable")]


def _continues(segment: NDArray[np.float64], others: NDArray[np.float64], diagonal: float) -> NDArray[np.bool_]:
    """Which of the others N×4 lie on the line of a segment and close to it."""
    length = max(float(_lengths(segment[None])[0]), 1e-9)
    along = (segment[2:] - segment[:2]) / length
    across = np.array([-along[1], along[0]])
    ends = others.reshape(-1, 2, 2) - segment[:2]
    place, aside = ends @ along, ends @ across
    gap = np.maximum(place.min(axis=1) - length, -place.max(axis=1))
    sine = np.abs(aside[:, 1] - aside[:, 0]) / np.maximum(_lengths(others), 1e-9)
    near = (np.abs(aside).max(axis=1) <= APART * diagonal) & (gap <= GAP * diagonal)
    fits: NDArray[np.bool_] = near & (sine <= np.sin(TURN))
    return fits


def _lengths(segments: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hypot(segments[:, 2] - segments[:, 0], segments[:, 3] - segments[:, 1])
