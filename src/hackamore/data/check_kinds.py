"""Is a hint clearly of another kind than it is said to be? Told from its shapes and colours, in doubt not."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hackamore.annotators.recognise import SOFT, THIN, family
from hackamore.core.image import Picture

LIT, FAINT = 48, 16
"""A pixel above them is no background; the ground of a depth map is faint, and still no background."""
STRONG, COLOURED = 48, 0.5
"""A hint of lines is coloured where more than this share of its lit pixels has a chroma above the first."""
WIDE, SOLID = 10, 0.35
"""Lines are solid where more than this share of them is wider than a tenth of the picture."""
THICK, FINE = 16, 0.1
"""Surfaces are lines where less than this share of them is wider than a sixteenth of the picture, on black."""
FEW, TONES, MOST = 24, 20, 0.9
"""A segmentation has at most so many colours, and a grey one fewer tones, on most of the picture."""


def other_kind(hint: Picture, kind: str) -> bool:
    """Whether a hint H×W×3 uint8, white lines on black, can hardly be one of ``kind``.

    Lines (canny, mlsd, scribble, softedge, lineart) are grey and thin; depth and segmentation have surfaces; a
    segmentation has no gradients.
    """
    kind = family(kind)
    if kind in THIN or kind in SOFT:
        lit = hint.max(axis=2) > LIT
        return _coloured(hint, lit) or _wider(lit, WIDE) > SOLID
    if kind == "depth":
        lit = hint.max(axis=2) > FAINT
        return _coloured(hint, lit) or _drawing(lit)
    return kind == "seg" and (_drawing(hint.max(axis=2) > LIT) or _shaded(hint))


def few_colours(hint: Picture) -> bool:
    """Whether a hint is flat areas of a few colours, whatever their palette."""
    packed = _small(hint) @ np.array([65536, 256, 1], np.uint32)
    return _coloured(hint, hint.max(axis=2) > FAINT) and _most(packed) <= FEW


def _coloured(hint: Picture, lit: NDArray[np.bool_]) -> bool:
    chroma = hint.max(axis=2) - hint.min(axis=2)
    return bool(lit.any()) and float((chroma[lit] > STRONG).mean()) > COLOURED


def _wider(lit: NDArray[np.bool_], parts: int) -> float:
    """The share of what is lit that is wider than so many parts of the picture's shorter side."""
    side = max(3, round(min(lit.shape) / parts))
    kept = cv2.morphologyEx(lit.astype(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    return float(kept.sum()) / max(int(lit.sum()), 1)


def _drawing(lit: NDArray[np.bool_]) -> bool:
    """Thin lines on black, grey or coloured."""
    return bool(lit.any()) and float(lit.mean()) < 0.6 and _wider(lit, THICK) < FINE


def _shaded(hint: Picture) -> bool:
    """Grey, in many tones."""
    small = _small(hint)
    grey = float((small.max(axis=1) - small.min(axis=1)).mean()) < 4
    return grey and _most(small[:, 0]) > TONES


def _small(hint: Picture) -> NDArray[np.uint32]:
    small = np.asarray(cv2.resize(hint, (96, 96), interpolation=cv2.INTER_NEAREST), np.uint32)
    return small.reshape(-1, 3)


def _most(values: NDArray[np.uint32]) -> int:
    """How many different values most pixels have."""
    counts = np.sort(np.unique(values, return_counts=True)[1])[::-1].cumsum()
    return int((counts < MOST * len(values)).sum()) + 1
