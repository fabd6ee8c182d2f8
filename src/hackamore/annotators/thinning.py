"""Thinning: strokes of any width become lines of one pixel with the same connections (Guo and Hall, 1989)."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def thin(mask: Mask) -> Mask:
    """The skeleton of a mask H×W: one pixel wide, with the same components and holes.

    Guo and Hall's parallel algorithm A1: a pixel goes when it is a simple border point (C(p) = 1,
    2 ≤ min(N₁, N₂) ≤ 3) that lies on the side which the pass peels, east and north first, then west and south.
    Only pixels next to one that went are looked at again, so a pass costs what it removes.
    """
    height, width = mask.shape
    flat = np.pad(mask, 1).astype(np.uint8).ravel()
    around = _neighbours(width + 2)
    stamp = np.empty(flat.size, np.intp)

    def inside(*places: NDArray[np.intp]) -> NDArray[np.intp]:
        """Pixels of the mask among ``places``, each once: the last to sign its place stays."""
        known = np.concatenate(places)
        known = known[flat[known] > 0]
        order = np.arange(known.size)
        stamp[known] = order
        alone: NDArray[np.intp] = known[stamp[known] == order]
        return alone

    active = np.flatnonzero(flat)
    while active.size:
        touched = []
        for peel in _peels():
            code = np.zeros(active.size, np.uint8)
            for bit, step in enumerate(around):
                code |= flat[active + step] << bit
            removed = active[peel[code]]
            flat[removed] = 0
            touched += [removed + step for step in around]
            active = inside(active, *(removed + step for step in around))
        active = inside(*touched)
    return flat.reshape(height + 2, width + 2)[1:-1, 1:-1].astype(bool)


def _neighbours(stride: int) -> tuple[int, ...]:
    """Steps to the eight neighbours p2 … p9: north first, then clockwise."""
    return (-stride, 1 - stride, 1, stride + 1, stride, stride - 1, -1, -stride - 1)


@cache
def _peels() -> tuple[Mask, Mask]:
    """For each of 256 neighbourhoods (bit k is neighbour k + 2), whether the first and the second pass remove it."""
    codes = np.arange(256)
    north, north_east, east, south_east, south, south_west, west, north_west = (codes >> bit & 1 for bit in range(8))
    crossings = (
        ((1 - north) & (north_east | east))
        + ((1 - east) & (south_east | south))
        + ((1 - south) & (south_west | west))
        + ((1 - west) & (north_west | north))
    )
    first = (north_west | north) + (north_east | east) + (south_east | south) + (south_west | west)
    second = (north | north_east) + (east | south_east) + (south | south_west) + (west | north_west)
    least = np.minimum(first, second)
    simple = (crossings == 1) & (least >= 2) & (least <= 3)
    return (
        simple & (((north | north_east | (1 - south_east)) & east) == 0),
        simple & (((south | south_west | (1 - north_west)) & west) == 0),
    )
