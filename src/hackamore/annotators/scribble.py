"""Scribbles: thick lines as a hand would draw them, from a photograph or from a user's own drawing."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hackamore.annotators.annotator import Annotator
from hackamore.annotators.softedge import edge_strength
from hackamore.annotators.thinning import Mask, thin
from hackamore.core.image import Picture

STROKE = 6.0
"""Width of a stroke on a picture whose shorter side is 512 pixels."""
LEAST_INK = 24
"""An ink differs from its paper by this much in some channel (of 255) at least; less is the paper's grain."""

FILLED = 0.08
"""Ink wider than this share of the shorter side is a filled shape, not a stroke."""


class Scribble(Annotator):
    """Thick hand-like strokes along the main contours of a picture."""

    kind: ClassVar[str] = "scribble"
    sized: ClassVar[bool] = True
    lines: ClassVar[bool] = True
    seeks: ClassVar[tuple[str, str] | None] = ("contours", "a larger density, or a lower shortest")

    thickness: int | None = Field(None, ge=1, le=64, description="width of a stroke in pixels; 6 at 512 when absent")
    density: float = Field(
        0.03, gt=0, le=0.2, description="how many contours are drawn: very roughly the share of pixels on a line"
    )
    shortest: float = Field(0.04, ge=0, le=1, description="shorter lines are dropped; a share of the shorter side")

    def __call__(self, picture: Picture) -> Picture:
        """Strokes H×W×3, white on black."""
        side = min(picture.shape[:2])
        strength = cv2.GaussianBlur(edge_strength(picture), (0, 0), max(side / 256, 0.5))
        sure = max(float(np.percentile(strength, 100 * (1 - min(3 * self.density, 0.5)))), 0.1)
        middle = thin(_connected(strength > 0.6 * sure, strength > sure))
        return strokes(long_lines(middle, self.shortest * side), self.thickness)


class ScribbleDrawing(Annotator):
    """A user's drawing, whatever pen, paper and light, as white strokes of one width on black."""

    kind: ClassVar[str] = "scribble_drawing"
    sized: ClassVar[bool] = True
    lines: ClassVar[bool] = True
    seeks: ClassVar[tuple[str, str] | None] = ("strokes", "a lower contrast")

    thickness: int | None = Field(
        None, ge=0, le=64, description="width of a stroke in pixels; 6 at 512 when absent; 0 keeps the drawn widths"
    )
    contrast: int = Field(LEAST_INK, ge=1, le=254, description="least difference of ink from paper, of 255")
    shortest: float = Field(0.01, ge=0, le=1, description="shorter strokes are dropped; a share of the shorter side")

    def __call__(self, picture: Picture) -> Picture:
        """Strokes H×W×3, white on black."""
        side = min(picture.shape[:2])
        ink = long_lines(find_ink(picture, self.contrast), self.shortest * side)
        return _white(ink) if self.thickness == 0 else strokes(middle_lines(ink, FILLED * side), self.thickness)


def find_ink(picture: Picture, contrast: int = LEAST_INK) -> Mask:
    """Where a drawing has ink, H×W: what differs from the paper around it, darker, lighter or coloured alike.

    The paper's colour at each place is the median over a wide window, so that uneven light does not count as ink and
    the polarity does not matter; Otsu's threshold on the difference parts ink from paper.
    """
    height, width = picture.shape[:2]
    factor = min(1.0, 128 / min(height, width))
    small = cv2.resize(picture, (max(8, round(width * factor)), max(8, round(height * factor))), None, 0, 0, 3)
    window = min(min(small.shape[:2]) // 2 * 2 - 1, 101)
    reach = window // 2
    padded = cv2.copyMakeBorder(small, reach, reach, reach, reach, cv2.BORDER_REFLECT)
    paper = cv2.medianBlur(padded, window)[reach:-reach, reach:-reach]
    paper = cv2.resize(cv2.blur(paper, (9, 9)), (width, height), interpolation=cv2.INTER_LINEAR)
    apart: Picture = cv2.absdiff(cv2.medianBlur(picture, 3), paper).max(axis=2)
    level, _ = cv2.threshold(apart, 0, 255, cv2.THRESH_OTSU)
    return apart > max(level, contrast)


def middle_lines(ink: Mask, widest: float) -> Mask:
    """One-pixel lines of a drawing: strokes are thinned; shapes wider than ``widest`` pixels become their outlines."""
    inside = cv2.distanceTransform(np.pad(ink, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    core = inside > widest / 2
    if not core.any():
        return thin(ink)
    from_core = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    shape = ink & (from_core <= widest / 2 + 1)
    inner = cv2.erode(shape.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return thin(ink & ~inner)


def _connected(mask: Mask, seeds: Mask) -> Mask:
    """The pieces of a mask that hold a seed (hysteresis, as Canny has it)."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    kept = np.zeros(int(labels.max()) + 1, np.bool_)
    kept[labels[seeds & mask]] = True
    found: Mask = kept[labels]
    return found


def long_lines(mask: Mask, shortest: float) -> Mask:
    """The mask without pieces whose box has a diagonal under ``shortest`` pixels."""
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    kept = np.hypot(boxes[:, cv2.CC_STAT_WIDTH], boxes[:, cv2.CC_STAT_HEIGHT]) >= shortest
    kept[0] = False
    found: Mask = kept[labels]
    return found


def strokes(middle: Mask, thickness: int | None = None) -> Picture:
    """Lines of one pixel as round smooth strokes of ``thickness`` pixels, H×W×3, 0 and 255.

    Their distance transform is smoothed a little, which rounds what a pixel grid makes jagged.
    """
    if not middle.any():
        return np.zeros((*middle.shape, 3), np.uint8)
    width = float(thickness) if thickness is not None else max(1.0, STROKE * min(middle.shape) / 512)
    away: NDArray[np.float32] = cv2.distanceTransform((~middle).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    if width > 2:
        away = cv2.GaussianBlur(away, (0, 0), width / 4)
    return _white(away <= max(width / 2 - 0.5, 0) + 0.5 * (width > 2))


def _white(mask: Mask) -> Picture:
    return np.repeat(mask.astype(np.uint8)[..., None] * 255, 3, axis=2)
