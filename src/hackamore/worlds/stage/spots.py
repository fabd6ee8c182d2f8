"""Light of a hall: spotlights with soft edges and shadows, their beams in the haze, and a faint glow everywhere."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.draw import Eye, Layers
from hackamore.worlds.figures.parts import BUILDING, PERSON, Casters, Parts
from hackamore.worlds.figures.rays import shaded_from
from hackamore.worlds.jit import compiled
from hackamore.worlds.light import Colour
from hackamore.worlds.noise import smoothstep, value_noise

Floats = NDArray[np.float64]
CURTAIN, BRICKS, PANELS = range(3)


class Spots(NamedTuple):
    """One row a lamp: place, unit direction, colour (times strength), cosines of the inner and outer edge of its cone;
    ``beam`` how strongly its way through the air shows."""

    place: Floats
    direction: Floats
    colour: Floats
    inner: Floats
    outer: Floats
    beam: Floats


@compiled
def _wall_shade(kind: int, x: float, y: float, tall: float) -> float:
    """Folds of a curtain, courses of bricks, or joints of panels."""
    a, b = x / tall, y / tall
    if kind == CURTAIN:
        fold = math.sin(a * 26.0 + 1.2 * math.sin(a * 7.0 + 0.4 * b))
        return 0.62 + 0.38 * fold
    if kind == BRICKS:
        row = math.floor(b * 11.0)
        across = a * 5.0 + 0.5 * (int(row) & 1)
        u, w = across - math.floor(across), b * 11.0 - row
        joint = 0.45 if u < 0.05 or w < 0.12 else 1.0
        return joint * (0.75 + 0.5 * value_noise(math.floor(across) * 1.7 + 3.0, row * 1.3))
    u, w = a * 1.6 - math.floor(a * 1.6), b * 1.6 - math.floor(b * 1.6)
    return 0.4 if u < 0.03 or w < 0.03 else 1.0


@compiled
def _beam(spots: Spots, k: int, eye: Eye, u: float, v: float, depth: float, tall: float) -> float:
    """How bright the beam of lamp ``k`` is along a pixel's ray, up to ``depth``: that of its nearest approach."""
    px, py, pz = spots.place[k, 0], spots.place[k, 1] - eye.height, spots.place[k, 2]
    dx, dy, dz = spots.direction[k, 0], spots.direction[k, 1], spots.direction[k, 2]
    rr, rd = u * u + v * v + 1.0, u * dx + v * dy + dz
    rp, dp = u * px + v * py + pz, dx * px + dy * py + dz * pz
    t = (rp - rd * dp) / max(rr - rd * rd, 1e-6)
    t = min(max(t, 0.0), depth)
    s = float(t * rd - dp)
    if s <= 0.0:
        return 0.0
    qx, qy, qz = u * t - px - dx * s, v * t - py - dy * s, t - pz - dz * s
    wide = 0.04 * tall + s * math.sqrt(1.0 / float(spots.outer[k] * spots.outer[k]) - 1.0) * 0.8
    near = (qx * qx + qy * qy + qz * qz) / (wide * wide)
    if near > 6.0:
        return 0.0
    return float(spots.beam[k]) * math.exp(-1.3 * near) * tall / (wide + 0.35 * tall) * math.exp(-0.5 * s / tall)


@compiled
def _spotlight(
    those: Casters, spots: Spots, x: float, y: float, z: float, nx: float, ny: float, nz: float, tall: float
) -> Colour:
    """Light that falls from all lamps on a point of normal n."""
    r, g, b, off = 0.0, 0.0, 0.0, 0.008 * tall
    for s in range(spots.inner.shape[0]):
        lx, ly, lz = spots.place[s, 0] - x, spots.place[s, 1] - y, spots.place[s, 2] - z
        distance = math.sqrt(lx * lx + ly * ly + lz * lz)
        lx, ly, lz = lx / distance, ly / distance, lz / distance
        along = -(lx * spots.direction[s, 0] + ly * spots.direction[s, 1] + lz * spots.direction[s, 2])
        facing = nx * lx + ny * ly + nz * lz
        if along <= spots.outer[s] or facing <= 0.0:
            continue
        reach = distance - 0.12 * tall
        if shaded_from(those, x + nx * off, y + ny * off, z + nz * off, lx, ly, lz, reach, 0.002 * tall):
            continue
        far = distance / tall
        power = facing * smoothstep(spots.outer[s], spots.inner[s], along) * 9.0 / (2.0 + far * far)
        r += spots.colour[s, 0] * power
        g += spots.colour[s, 1] * power
        b += spots.colour[s, 2] * power
    return r, g, b


@compiled
def light_hall(
    parts: Parts, those: Casters, spots: Spots, glow: Colour, wall: int, back: float, tall: float,
    eye: Eye, layers: Layers, which: NDArray[np.int16],
) -> None:  # fmt: skip
    """Light all pixels; ``glow`` is the light that comes from everywhere, ``back`` the depth of the wall."""
    rows, columns = layers.label.shape
    for py in range(rows):
        v = (eye.horizon - py - 0.5) / eye.focal
        for px in range(columns):
            u = (px + 0.5 - columns * 0.5) / eye.focal
            z = float(layers.depth[py, px])
            x, y = u * z, eye.height + v * z
            k = which[py, px]
            nx, ny, nz = (
                float(layers.normal[py, px, 0]),
                float(layers.normal[py, px, 1]),
                float(layers.normal[py, px, 2]),
            )
            own = 0.55 + 0.45 * ny + parts.glow[k]
            r, g, b = glow[0] * own, glow[1] * own, glow[2] * own
            if parts.glow[k] > 0.01:
                r, g, b = parts.glow[k], parts.glow[k], parts.glow[k]
            lr, lg, lb = _spotlight(those, spots, x, y, z, nx, ny, nz, tall)
            r, g, b = r + lr, g + lg, b + lb
            shade = 1.0
            if parts.label[k] == BUILDING and z > back - 1e-4 * tall and nz < -0.5:
                shade = _wall_shade(wall, x, y, tall)
            elif parts.label[k] == PERSON:
                shade = 0.93 + 0.14 * value_noise((x - nz * 0.3 * tall) / tall * 24.0 + 9.0 * k, y / tall * 13.0)
            r, g, b = (
                r * layers.colour[py, px, 0] * shade,
                g * layers.colour[py, px, 1] * shade,
                b * layers.colour[py, px, 2] * shade,
            )
            for s in range(spots.inner.shape[0]):
                if spots.beam[s] > 0.0:
                    bright = _beam(spots, s, eye, u, v, z, tall)
                    r += spots.colour[s, 0] * bright
                    g += spots.colour[s, 1] * bright
                    b += spots.colour[s, 2] * bright
            layers.colour[py, px, 0], layers.colour[py, px, 1], layers.colour[py, px, 2] = r, g, b
