"""Segmentation: a painted palette picture is read, checked and passed on."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from hackamore.annotators.annotator import Annotator
from hackamore.core import palette
from hackamore.core.image import Picture


class Seg(Annotator):
    """A picture in the worlds' palette; any other colour is an error that names it."""

    kind: ClassVar[str] = "seg"
    categorical: ClassVar[bool] = True

    tolerance: int = Field(0, ge=0, le=127, description="largest distance per channel to a palette colour")

    def __call__(self, picture: Picture) -> Picture:
        """The palette picture in its exact colours."""
        return palette.paint(palette.read(picture, self.tolerance))
