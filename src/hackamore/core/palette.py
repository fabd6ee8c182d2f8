"""Segmentation classes and their colours: the frozen palette of the worlds, and ADE20K's.

The order and the colours never change; files and trained controls depend on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hackamore.core import ade20k
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


@dataclass(frozen=True, eq=False)
class Palette:
    """Classes and their colours: ``colours`` is N×3 uint8 RGB in the order of ``names``, at most 256 of them."""

    name: str
    names: tuple[str, ...]
    colours: NDArray[np.uint8]

    def paint(self, classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class indices H×W → palette picture H×W×3, uint8 RGB."""
        return self.colours[classes]

    def read(self, picture: NDArray[np.uint8], tolerance: int = 0, nearest: bool = False) -> NDArray[np.uint8]:
        """Palette picture H×W×3, uint8 RGB → class indices H×W.

        ``tolerance`` is the largest per-channel distance to a palette colour that is still read as that colour.
        ``nearest`` takes any colour for the class of the nearest one (Euclidean distance in RGB) instead.
        Of classes that share a colour the first is read.
        Raises :class:`HackamoreError` naming up to three colours that are not in the palette.
        """
        codes = picture.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
        packed, inverse = np.unique(codes, return_inverse=True)
        colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.int16)
        found, apart = (self._nearest(colours), None) if nearest else self._closest(colours)
        if apart is not None and (apart > tolerance).any():
            unknown = colours[apart > tolerance]
            raise HackamoreError(
                f"{len(unknown)} colours of the segmentation picture are not in the palette",
                received=_list(unknown[:3]) + (" …" if len(unknown) > 3 else ""),
                expected=", ".join(f"{name} {_hex(c)}" for name, c in zip(self.names, self.colours, strict=True)),
                remedy="save it as PNG without smoothing (JPEG changes colours), or name a tolerance, or nearest=true",
            )
        classes: NDArray[np.uint8] = found[inverse].reshape(picture.shape[:2])
        return classes

    def _closest(self, colours: NDArray[np.int16]) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
        """The class of each colour U×3 by the largest per-channel distance, and that distance.

        Class by class: a photograph holds millions of colours, too many for one table of all distances.
        """
        channels = np.ascontiguousarray(colours.T)
        found, least = np.zeros(len(colours), np.uint8), np.full(len(colours), 256, np.int16)
        for number, colour in enumerate(self.colours.astype(np.int16)):
            apart = np.abs(channels - colour[:, None]).max(axis=0)
            found[apart < least] = number
            np.minimum(least, apart, out=least)
        return found, least

    def _nearest(self, colours: NDArray[np.int16]) -> NDArray[np.uint8]:
        """The class of each colour U×3 by Euclidean distance: |c − p|² is least where 2 c·p − |p|² is greatest."""
        known = self.colours.astype(np.float32)  # every number below is a whole one under 2²⁴, hence exact
        parts = np.array_split(colours.astype(np.float32), len(colours) // 65536 + 1)
        found = [(2 * part @ known.T - (known**2).sum(axis=1)).argmax(axis=1) for part in parts]
        return np.concatenate(found).astype(np.uint8)


WORLDS = Palette("worlds", CLASSES, COLOURS)
ADE20K = Palette(
    "ade20k",
    ade20k.NAMES,
    np.array([(c >> 16, c >> 8 & 255, c & 255) for c in ade20k.COLOURS], np.uint8),
)
PALETTES: dict[str, Palette] = {palette.name: palette for palette in (WORLDS, ADE20K)}


def paint(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class indices H×W of the worlds → palette picture H×W×3, uint8 RGB."""
    return WORLDS.paint(classes)


def read(picture: NDArray[np.uint8], tolerance: int = 0) -> NDArray[np.uint8]:
    """Palette picture of the worlds → class indices H×W; see :meth:`Palette.read`."""
    return WORLDS.read(picture, tolerance)


def _hex(colour: Sequence[int] | NDArray[np.integer]) -> str:
    return "#" + "".join(f"{int(c):02x}" for c in colour)


def _list(colours: NDArray[np.integer]) -> str:
    return ", ".join(_hex(c) for c in colours)
