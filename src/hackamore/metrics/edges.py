"""How well two edge maps agree."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def edge_f1(found: NDArray[np.bool_], true: NDArray[np.bool_], tolerance: int = 0) -> float:
    """F1 of two edge maps H×W: the harmonic mean of precision and recall, 0 to 1.

    An edge pixel counts as found when the other map has one within ``tolerance`` pixels (square neighbourhood);
    ``tolerance`` 0 is the definition of ControlNet++ (binary F1). Two empty maps agree: 1.
    """
    if not found.any() and not true.any():
        return 1.0
    if not found.any() or not true.any():
        return 0.0
    precision = float((found & _grown(true, tolerance)).sum() / found.sum())
    recall = float((true & _grown(found, tolerance)).sum() / true.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _grown(edges: NDArray[np.bool_], tolerance: int) -> NDArray[np.bool_]:
    if tolerance == 0:
        return edges
    kernel = np.ones((2 * tolerance + 1, 2 * tolerance + 1), np.uint8)
    grown: NDArray[np.bool_] = cv2.dilate(edges.astype(np.uint8), kernel) > 0
    return grown
