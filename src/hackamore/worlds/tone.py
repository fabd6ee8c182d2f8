"""From linear light to a picture: exposure, a film curve, falling rain or snow, and smoothing down to size."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.grid import Floats
from hackamore.worlds.jit import compiled


@compiled
def develop(colour: Floats, exposure: float, saturation: float) -> None:
    """Linear light → display values 0 to 1, in place; film curve after Narkowicz ("ACES filmic tone mapping curve")."""
    rows, columns, _ = colour.shape
    for y in range(rows):
        for x in range(columns):
            total = 0.0
            for c in range(3):
                light = colour[y, x, c] * exposure
                light = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
                shown = math.sqrt(min(max(light, 0.0), 1.0))
                shown *= 0.86 + 0.14 * shown
                colour[y, x, c] = shown
                total += shown
            grey = total / 3.0
            for c in range(3):
                colour[y, x, c] = min(max(grey + (colour[y, x, c] - grey) * saturation, 0.0), 1.0)


@compiled
def _streak(colour: Floats, x: float, y: float, radius: float, length: float, strength: float, bright: float) -> None:
    """Blend one drop (length above 0) or flake of the given radius in pixels over the picture."""
    rows, columns, _ = colour.shape
    for py in range(max(int(y - length - radius - 1.0), 0), min(int(y + radius + 2.0), rows)):
        along = min(max(y - py - 0.5, 0.0), length)
        for px in range(
            max(int(x - radius - 1.0 - 0.2 * length), 0), min(int(x + radius + 2.0 + 0.2 * length), columns)
        ):
            dx, dy = px + 0.5 - x - 0.15 * along, py + 0.5 - y + along
            share = strength * min(max(radius - math.sqrt(dx * dx + dy * dy) + 0.5, 0.0), 1.0)
            for c in range(3):
                colour[py, px, c] += (bright - colour[py, px, c]) * share


@compiled
def precipitate(colour: Floats, places: NDArray[np.float64], scale: float, rain: bool, bright: float) -> None:
    """Rain or snowfall over a developed picture; ``places`` holds x, y, size, each 0 to 1; ``scale`` pixels a unit."""
    rows, columns, _ = colour.shape
    for k in range(places.shape[0]):
        x, y, size = places[k, 0] * columns, places[k, 1] * rows, places[k, 2]
        if rain:
            _streak(colour, x, y, 0.45 * scale, scale * (7.0 + 9.0 * size), 0.16 + 0.2 * size, bright * 0.9)
        else:
            _streak(colour, x, y, scale * (0.5 + 1.5 * size * size * size), 0.0, 0.9, bright)


def to_bytes(colour: Floats, supersample: int) -> NDArray[np.uint8]:
    """Average squares of ``supersample``² pixels and round to bytes."""
    s = supersample
    total = np.zeros((colour.shape[0] // s, colour.shape[1] // s, 3), np.float32)
    for dy in range(s):
        for dx in range(s):
            total += colour[dy::s, dx::s]
    return (total * np.float32(255.0 / (s * s)) + np.float32(0.5)).astype(np.uint8)
