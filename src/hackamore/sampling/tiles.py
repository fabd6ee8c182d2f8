"""Large pictures in overlapping tiles: the predictions of all tiles are averaged at each step.

MultiDiffusion (Bar-Tal et al. 2023, eq. 5) averages the denoised tiles; their predictions are averaged here instead,
which is the same for schedulers that are linear in them, and leaves every scheduler as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hackamore.core.errors import HackamoreError
from hackamore.core.image import Size


@dataclass(frozen=True)
class Box:
    """A rectangle, in latent cells or in pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, x: Tensor) -> Tensor:
        """What of ``x`` … ×H×W lies inside."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def times(self, factor: int) -> Box:
        """The same rectangle in cells ``factor`` times smaller."""
        return Box(self.left * factor, self.top * factor, self.width * factor, self.height * factor)


@dataclass(frozen=True)
class Tile:
    """``size`` of the tiles in pixels (a side, or (width, height)) and how far they overlap (None: a quarter)."""

    size: int | Size
    overlap: int | None = None

    @property
    def sides(self) -> Size:
        """(width, height) in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def shared(self, multiple: int) -> int:
        """The overlap in pixels, a multiple of ``multiple``."""
        return min(self.sides) // 4 // multiple * multiple if self.overlap is None else self.overlap

    def check(self, size: Size, multiple: int) -> None:
        """Raise :class:`HackamoreError` for tiles that do not fit a picture of ``size`` or a base's ``multiple``."""
        words = "×".join(map(str, self.sides))
        if min(self.sides) < multiple or any(side % multiple for side in self.sides):
            expected = f"sides that are multiples of {multiple}"
            raise HackamoreError("the tile does not fit the base", received=words, expected=expected)
        if any(side > whole for side, whole in zip(self.sides, size, strict=True)):
            expected = f"at most {size[0]}×{size[1]}"
            raise HackamoreError("the tile is larger than the picture", received=words, expected=expected)
        shared = self.shared(multiple)
        if not 0 <= shared < min(self.sides) or shared % multiple:
            expected = f"a multiple of {multiple} below {min(self.sides)}"
            raise HackamoreError("the tiles' overlap is out of range", received=shared, expected=expected)

    def boxes(self, size: Size, factor: int, multiple: int) -> list[Box]:
        """Tiles that cover a picture of ``size``, in latent cells of ``factor`` pixels, evenly spread, row by row.

        A picture smaller than a tile is one tile along that side.
        """
        shared = self.shared(multiple) // factor
        width, height = (min(side, whole) // factor for side, whole in zip(self.sides, size, strict=True))
        across = _places(size[0] // factor, width, shared)
        down = _places(size[1] // factor, height, shared)
        return [Box(left, top, width, height) for top in down for left in across]


def _places(length: int, tile: int, shared: int) -> list[int]:
    """Where tiles begin along a side of ``length`` cells: as few as overlap by ``shared``, the last one flush."""
    count = 1 if tile >= length else 1 + -(-(length - tile) // (tile - min(shared, tile - 1)))
    return [round(k * (length - tile) / max(count - 1, 1)) for k in range(count)]


def averaged(x: Tensor, boxes: Sequence[Box], shared: int, predict: Callable[[int, Tensor], Tensor]) -> Tensor:
    """``predict(k, part)`` of every box k's part of ``x`` N×C×h×w, averaged with weights that fade towards the edges.

    ``shared``: over how many cells they fade. A single box that covers ``x`` is predicted as it is.
    """
    if len(boxes) == 1:
        return predict(0, x)
    total = weight = None
    for number, box in enumerate(boxes):
        part = predict(number, box.of(x))
        fade = _fade(box, shared).to(part.device)
        total = torch.zeros(len(x), part.shape[1], *x.shape[2:], device=x.device) if total is None else total
        weight = torch.zeros(x.shape[2:], device=x.device) if weight is None else weight
        box.of(total).add_(part.float() * fade)
        box.of(weight).add_(fade)
    assert total is not None
    assert weight is not None
    return (total / weight).to(x.dtype)


def _fade(box: Box, shared: int) -> Tensor:
    """Weights h×w of a tile: 1 inside, sin² towards the edges over ``shared`` cells, nowhere 0."""

    def along(length: int) -> Tensor:
        edge = torch.minimum(torch.arange(length), torch.arange(length).flip(0)) + 0.5
        return torch.sin((edge / max(shared, 1)).clamp(max=1) * torch.pi / 2) ** 2

    return along(box.height)[:, None] * along(box.width)
