"""Edges by Canny (1986), white on black."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from pydantic import Field, model_validator

from hackamore.annotators.annotator import Annotator
from hackamore.core.image import Picture


class Canny(Annotator):
    """Thin white edges on black. Without thresholds they are chosen so that a fixed share of the pixels are edges."""

    kind: ClassVar[str] = "canny"
    sized: ClassVar[bool] = True
    lines: ClassVar[bool] = True
    seeks: ClassVar[tuple[str, str] | None] = ("edges", "lower thresholds, such as low=10 and high=25")

    low: int | None = Field(
        None, ge=1, le=1000, description="weak-edge threshold on the gradient; automatic when absent"
    )
    high: int | None = Field(None, ge=1, le=1000, description="strong-edge threshold; automatic when absent")
    density: float = Field(0.08, gt=0, lt=0.5, description="share of edge pixels that automatic thresholds aim at")

    @model_validator(mode="after")
    def _ordered(self) -> Canny:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self

    def thresholds(self, picture: Picture) -> tuple[int, int]:
        """The (low, high) thresholds it takes on ``picture``."""
        if self.high is not None:
            return (self.low if self.low is not None else max(1, round(0.4 * self.high))), self.high
        if self.low is not None:
            return self.low, round(2.5 * self.low)
        high = automatic_threshold(picture, self.density)
        return max(1, round(0.4 * high)), high

    def __call__(self, picture: Picture) -> Picture:
        """Edges H×W×3, values 0 and 255."""
        low, high = self.thresholds(picture)
        return np.repeat(cv2.Canny(picture, low, high)[..., None], 3, axis=2)


def automatic_threshold(picture: Picture, density: float) -> int:
    """The strong threshold of Canny at which about ``density`` of the pixels are edges, between 20 and 400."""
    low, high = 20, 400
    while high - low > 8:
        middle = (low + high) // 2
        if (cv2.Canny(picture, round(0.4 * middle), middle) > 0).mean() > density:
            low = middle
        else:
            high = middle
    return (low + high) // 2
