"""A small network that reads classes, depth and normals from a picture, and through which a gradient flows back.

It stands in a consistency reward. It is no judge: control fidelity is measured by the inspector, which has another
architecture and other weights, so that a control cannot please its judge by heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hackamore.core.errors import HackamoreError
from hackamore.core.palette import CLASSES
from hackamore.core.weights import open_weights

FILE = "reader.safetensors"
SIDE = 128
"""It reads pictures at about this size, as it was trained: others are scaled to the same area and back."""
STRIDE = 16


@dataclass(frozen=True)
class Read:
    """What is read from N pictures of H×W: ``classes`` N×16×H×W (logits), ``depth`` N×H×W (near is 1), ``normals``
    N×3×H×W (not normalised; x right, y up, z towards the viewer).
    """

    classes: Tensor
    depth: Tensor
    normals: Tensor


class Reader(nn.Module):
    """A feature pyramid (Lin et al. 2017): levels of plain convolutions, added up on the way back.

    The coarsest level is told the mean of the whole picture. About 0.56 M parameters.
    """

    def __init__(self, widths: tuple[int, ...] = (24, 48, 64, 96, 96), lateral: int = 40) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1, stride=2)
        self.levels = nn.ModuleList(
            nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(a, b, 1), _Layer(b, b), _Layer(b, b)) for a, b in pairwise(widths)
        )
        self.first = _Layer(widths[0], widths[0])
        self.whole = nn.Linear(widths[-1], widths[-1])
        self.lateral = nn.ModuleList(nn.Conv2d(width, lateral, 1) for width in widths)
        self.merge = nn.ModuleList(_Layer(lateral, lateral) for _ in widths[1:])
        self.out = nn.Conv2d(lateral, 4 * (len(CLASSES) + 4), 3, padding=1)

    def forward(self, x: Tensor) -> Read:
        """Read pictures N×3×H×W in [0, 1] of any size."""
        size = x.shape[-2:]
        inner = inner_size(*size)
        if inner != tuple(size):
            x = F.interpolate(x, size=inner, mode="bilinear", antialias=True)
        maps = F.pixel_shuffle(self.out(self._features(x)), 2).float()
        if inner != tuple(size):
            maps = F.interpolate(maps, size=size, mode="bilinear")
        count = len(CLASSES)
        return Read(maps[:, :count], maps[:, count], maps[:, count + 1 :])

    def _features(self, x: Tensor) -> Tensor:
        x = self.first(self.stem(x * 2 - 1))
        kept = [x]
        for level in self.levels:
            x = level(x)
            kept.append(x)
        kept[-1] = x + self.whole(x.mean((2, 3)))[:, :, None, None]
        x = self.lateral[-1](kept[-1])
        for lateral, merge, skip in zip(list(self.lateral)[-2::-1], self.merge, kept[-2::-1], strict=True):
            x = merge(lateral(skip) + F.interpolate(x, size=skip.shape[-2:], mode="bilinear"))
        return x


class _Layer(nn.Module):
    """x + GELU(norm(3×3 convolution of x))."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(4, outside)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.gelu(self.norm(self.conv(x)))


def inner_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) that a picture is read at: the area of ``SIDE``², multiples of ``STRIDE``·2."""
    scale, step = SIDE / (height * width) ** 0.5, 2 * STRIDE
    return max(step, round(height * scale / step) * step), max(step, round(width * scale / step) * step)


def load_reader(path: Path | str) -> Reader:
    """The frozen reader in a file, or in a folder that the stage ``reader`` wrote, on the CPU in float32.

    Raises :class:`HackamoreError` for what is no reader.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    weights = open_weights(file).tensors()
    reader = Reader()
    try:
        reader.load_state_dict({name: weight.float() for name, weight in weights.items()})
    except RuntimeError as error:
        raise HackamoreError(
            f"{path} holds no reader",
            received=", ".join(list(weights)[:3]) or "no weights",
            expected="what the training stage reader wrote",
        ) from error
    return reader.eval().requires_grad_(False)


@torch.no_grad()
def agreement(read: Read, classes: Tensor) -> Tensor:
    """Share of pixels N×H×W whose class is read right."""
    return (read.classes.argmax(1) == classes).float().mean()
