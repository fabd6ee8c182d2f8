"""The second pass at a larger size: how large, how strong, and how the first pass's latents are enlarged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional as F

from hackamore.core.errors import HackamoreError
from hackamore.core.image import MOST_PIXELS, Size, check_size

Through = Literal["latents", "pixels"]
LARGEST_FACTOR = 16.0


@dataclass(frozen=True)
class Upscale:
    """Enlarge what the first pass made, add noise, and denoise it at the larger size.

    ``size`` (width, height) of the same shape as the first pass's, or ``factor``. ``strength`` in (0, 1] and ``steps``
    (the first pass's when None) as in img2img. ``through``: ``latents`` are enlarged as they are; ``pixels``: the
    picture is decoded, enlarged and encoded again, which keeps more of it at a low strength.
    """

    size: Size | None = None
    factor: float | None = None
    strength: float = 0.6
    steps: int | None = None
    through: Through = "latents"

    def target(self, size: Size, multiple: int) -> Size:
        """The larger size for a first pass of ``size``, of multiples of ``multiple`` pixels.

        Raises :class:`HackamoreError` when it is not larger, of another shape, or not told once.
        """
        if (self.size is None) == (self.factor is None):
            raise HackamoreError("the larger size is not told", expected="either a size or a factor")
        if self.through not in get_args(Through):
            raise HackamoreError(
                "unknown way to enlarge", received=self.through, expected=" or ".join(get_args(Through))
            )
        if self.factor is not None:
            if not (math.isfinite(self.factor) and 1 < self.factor <= LARGEST_FACTOR):
                expected = f"above 1, to {LARGEST_FACTOR:g}"
                raise HackamoreError("the upscale factor is out of range", received=self.factor, expected=expected)
            width, height = (max(1, round(side * self.factor / multiple)) * multiple for side in size)
        else:
            assert self.size is not None
            width, height = check_size(self.size, multiple)
        received, first = f"{width}×{height}", f"{size[0]}×{size[1]}"
        if width < size[0] or height < size[1] or (width, height) == size:
            raise HackamoreError("the upscale is not larger than the picture", received=received, expected=first)
        if abs(width * size[1] - height * size[0]) > multiple * max(size):
            expected = f"the shape of {first}"
            raise HackamoreError("the upscale has another shape than the picture", received=received, expected=expected)
        if width * height > MOST_PIXELS:
            raise HackamoreError(
                "the upscale is too large", received=received, expected=f"at most {MOST_PIXELS:,} pixels"
            )
        return width, height


def enlarge(latents: Tensor, height: int, width: int) -> Tensor:
    """Latents N×C×h×w at another number of cells, bicubic."""
    larger = F.interpolate(latents.float(), (height, width), mode="bicubic", antialias=False)
    return larger.to(latents.dtype)
