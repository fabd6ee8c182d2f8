"""Soft edges, line art and scribbles with a gradient: what the annotators of these kinds compute, in tensors.

Everything is float32. Pictures are N×3×H×W in [0, 1], maps N×H×W in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hackamore.annotators.softedge import FLOOR, LEAST_STRENGTH
from hackamore.metrics.colour import TO_XYZ
from hackamore.training.edges import blurred, sobel

TINY = 1e-6
"""Keeps the slopes of roots finite where nothing is."""


def lab(pictures: Tensor) -> Tensor:
    """L*a*b* N×3×H×W of sRGB pictures, D65 (IEC 61966-2-1, CIE 15)."""
    x = pictures.float().clamp(0, 1)
    linear = torch.where(x > 0.04045, ((x.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, x / 12.92)
    matrix = torch.from_numpy(TO_XYZ / TO_XYZ.sum(1, keepdims=True)).to(x)
    xyz = torch.einsum("kc,nchw->nkhw", matrix, linear)
    dark = (6 / 29) ** 3
    f = torch.where(xyz > dark, xyz.clamp(min=dark) ** (1 / 3), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return torch.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], dim=1)


def soft_edges(pictures: Tensor, scales: int = 3, texture: float = 0.8) -> Tensor:
    """Edge strength N×H×W, as :func:`hackamore.annotators.softedge.edge_strength` has it, which names its sources."""
    seen = lab(pictures)
    unit = max(min(pictures.shape[-2:]) / 512, 0.25)
    logs, tensor = torch.zeros_like(seen[:, 0]), torch.zeros_like(seen)
    for scale in range(scales):
        contrast, direction = _contrast(seen, unit * 2.0**scale)
        logs = logs + torch.log(contrast + 1e-3)
        tensor = tensor + direction.detach()
    strength = torch.exp(logs / scales)
    window = round(15 * unit)
    strength = (strength - texture * _boxed(_boxed(strength, window), window)).clamp(min=0)
    strength = _ridges(strength, tensor, 1.5 * unit)
    top = torch.quantile(strength.detach().flatten(1), 0.985, dim=1).clamp(min=LEAST_STRENGTH)[:, None, None]
    share = ((strength / top - FLOOR) / (1 - FLOOR)).clamp(0, 1)
    return (share + TINY) ** 0.8


def line_art(pictures: Tensor, sigma: float = 6.0, threshold: float = 8.0) -> Tensor:
    """Line strength N×H×W, as :class:`hackamore.annotators.lineart.LineArt` has it."""
    unit = max(min(pictures.shape[-2:]) / 512, 0.2)
    seen = pictures.float() * 255
    depth = (blurred(seen, sigma * unit) - seen).amin(dim=1)
    half = torch.stack([_half(row[row > threshold]) for row in depth.detach()])[:, None, None]
    return ((depth - threshold / 2) / half * (127 / 255)).clamp(0, 1)


def scribbles(pictures: Tensor, share: Tensor) -> Tensor:
    """Thick strokes along the main contours, about the share ``share`` (N) of every picture, N×H×W.

    The annotator thins its contours and draws them anew, which has no gradient; here the strength itself is cut softly.
    """
    strength = blurred(soft_edges(pictures)[:, None], max(min(pictures.shape[-2:]) / 256, 0.5))[:, 0]
    flat = strength.detach().flatten(1)
    places = ((1 - share) * (flat.shape[1] - 1)).long().clamp(0, flat.shape[1] - 1)
    sure = flat.sort(dim=1).values.gather(1, places[:, None])[:, :, None].clamp(min=0.05)
    return torch.sigmoid((strength / sure - 1) / 0.15)


def _half(strong: Tensor) -> Tensor:
    """The difference that becomes half white: the median, 16 of 255 at least."""
    if not strong.numel():
        return strong.new_tensor(16.0)
    ordered = strong.sort().values
    count = len(ordered)
    return ((ordered[(count - 1) // 2] + ordered[count // 2]) / 2).clamp(min=16.0)


def _contrast(seen: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Contrast N×H×W at a scale, and the structure tensor N×3×H×W (xx, xy, yy) it comes from."""
    across, down = (gradient * sigma / 4 for gradient in sobel(blurred(seen, sigma)))
    xx, xy, yy = ((a * b).sum(1) for a, b in ((across, across), (across, down), (down, down)))
    largest = (xx + yy) / 2 + torch.sqrt(((xx - yy) / 2).square() + xy.square() + TINY**2)
    return torch.sqrt(largest + TINY), torch.stack([xx, xy, yy], dim=1)


def _boxed(maps: Tensor, reach: int) -> Tensor:
    """Means over squares of 2·reach + 1 pixels, borders mirrored where they are wide enough, else repeated."""
    mode = "reflect" if reach < min(maps.shape[-2:]) else "replicate"
    return F.avg_pool2d(F.pad(maps[:, None], (reach,) * 4, mode=mode), 2 * reach + 1, stride=1)[:, 0]


def _ridges(strength: Tensor, tensor: Tensor, reach: float) -> Tensor:
    """Strength that keeps its crests and falls off softly beside them, ``reach`` pixels wide."""
    xx, xy, yy = tensor.unbind(1)
    angle = torch.atan2(2 * xy, xx - yy) / 2
    height, width = strength.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=strength.device), torch.arange(width, device=strength.device), indexing="ij"
    )
    aside = []
    for step in (-reach, reach):
        columns, rows = x + step * torch.cos(angle), y + step * torch.sin(angle)
        grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
        aside.append(F.grid_sample(strength[:, None], grid, padding_mode="reflection", align_corners=False)[:, 0])
    crest = strength / torch.maximum(torch.maximum(*aside), strength.clamp(min=TINY))
    return blurred((strength * crest**4)[:, None], reach / 1.5)[:, 0]
