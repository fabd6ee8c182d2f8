"""Flat-sided things that people build: triangles drawn into the layers with a depth test."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.draw import Eye, Layers
from hackamore.worlds.jit import compiled
from hackamore.worlds.light import Colour, Light
from hackamore.worlds.materials import lit
from hackamore.worlds.noise import value_noise
from hackamore.worlds.sky import hazed

Point = NDArray[np.float64]
LIT = 0.9
"""Sunlight on what is built, shadows of the land aside."""


class Solids(NamedTuple):
    """One entry a triangle: corners T×3×3 in world units, linear colours, how far it shines by itself, its class, and
    how far its colour varies along its height."""

    corners: NDArray[np.float64]
    colour: NDArray[np.float64]
    glow: NDArray[np.float64]
    label: NDArray[np.int64]
    grain: NDArray[np.float64]


class Yard:
    """Collects triangles."""

    def __init__(self) -> None:
        self.rows: list[tuple[Point, Colour, float, int, float]] = []

    def triangle(
        self, a: Point, b: Point, c: Point, colour: Colour, label: int, glow: float = 0.0, grain: float = 0.2
    ) -> None:
        """One triangle; both of its sides are seen."""
        self.rows.append((np.stack([a, b, c]), colour, glow, label, grain))

    def quad(
        self, a: Point, b: Point, c: Point, d: Point, colour: Colour, label: int, glow: float = 0.0, grain: float = 0.2
    ) -> None:
        """A flat quadrangle, its corners in order."""
        self.triangle(a, b, c, colour, label, glow, grain)
        self.triangle(a, c, d, colour, label, glow, grain)

    def finish(self) -> Solids:
        """All of them as arrays."""
        corners, colour, glow, label, grain = zip(*self.rows, strict=True) if self.rows else ((),) * 5
        return Solids(
            np.array(corners, np.float64).reshape(-1, 3, 3), np.array(colour, np.float64).reshape(-1, 3),
            np.array(glow, np.float64), np.array(label, np.int64), np.array(grain, np.float64),
        )  # fmt: skip


@compiled
def _draw_triangle(solids: Solids, k: int, light: Light, eye: Eye, layers: Layers) -> None:
    rows, columns = layers.label.shape
    p = solids.corners[k]
    if min(p[0, 2], p[1, 2], p[2, 2]) < 0.02:
        return
    sx, sy = np.empty(3), np.empty(3)
    for i in range(3):
        sx[i] = columns * 0.5 + eye.focal * p[i, 0] / p[i, 2]
        sy[i] = eye.horizon - eye.focal * (p[i, 1] - eye.height) / p[i, 2]
    area = (sx[1] - sx[0]) * (sy[2] - sy[0]) - (sx[2] - sx[0]) * (sy[1] - sy[0])
    if abs(area) < 1e-9:
        return
    ax, ay, az = p[1, 0] - p[0, 0], p[1, 1] - p[0, 1], p[1, 2] - p[0, 2]
    bx, by, bz = p[2, 0] - p[0, 0], p[2, 1] - p[0, 1], p[2, 2] - p[0, 2]
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    unit = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-18)
    if nx * p[0, 0] + ny * (p[0, 1] - eye.height) + nz * p[0, 2] > 0.0:
        unit = -unit
    nx, ny, nz = nx * unit, ny * unit, nz * unit
    for py in range(max(math.floor(sy.min()), 0), min(math.ceil(sy.max()) + 1, rows)):
        for px in range(max(math.floor(sx.min()), 0), min(math.ceil(sx.max()) + 1, columns)):
            x, y = px + 0.5, py + 0.5
            w0 = ((sx[1] - x) * (sy[2] - y) - (sx[2] - x) * (sy[1] - y)) / area
            w1 = ((sx[2] - x) * (sy[0] - y) - (sx[0] - x) * (sy[2] - y)) / area
            w2 = 1.0 - w0 - w1
            if w0 < -1e-9 or w1 < -1e-9 or w2 < -1e-9:
                continue
            z = 1.0 / (w0 / p[0, 2] + w1 / p[1, 2] + w2 / p[2, 2])
            if layers.depth[py, px] < z:
                continue
            u, v = (x - columns * 0.5) / eye.focal, (eye.horizon - y) / eye.focal
            height = eye.height + v * z
            shade = 1.0 + solids.grain[k] * (value_noise(u * z * 60.0 + z * 23.0, height * 160.0) - 0.5)
            r, g, b = solids.colour[k, 0] * shade, solids.colour[k, 1] * shade, solids.colour[k, 2] * shade
            glow = solids.glow[k]
            if glow <= 0.0:
                r, g, b = lit(light, (r, g, b), nx, ny, nz, LIT)
            else:
                r, g, b = r * glow, g * glow, b * glow
            colour = hazed(light, (r, g, b), u, z * math.sqrt(1.0 + u * u + v * v), 0.5 * (height + eye.height))
            layers.colour[py, px, 0], layers.colour[py, px, 1], layers.colour[py, px, 2] = colour
            layers.label[py, px], layers.depth[py, px] = solids.label[k], z
            layers.normal[py, px, 0], layers.normal[py, px, 1], layers.normal[py, px, 2] = nx, ny, nz


@compiled
def draw_solids(solids: Solids, light: Light, eye: Eye, layers: Layers) -> None:
    """Draw all triangles where nothing nearer stands."""
    for k in range(solids.corners.shape[0]):
        _draw_triangle(solids, k, light, eye, layers)
