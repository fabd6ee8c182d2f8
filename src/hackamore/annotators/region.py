"""Turned squares in a picture: what a network for one person, hand or face looks at."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hackamore.core.image import Picture

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Region:
    """A square of ``size`` pixels about ``centre`` (x, y), turned clockwise by ``angle`` radians."""

    centre: tuple[float, float]
    size: float
    angle: float = 0.0

    @staticmethod
    def between(origin: Floats, top: Floats, scale: float) -> Region:
        """The square about ``origin`` whose upward direction leads to ``top``, twice that far times ``scale`` wide."""
        x, y = (float(step) for step in top - origin)
        return Region((float(origin[0]), float(origin[1])), 2 * scale * float(np.hypot(x, y)), float(np.arctan2(x, -y)))

    @staticmethod
    def about(points: Floats, up: Floats, scale: float, rise: float = 0.0) -> Region:
        """The square about ``points`` whose upward direction is ``up``: their longer side times ``scale``.

        ``rise`` moves it upwards by that share of the points' height.
        """
        angle = float(np.arctan2(up[0], -up[1]))
        turn = _turn(angle)
        flat = points @ turn  # into the square's own axes
        low, high = flat.min(axis=0), flat.max(axis=0)
        middle = (low + high) / 2 - np.array([0, rise * (high[1] - low[1])])
        x, y = (float(value) for value in turn @ middle)
        return Region((x, y), scale * float((high - low).max()), angle)

    def cut(self, picture: Picture, side: int, beyond: int = cv2.BORDER_REPLICATE) -> Floats:
        """The square brought upright to ``side`` pixels, float32 in [0, 1]; its last pixels go on past its border."""
        shrink = min(1.0, 2 * side / max(self.size, 1e-6))
        if shrink < 1:  # averaged first: sampling alone would skip pixels
            height, width = picture.shape[:2]
            smaller = max(1, round(width * shrink)), max(1, round(height * shrink))
            picture = np.asarray(cv2.resize(picture, smaller, interpolation=cv2.INTER_AREA), np.uint8)
            scale = np.array([smaller[0] / width, smaller[1] / height])
        else:
            scale = np.ones(2)
        corners = self.place(np.array([[0, 0], [side, 0], [0, side]], np.float32) + 0.5, side) * scale - 0.5
        whole = np.array([[0, 0], [side, 0], [0, side]], np.float32)
        matrix = cv2.getAffineTransform(corners.astype(np.float32), whole)
        upright = cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=beyond)
        return np.asarray(np.divide(upright, 255, dtype=np.float32))

    def place(self, points: Floats, side: int) -> Floats:
        """Points N×2 of the cut square of ``side`` pixels, in the picture's pixels."""
        turned = (points / side - 0.5) * self.size @ _turn(self.angle).T + np.array(self.centre)
        return np.asarray(turned, np.float32)


def _turn(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
