"""How far apart colours look: differences in CIE L*a*b* (D65)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Lab = NDArray[np.float64]
"""…×3: L* 0 to 100, a* and b*."""

TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
"""Linear sRGB → CIE XYZ under D65 (IEC 61966-2-1)."""


def to_lab(picture: NDArray[np.uint8] | NDArray[np.float32]) -> Lab:
    """sRGB …×3, uint8 or float in [0, 1] → L*a*b* under D65 (IEC 61966-2-1, CIE 15).

    OpenCV's conversion is tabulated and up to 0.4 off.
    """
    rgb = picture / 255.0 if picture.dtype == np.uint8 else picture.astype(np.float64)
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ TO_XYZ.T / TO_XYZ.sum(1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def delta_e_76(a: Lab, b: Lab) -> NDArray[np.float64]:
    """ΔE*ab (CIE 1976): the Euclidean distance; about 2.3 can just be seen."""
    return np.asarray(np.linalg.norm(a - b, axis=-1))


def delta_e_2000(a: Lab, b: Lab) -> NDArray[np.float64]:
    """ΔE₀₀ (CIEDE2000, Sharma, Wu and Dalal 2005, eq. 2 to 22, with k_L = k_C = k_H = 1); about 1 can just be seen."""
    chroma = (np.hypot(a[..., 1], a[..., 2]) + np.hypot(b[..., 1], b[..., 2])) / 2
    stretch = 1 + 0.5 * (1 - np.sqrt(chroma**7 / (chroma**7 + 25.0**7)))
    (c1, h1), (c2, h2) = (_polar(x[..., 1] * stretch, x[..., 2]) for x in (a, b))
    grey = c1 * c2 == 0
    turn = np.where(grey, 0, (h2 - h1 + 180) % 360 - 180)
    turn = np.where((turn == -180) & (h2 > h1), 180, turn)
    lightness, hue = b[..., 0] - a[..., 0], 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    mean_l, mean_c = (a[..., 0] + b[..., 0]) / 2, (c1 + c2) / 2
    apart = np.abs(h1 - h2) > 180
    mean_h = np.where(grey, h1 + h2, (h1 + h2 + np.where(apart, np.where(h1 + h2 < 360, 360, -360), 0)) / 2)
    t = (
        1
        - 0.17 * _cos(mean_h - 30)
        + 0.24 * _cos(2 * mean_h)
        + 0.32 * _cos(3 * mean_h + 6)
        - 0.20 * _cos(4 * mean_h - 63)
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    rotation = (
        -2 * np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7)) * np.sin(np.radians(60 * np.exp(-(((mean_h - 275) / 25) ** 2))))
    )
    x, y, z = lightness / s_l, (c2 - c1) / s_c, hue / s_h
    return np.asarray(np.sqrt(np.maximum(x**2 + y**2 + z**2 + rotation * y * z, 0)))


def grid_means(picture: NDArray[np.uint8], cells: int = 8) -> NDArray[np.float32]:
    """Mean colours of a grid over the picture, in [0, 1]: ``cells`` along the shorter side, nearly square."""
    height, width = picture.shape[:2]
    cell = min(height, width) / cells
    size = max(1, round(width / cell)), max(1, round(height / cell))
    means: NDArray[np.float32] = cv2.resize(picture.astype(np.float32) / 255, size, interpolation=cv2.INTER_AREA)
    return means


def grid_difference(found: NDArray[np.uint8], true: NDArray[np.uint8], cells: int = 8) -> float:
    """Mean ΔE₀₀ between the colours of two pictures' grids: how far the picture is from the asked colours."""
    return float(delta_e_2000(to_lab(grid_means(found, cells)), to_lab(grid_means(true, cells))).mean())


def _polar(x: Any, y: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Chroma and hue in degrees, 0 to 360; the hue of grey is 0."""
    return np.hypot(x, y), np.where((x == 0) & (y == 0), 0, np.degrees(np.arctan2(y, x)) % 360)


def _cos(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.cos(np.radians(degrees)))
