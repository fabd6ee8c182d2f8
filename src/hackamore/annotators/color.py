"""Hints of colour and of brightness alone."""

from __future__ import annotations

from typing import ClassVar, Literal

import cv2
import numpy as np
from pydantic import Field

from hackamore.annotators.annotator import Annotator
from hackamore.core.image import Picture


class Color(Annotator):
    """A grid of mean colours, as T2I-Adapter's colour adapter reads it."""

    kind: ClassVar[str] = "color"
    sized: ClassVar[bool] = True

    cell: int = Field(64, ge=1, le=1024, description="side of a cell in pixels of the hint")

    def __call__(self, picture: Picture) -> Picture:
        """Cells of one colour each, H×W×3; cells are a little larger or smaller so that whole ones fill the picture."""
        height, width = picture.shape[:2]
        cells = max(1, round(width / self.cell)), max(1, round(height / self.cell))
        means = cv2.resize(picture, cells, interpolation=cv2.INTER_AREA)
        grid: Picture = cv2.resize(means, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return grid


class Recolor(Annotator):
    """The picture in grey, for controls that colour it anew."""

    kind: ClassVar[str] = "recolor"

    grey: Literal["luminance", "intensity"] = Field(
        "luminance", description="luminance (L of Lab, as the eye sees it) or intensity (the strongest channel)"
    )
    gamma: float = Field(1.0, ge=0.1, le=10, description="above 1 darkens, below 1 lightens")

    def __call__(self, picture: Picture) -> Picture:
        """Grey H×W×3."""
        luminance = self.grey == "luminance"
        value = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)[..., 0] if luminance else picture.max(axis=2)
        table = ((np.arange(256) / 255) ** self.gamma * 255 + 0.5).astype(np.uint8)
        return np.repeat(table[value][..., None], 3, axis=2)
