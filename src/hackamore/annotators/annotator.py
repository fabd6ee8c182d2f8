"""The door of every annotator: from a picture to a hint, with typed parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from hackamore.core.image import Picture


class Annotator(BaseModel, ABC):
    """Its fields are its parameters: types, defaults, ranges and descriptions become options and documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ClassVar[str]
    """The name it is asked for by."""
    categorical: ClassVar[bool] = False
    """Whether its hint holds classes as colours, so that it may only be resized to the nearest pixel."""
    sized: ClassVar[bool] = False
    """Whether it works on the picture at its final size (edges do), rather than its hint being resized afterwards."""
    lines: ClassVar[bool] = False
    """Whether its hint is light lines on black; a hint without any is refused where a user asks for one."""
    source: ClassVar[str] = "picture"
    """What it reads: ``picture``, or ``keypoints`` (an OpenPose JSON file)."""

    @abstractmethod
    def __call__(self, picture: Picture) -> Picture:
        """The hint of ``picture`` (H×W×3 uint8 RGB), of the same size."""
