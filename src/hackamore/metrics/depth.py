"""How well two depth maps agree."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def depth_rmse(found: NDArray[Any], true: NDArray[Any]) -> float:
    """Root of the mean squared difference of two maps H×W, in their own unit: 0 to 255 for depth hints.

    ControlNet++ takes it for each picture on 0–255 maps, then the mean over pictures.
    """
    return float(np.sqrt(np.mean((found.astype(np.float64) - true.astype(np.float64)) ** 2)))


def aligned_rmse(found: NDArray[Any], true: NDArray[Any]) -> float:
    """RMSE after the scale and shift of ``found`` that fit ``true`` best (Ranftl et al. 2020, eq. 5).

    For relative depth, which is known only up to those two numbers.
    """
    x, y = found.ravel().astype(np.float64), true.ravel().astype(np.float64)
    spread = np.mean((x - x.mean()) ** 2)
    scale = np.mean((x - x.mean()) * (y - y.mean())) / spread if spread > 0 else 0.0
    return float(np.sqrt(np.mean((scale * (x - x.mean()) - (y - y.mean())) ** 2)))
