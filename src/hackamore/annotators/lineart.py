"""Line art without a network: what is darker than the blurred picture around it, as white lines on black."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from pydantic import Field

from hackamore.annotators.annotator import Annotator
from hackamore.core.image import Picture


class LineArt(Annotator):
    """Dark lines and edges of a picture as soft white lines on black: the field's standard line art."""

    kind: ClassVar[str] = "lineart"
    sized: ClassVar[bool] = True
    lines: ClassVar[bool] = True
    seeks: ClassVar[tuple[str, str] | None] = ("lines", "a lower threshold")

    sigma: float = Field(6.0, gt=0, le=64, description="blur it is compared with, in pixels at a shorter side of 512")
    threshold: float = Field(8.0, ge=0, le=128, description="a difference below this (of 255) is no line")

    def __call__(self, picture: Picture) -> Picture:
        """Line strength H×W×3, grey.

        A pixel counts by how far it lies under the Gaussian-blurred picture in all three channels. The median
        difference above the threshold becomes half white, so that faint and strong drawings come out alike.
        """
        unit = max(min(picture.shape[:2]) / 512, 0.2)
        seen = picture.astype(np.float32)
        around = cv2.GaussianBlur(seen, (0, 0), self.sigma * unit, borderType=cv2.BORDER_REFLECT)
        depth = (around - seen).min(axis=2)
        strong = depth[depth > self.threshold]
        if not strong.size:
            return np.zeros_like(picture)
        half = max(16.0, float(np.median(strong)))
        grey = np.clip((depth - self.threshold / 2) / half * 127, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
