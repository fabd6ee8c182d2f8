"""One truth a picture pixel from the several that were drawn for it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.draw import NOTHING, Layers
from hackamore.worlds.grid import Floats
from hackamore.worlds.jit import compiled

SAME_SURFACE = 1.1
"""Parts of a pixel nearer than this factor times its nearest part are taken for one surface."""


@compiled
def _condense(layers: Layers, s: int, label: NDArray[np.uint8], depth: Floats, normal: Floats) -> None:
    rows, columns = label.shape
    counts = np.zeros(256, np.int64)
    for y in range(rows):
        for x in range(columns):
            best = layers.label[y * s, x * s]
            for dy in range(s):
                for dx in range(s):
                    candidate = layers.label[y * s + dy, x * s + dx]
                    counts[candidate] += 1
                    if counts[candidate] > counts[best]:
                        best = candidate
            nearest = NOTHING * 2.0
            for dy in range(s):
                for dx in range(s):
                    counts[layers.label[y * s + dy, x * s + dx]] = 0
                    if layers.label[y * s + dy, x * s + dx] == best:
                        nearest = min(nearest, layers.depth[y * s + dy, x * s + dx])
            inverse, n, nx, ny, nz = 0.0, 0, 0.0, 0.0, 0.0
            for dy in range(s):
                for dx in range(s):
                    sy, sx = y * s + dy, x * s + dx
                    if layers.label[sy, sx] == best and layers.depth[sy, sx] <= nearest * SAME_SURFACE:
                        n += 1
                        inverse += 1.0 / layers.depth[sy, sx]
                        nx += layers.normal[sy, sx, 0]
                        ny += layers.normal[sy, sx, 1]
                        nz += layers.normal[sy, sx, 2]
            label[y, x], depth[y, x] = best, n / inverse
            length = math.sqrt(nx * nx + ny * ny + nz * nz)
            unit = 1.0 / length if length > 1e-6 else 0.0
            normal[y, x, 0], normal[y, x, 1], normal[y, x, 2] = nx * unit, ny * unit, -nz * unit


def condense(layers: Layers, supersample: int) -> tuple[NDArray[np.uint8], Floats, Floats]:
    """Class, depth and normal of every picture pixel.

    The class is the most frequent among the pixel's parts. Depth is the harmonic mean (exact for planes) and the
    normal the mean over those parts of this class that belong to its nearest surface. Depth of sky and cloud is
    infinite; normals turn from world axes into camera axes (z towards the viewer).
    """
    rows, columns = layers.label.shape[0] // supersample, layers.label.shape[1] // supersample
    label = np.empty((rows, columns), np.uint8)
    depth = np.empty((rows, columns), np.float32)
    normal = np.empty((rows, columns, 3), np.float32)
    _condense(layers, supersample, label, depth, normal)
    depth[depth > NOTHING * 0.5] = np.inf
    return label, depth, normal
