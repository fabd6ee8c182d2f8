"""Hints that keep what is coarse: the picture at a low resolution, or blurred."""

from __future__ import annotations

from typing import ClassVar

import cv2
from pydantic import Field

from hackamore.annotators.annotator import Annotator
from hackamore.core.image import Picture


class Tile(Annotator):
    """The picture at a lower resolution brought back up, for tile controls, which draw the detail anew."""

    kind: ClassVar[str] = "tile"
    sized: ClassVar[bool] = True

    factor: float = Field(4.0, ge=1, le=64, description="how many times smaller it is made; 1 keeps it")

    def __call__(self, picture: Picture) -> Picture:
        """Averaged over areas, then interpolated by cubics, H×W×3."""
        height, width = picture.shape[:2]
        size = max(1, round(width / self.factor)), max(1, round(height / self.factor))
        if size == (width, height):
            return picture.copy()
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        grown: Picture = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        return grown


class Blur(Annotator):
    """The picture blurred by a Gaussian."""

    kind: ClassVar[str] = "blur"
    sized: ClassVar[bool] = True

    sigma: float = Field(9.0, gt=0, le=256, description="width of the Gaussian in pixels of the hint")

    def __call__(self, picture: Picture) -> Picture:
        """The blurred picture H×W×3."""
        blurred: Picture = cv2.GaussianBlur(picture, (0, 0), self.sigma, borderType=cv2.BORDER_REFLECT)
        return blurred
