"""Segmentation: a painted palette picture is read, checked and passed on."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from hackamore.annotators.annotator import Annotator
from hackamore.core.image import Picture
from hackamore.core.palette import PALETTES


class Seg(Annotator):
    """A picture painted in a palette's colours; any other colour is an error that names it, unless nearest is set."""

    kind: ClassVar[str] = "seg"
    categorical: ClassVar[bool] = True

    palette: Literal["worlds", "ade20k"] = Field(
        "worlds", description="whose classes: worlds (16, Meadow's) or ade20k (150, the field's)"
    )
    tolerance: int = Field(0, ge=0, le=127, description="largest distance per channel to a palette colour")
    nearest: bool = Field(False, description="snap every colour to the nearest class instead of refusing it")

    def __call__(self, picture: Picture) -> Picture:
        """The palette picture in its exact colours."""
        palette = PALETTES[self.palette]
        return palette.paint(palette.read(picture, self.tolerance, self.nearest))
