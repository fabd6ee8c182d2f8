"""Inpainting: a picture with a part of it hidden, which is to be painted anew."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field, InstanceOf
from pydantic.json_schema import SkipJsonSchema

from hackamore.annotators.annotator import Annotator
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size, load_picture, resize

HIDDEN = 128
"""A mask's pixel as light as this, or lighter, is hidden."""


class Inpaint(Annotator):
    """The picture with the white part of a mask blacked out.

    The hint is a plain picture; black may also be a colour of what is kept. The part that is hidden is told by the
    mask alone: :meth:`mask_for` gives it at the hint's size. Networks that expect −1 where the picture is hidden need
    that mask beside the hint; a picture never holds −1.
    """

    kind: ClassVar[str] = "inpaint"

    mask: Path | SkipJsonSchema[InstanceOf[np.ndarray]] = Field(
        description="picture of the same aspect ratio; white is painted anew"
    )

    def __call__(self, picture: Picture) -> Picture:
        """The picture H×W×3, black where the mask is white."""
        hidden = self._hidden((picture.shape[1], picture.shape[0]))
        return np.where(hidden[..., None], np.uint8(0), picture)

    def mask_for(self, size: Size, mode: str = "crop", picture_size: Size | None = None) -> Picture:
        """The mask H×W of a hint of ``size`` (width, height): 255 where the picture is hidden, 0 elsewhere.

        ``mode`` and ``picture_size`` are the resize mode and the size of the picture that the hint was made of, so
        that both are cut alike; the mask's own size when absent. Every pixel that holds a trace of what is hidden is.
        """
        mask = load_picture(self.mask)
        hidden = self._hidden(picture_size or (mask.shape[1], mask.shape[0]))
        resized: Picture = resize(hidden.astype(np.uint8) * 255, size, mode)
        return np.where(resized > 0, np.uint8(255), np.uint8(0))

    def _hidden(self, size: Size) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        """The mask H×W at a picture's size; one of another shape, or that hides nothing or everything, is an error."""
        hidden = fitted(load_picture(self.mask).max(axis=2), size)
        if hidden.all() or not hidden.any():
            raise HackamoreError(
                "the mask hides everything" if hidden.any() else "the mask hides nothing",
                expected="white where the picture is painted anew, black where it stays",
                remedy="paint a part of the mask " + ("black" if hidden.any() else "white"),
            )
        return hidden


def fitted(mask: Picture, size: Size) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Where a mask H×W is white, at a picture's size (width, height); one of another shape is an error."""
    height, width = mask.shape
    if abs(width * size[1] - height * size[0]) > 0.01 * width * size[1] + max(width, size[0]):
        raise HackamoreError(
            "the mask has another shape than the picture",
            received=f"mask {width}×{height}",
            expected=f"{size[0]}×{size[1]}, or the same aspect ratio",
        )
    white: np.ndarray[tuple[int, int], np.dtype[np.bool_]] = resize(mask, size, "stretch") >= HIDDEN
    return white
