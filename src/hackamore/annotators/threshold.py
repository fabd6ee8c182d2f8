"""Black and white at a threshold."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from pydantic import Field

from hackamore.annotators.annotator import Annotator
from hackamore.core.image import Picture


class Threshold(Annotator):
    """White where the picture is brighter than a level, black elsewhere; without a level Otsu's is taken."""

    kind: ClassVar[str] = "threshold"
    sized: ClassVar[bool] = True
    seeks: ClassVar[tuple[str, str] | None] = ("two sides", "another level, between the picture's darkest and lightest")

    level: int | None = Field(None, ge=0, le=254, description="brighter than this is white; automatic when absent")

    def __call__(self, picture: Picture) -> Picture:
        """H×W×3, 0 and 255."""
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        how = cv2.THRESH_BINARY + (cv2.THRESH_OTSU if self.level is None else 0)
        _, white = cv2.threshold(grey, self.level or 0, 255, how)
        return np.repeat(white[..., None], 3, axis=2)
