"""Canny's edges with a gradient: the same steps as OpenCV's, every hard decision made soft or left to OpenCV.

Everything is float32. Pictures are N×3×H×W in [0, 1], maps N×H×W in [0, 1].
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hackamore.annotators.canny import automatic_threshold
from hackamore.core.image import from_hint

LOW = 0.4
"""The weak threshold, times the strong one."""
SOFT, CREST = 0.3, 8.0
"""Width of a soft threshold, times the threshold; and how sharply a pixel must exceed its neighbours across the edge.

Softness teaches: sharper ones (0.08 and 100) agree no better with OpenCV's edges, and a descent gets half as far.
"""


def canny(pictures: Tensor, density: Tensor) -> Tensor:
    """Edges of which every picture has about the share ``density`` (N) of its pixels, N×H×W.

    As ``cv2.Canny``: Sobel gradients of the strongest channel, |dx| + |dy|, thinned across the edge, kept above a
    strong threshold or where they continue such an edge above a weak one. Which threshold gives that density, and what
    continues what, OpenCV decides, as in the annotator; neither has a gradient.
    """
    strength, crest = crests(pictures)
    high, reached = _decided(pictures, density)
    strong = torch.sigmoid((strength / high - 1) / SOFT)
    weak = torch.sigmoid((strength / (LOW * high) - 1) / SOFT)
    return crest * torch.maximum(strong, weak * reached)


@torch.no_grad()
def _decided(pictures: Tensor, density: Tensor) -> tuple[Tensor, Tensor]:
    """The strong thresholds N×1×1, and where edges are or are next, as 0 and 1, N×H×W."""
    thresholds, near = [], []
    for picture, share in zip(from_hint(pictures), density.tolist(), strict=True):
        threshold = automatic_threshold(picture, share)
        edges = cv2.Canny(picture, max(1, round(LOW * threshold)), threshold)
        thresholds.append(float(threshold))
        near.append(cv2.dilate(edges, np.ones((3, 3), np.uint8)) > 0)
    high = torch.tensor(thresholds, device=pictures.device)[:, None, None]
    return high, torch.from_numpy(np.stack(near)).to(pictures.device, torch.float32)


def crests(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient magnitude N×H×W (of 255), and how much of a crest every pixel is across the edge, N×H×W in [0, 1]."""
    across, down = sobel(pictures.float() * 255)
    every = across.abs() + down.abs()
    strength, channel = every.max(dim=1)
    with torch.no_grad():
        dx, dy = (gradient.gather(1, channel[:, None])[:, 0] for gradient in (across, down))
        flat, steep = dy.abs() < math.tan(math.pi / 8) * dx.abs(), dx.abs() < math.tan(math.pi / 8) * dy.abs()
        falling = dx * dy > 0
    padded = F.pad(strength[:, None], (1, 1, 1, 1))[:, 0]

    def beside(row: int, column: int) -> Tensor:
        height, width = strength.shape[-2:]
        return padded[:, 1 + row : 1 + row + height, 1 + column : 1 + column + width]

    def chosen(side: int) -> Tensor:
        slant = torch.where(falling, beside(side, side), beside(side, -side))
        return torch.where(flat, beside(0, side), torch.where(steep, beside(side, 0), slant))

    unit = strength.clamp(min=1)
    first, second = (strength - chosen(-1)) / unit, (strength - chosen(1)) / unit
    # Of two equal neighbours one is kept: the first comparison is strict, the second is not.
    return strength, torch.sigmoid(CREST * (first - 0.01)) * torch.sigmoid(CREST * (second + 0.01))


def sobel(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel's derivatives across and down of maps N×C×H×W, borders repeated."""
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    along = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    beside = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    return beside[..., 2:] - beside[..., :-2], along[..., 2:, :] - along[..., :-2, :]


def blurred(maps: Tensor, sigma: float) -> Tensor:
    """Maps N×C×H×W after a Gaussian of ``sigma`` pixels, borders mirrored (as OpenCV's BORDER_REFLECT)."""
    reach = max(1, round(4 * sigma))
    steps = torch.arange(-reach, reach + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-steps.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    channels = maps.shape[1]
    rows = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    mirrored = maps[..., _folded(maps.shape[-2], reach, maps.device), :]
    mirrored = F.conv2d(mirrored, rows, groups=channels)
    mirrored = mirrored[..., _folded(maps.shape[-1], reach, maps.device)]
    return F.conv2d(mirrored, rows.transpose(2, 3), groups=channels)


def _folded(count: int, reach: int, device: torch.device) -> Tensor:
    """Places −reach … count+reach−1 of a row, folded back into it at its borders."""
    places = torch.arange(-reach, count + reach, device=device) % (2 * count)
    return torch.where(places < count, places, 2 * count - 1 - places)


def apart(found: Tensor, wanted: Tensor, sigma: float = 1.0) -> Tensor:
    """How little two maps N×H×W overlap, N in [0, 1]: one minus their soft Dice coefficient, both blurred by ``sigma``.

    2·Σab / (Σa² + Σb²) (Milletari et al. 2016); the blur forgives what a pixel's shift changes.
    """
    a, b = (blurred(part[:, None], sigma)[:, 0] for part in (found, wanted))
    return 1 - 2 * (a * b).sum((1, 2)) / (a.square() + b.square()).sum((1, 2)).clamp(min=1e-6)
