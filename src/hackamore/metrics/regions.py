"""How well two segmentations agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.int64]
"""A confusion table K×K: row the true class, column the found one, in pixels. Tables of many pictures are added."""


def agreement(found: NDArray[np.uint8], true: NDArray[np.uint8]) -> float:
    """Share of pixels with the same class, 0 to 1 (pixel accuracy)."""
    return float((found == true).mean())


def confusion(found: NDArray[np.uint8], true: NDArray[np.uint8], classes: int) -> Table:
    """How often each true class was found as each class; the sum over pictures is the table of the set."""
    pairs = np.bincount(true.ravel().astype(np.int64) * classes + found.ravel(), minlength=classes**2)
    return pairs.reshape(classes, classes)


def class_iou(table: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection ÷ union of each class of a confusion table, 0 to 1; NaN for a class that is in no true map."""
    both = np.diag(table).astype(np.float64)
    true = table.sum(1)
    union = table.sum(0) + true - both
    return np.where(true > 0, both / np.maximum(union, np.finfo(np.float64).tiny), np.nan)


def table_miou(table: NDArray[np.int64] | NDArray[np.float64]) -> float:
    """Mean IoU of a set from the sum of its confusion tables, over the classes that are in a true map.

    This is the mIoU of segmentation benchmarks: every class counts the same, however few pictures it is in.
    """
    present = class_iou(table)
    return float(np.nanmean(present)) if np.isfinite(present).any() else float("nan")


def mean_iou(found: NDArray[np.uint8], true: NDArray[np.uint8], classes: int) -> float:
    """Mean over the classes present in ``true`` of intersection ÷ union, 0 to 1; a set is measured on its stack."""
    return table_miou(confusion(found, true, classes))
