"""How well two segmentations agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def agreement(found: NDArray[np.uint8], true: NDArray[np.uint8]) -> float:
    """Share of pixels with the same class, 0 to 1."""
    return float((found == true).mean())


def mean_iou(found: NDArray[np.uint8], true: NDArray[np.uint8], classes: int) -> float:
    """Mean over the classes present in ``true`` of intersection ÷ union, 0 to 1; for a set, stack the maps first."""
    pairs = np.bincount(true.ravel().astype(np.int64) * classes + found.ravel(), minlength=classes**2)
    table = pairs.reshape(classes, classes)
    both = np.diag(table)
    union = table.sum(0) + table.sum(1) - both
    present = table.sum(1) > 0
    return float((both[present] / union[present]).mean())
