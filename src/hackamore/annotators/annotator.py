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
    """Whether its hint is light lines on black."""
    seeks: ClassVar[tuple[str, str] | None] = None
    """What it looks for and how to look harder, such as ``("edges", "a lower density")``: where a user asks for the
    hint, one that holds a single colour is refused in these words. None: such a hint is a hint like any other."""

    def refuse_idle(self, names: set[str], what: str) -> None:
        """Raise for parameters that were given and mean nothing to ``what``, so that none is dropped in silence."""
        if names:
            raise ValueError(f"{', '.join(sorted(names))}: {what} has no such parameter")

    @abstractmethod
    def __call__(self, picture: Picture) -> Picture:
        """The hint of ``picture`` (H×W×3 uint8 RGB), of the same size."""
