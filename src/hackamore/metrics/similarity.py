"""Structural similarity of two grey or colour maps."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hackamore.core.errors import HackamoreError

Floats = NDArray[np.float64]

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the five scales, finest first (Wang et al. 2003, table 1)."""


def ssim(found: NDArray[Any], true: NDArray[Any], data_range: float = 255.0) -> float:
    """SSIM (Wang et al. 2004, eq. 13): the mean of its map, −1 to 1, 1 for equal maps.

    H×W or H×W×C of any type, at least 11 pixels a side; ``data_range`` is the distance from black to white. Gaussian
    window of 11×11 with σ = 1.5, K1 = 0.01, K2 = 0.03, only windows that lie wholly inside, channels averaged.
    """
    return float(_maps(*_checked(found, true), data_range)[0].mean())


def ms_ssim(
    found: NDArray[Any], true: NDArray[Any], data_range: float = 255.0, weights: tuple[float, ...] = WEIGHTS
) -> float:
    """Multi-scale SSIM (Wang, Simoncelli and Bovik 2003, eq. 7), 0 to 1.

    Contrast and structure at five scales, each half the one before (means of 2×2 pixels), luminance at the last, with
    the published ``weights`` as exponents. A scale whose contrast term is negative counts 0. A map that is too small
    for five scales (a shorter side below 176) has as many as leave 11 pixels, with the weights of those divided by
    their sum; at 128×128 that is four.
    """
    a, b = _checked(found, true)
    scales = min(len(weights), int(np.log2(min(a.shape[:2]) / WINDOW)) + 1)
    kept = weights if scales == len(weights) else tuple(w / sum(weights[:scales]) for w in weights[:scales])
    product = 1.0
    for scale, weight in enumerate(kept):
        whole, contrast = _maps(a, b, data_range)
        term = float((whole if scale == scales - 1 else contrast).mean())
        product *= max(term, 0.0) ** weight
        a, b = _halved(a), _halved(b)
    return product


def _maps(a: Floats, b: Floats, data_range: float) -> tuple[Floats, Floats]:
    """The SSIM map, and its contrast and structure part alone."""
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_a, mean_b = _blurred(a), _blurred(b)
    variance_a, variance_b = _blurred(a * a) - mean_a**2, _blurred(b * b) - mean_b**2
    covariance = _blurred(a * b) - mean_a * mean_b
    contrast = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1) * contrast, contrast


def _blurred(x: Floats) -> Floats:
    rim = WINDOW // 2
    blurred: Floats = cv2.GaussianBlur(x, (WINDOW, WINDOW), SIGMA)[rim:-rim, rim:-rim]
    return blurred


def _halved(x: Floats) -> Floats:
    height, width = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    return (x[:height:2, :width:2] + x[1:height:2, :width:2] + x[:height:2, 1:width:2] + x[1:height:2, 1:width:2]) / 4


def _checked(found: NDArray[Any], true: NDArray[Any]) -> tuple[Floats, Floats]:
    if found.shape != true.shape:
        raise HackamoreError("the maps differ in size", received=found.shape, expected=true.shape)
    if min(true.shape[:2]) < WINDOW:
        raise HackamoreError(
            "the maps are too small for structural similarity",
            received=f"{true.shape[1]}×{true.shape[0]}",
            expected=f"at least {WINDOW} pixels a side",
        )
    return found.astype(np.float64), true.astype(np.float64)
