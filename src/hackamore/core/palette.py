"""Segmentation classes and their colours: the frozen palette of the worlds.

The order and the colours never change; files and trained controls depend on them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hackamore.core.errors import HackamoreError

CLASSES: tuple[str, ...] = (
    "sky", "cloud", "water", "sand", "grass", "forest", "rock", "snow",
    "tree", "earth", "road", "building", "bridge", "person", "flower", "other",
)  # fmt: skip

COLOURS: NDArray[np.uint8] = np.array(
    [
        (110, 170, 230), (235, 235, 240), (40, 90, 170), (230, 205, 130),
        (120, 190, 70), (20, 100, 40), (120, 115, 110), (255, 255, 255),
        (60, 140, 20), (170, 90, 50), (70, 70, 75), (190, 60, 60),
        (150, 110, 190), (240, 130, 180), (250, 220, 40), (0, 0, 0),
    ],
    dtype=np.uint8,
)  # fmt: skip


def paint(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class indices H×W → palette picture H×W×3, uint8 RGB."""
    return COLOURS[classes]


def read(picture: NDArray[np.uint8], tolerance: int = 0) -> NDArray[np.uint8]:
    """Palette picture H×W×3, uint8 RGB → class indices H×W.

    ``tolerance`` is the largest per-channel distance to a palette colour that is still read as that colour.
    Raises :class:`HackamoreError` naming up to three colours that are not in the palette.
    """
    codes = picture.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    packed, inverse = np.unique(codes, return_inverse=True)
    colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1)
    distance = np.abs(colours[:, None, :].astype(np.int16) - COLOURS[None].astype(np.int16)).max(axis=2)
    nearest = distance.argmin(axis=1)
    unknown = colours[distance.min(axis=1) > tolerance]
    if len(unknown):
        raise HackamoreError(
            f"{len(unknown)} colours of the segmentation picture are not in the palette",
            received=_list(unknown[:3]) + (" …" if len(unknown) > 3 else ""),
            expected=", ".join(f"{name} {_hex(c)}" for name, c in zip(CLASSES, COLOURS, strict=True)),
            remedy="save the picture as PNG without smoothing (JPEG changes colours), or name a tolerance",
        )
    classes: NDArray[np.uint8] = nearest[inverse].astype(np.uint8).reshape(picture.shape[:2])
    return classes


def _hex(colour: Sequence[int] | NDArray[np.uint8]) -> str:
    return "#" + "".join(f"{int(c):02x}" for c in colour)


def _list(colours: NDArray[np.uint8]) -> str:
    return ", ".join(_hex(c) for c in colours)
