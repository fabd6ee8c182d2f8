"""Hints that are the picture itself, as it is or inverted."""

from __future__ import annotations

from typing import ClassVar

from hackamore.annotators.annotator import Annotator
from hackamore.core.image import Picture


class Plain(Annotator):
    """The picture is a hint already."""

    kind: ClassVar[str] = "none"

    def __call__(self, picture: Picture) -> Picture:
        """The picture, unchanged."""
        return picture


class Invert(Annotator):
    """Black lines on white become white lines on black, and the other way round."""

    kind: ClassVar[str] = "invert"

    def __call__(self, picture: Picture) -> Picture:
        """255 − picture."""
        return 255 - picture
