"""How well two normal maps agree."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.floating[Any]]
"""H×W×3, x to the right, y up, z towards the viewer; the zero vector where there is no surface."""


def angles(found: Vectors, true: Vectors) -> NDArray[np.float64]:
    """Angle in degrees, 0 to 180, at every pixel where ``true`` has a surface, as one list.

    Vectors need not be of unit length. Where ``found`` has no surface and ``true`` has one the angle is 90.
    """
    a, b = found.astype(np.float64), true.astype(np.float64)
    surface = np.abs(b).sum(-1) > 0
    a, b = a[surface], b[surface]
    across = np.linalg.norm(np.cross(a, b), axis=-1)
    along = (a * b).sum(-1)
    return np.where(np.abs(a).sum(-1) > 0, np.degrees(np.arctan2(across, along)), 90.0)


def mean_angle(found: Vectors, true: Vectors) -> float:
    """Mean angle in degrees over the surfaces of ``true``; NaN where it has none."""
    apart = angles(found, true)
    return float(apart.mean()) if apart.size else float("nan")


def median_angle(found: Vectors, true: Vectors) -> float:
    """Median angle in degrees over the surfaces of ``true``; NaN where it has none."""
    apart = angles(found, true)
    return float(np.median(apart)) if apart.size else float("nan")
