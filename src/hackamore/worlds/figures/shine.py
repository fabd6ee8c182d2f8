"""Figures lit by the sun and sky of a land, and the shadows they throw on it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.draw import NOTHING, Eye, Layers
from hackamore.worlds.figures.parts import PERSON, Casters, Parts
from hackamore.worlds.figures.rays import shaded_from
from hackamore.worlds.grid import Grid
from hackamore.worlds.jit import compiled
from hackamore.worlds.light import Light
from hackamore.worlds.materials import WATER, lit
from hackamore.worlds.noise import value_noise
from hackamore.worlds.sky import hazed

Floats = NDArray[np.float64]


@compiled
def sunlight_at(grid: Grid, x: float, z: float) -> float:
    """How much sun reaches the ground at (x, z), 0 to 1."""
    distances = grid.distances
    column = int((x / z - grid.first_slope) / grid.slope_step)
    row = int(math.log(z / distances[0]) / math.log(distances[1] / distances[0]))
    i = min(max(column, 0), grid.sunlight.shape[0] - 1)
    return float(grid.sunlight[i, min(max(row, 0), distances.shape[0] - 1)])


@compiled
def light_figures(
    parts: Parts,
    those: Casters,
    light: Light,
    eye: Eye,
    feet: Floats,
    sunlit: Floats,
    layers: Layers,
    which: NDArray[np.int16],
) -> None:
    """Light every pixel that a part covers; ``feet`` holds x, y, z and height of every figure."""
    rows, columns = layers.label.shape
    for py in range(rows):
        v = (eye.horizon - py - 0.5) / eye.focal
        for px in range(columns):
            k = which[py, px]
            if k < 0:
                continue
            u = (px + 0.5 - columns * 0.5) / eye.focal
            z = float(layers.depth[py, px])
            x, y = u * z, eye.height + v * z
            owner = parts.owner[k]
            tall = feet[owner, 3]
            nx, ny, nz = (
                float(layers.normal[py, px, 0]),
                float(layers.normal[py, px, 1]),
                float(layers.normal[py, px, 2]),
            )
            facing = nx * light.sun_x + ny * light.sun_y + nz * light.sun_z
            sun = sunlit[owner]
            if facing > 0.0 and sun > 0.02:
                off = 0.008 * tall
                if shaded_from(
                    those, x + nx * off, y + ny * off, z + nz * off,
                    light.sun_x, light.sun_y, light.sun_z, 6.0 * tall, 0.002 * tall,
                ):  # fmt: skip
                    sun *= 0.15
            low = min(max((y - feet[owner, 1]) / (0.35 * tall), 0.0), 1.0)
            shade = 0.95 + 0.25 * low
            if parts.label[k] == PERSON:
                fold = value_noise((x - nz * 0.3 * tall) / tall * 24.0 + 9.0 * k, y / tall * 13.0)
                shade *= 0.93 + 0.14 * fold
            r, g, b = (
                layers.colour[py, px, 0] * shade,
                layers.colour[py, px, 1] * shade,
                layers.colour[py, px, 2] * shade,
            )
            colour = lit(light, (r, g, b), nx, ny, nz, sun)
            distance = z * math.sqrt(1.0 + u * u + v * v)
            colour = hazed(light, colour, u, distance, 0.5 * (y + eye.height))
            layers.colour[py, px, 0], layers.colour[py, px, 1], layers.colour[py, px, 2] = colour


@compiled
def _contact(contacts: Floats, x: float, z: float) -> float:
    """How dark the ground at (x, z) is for what touches it, 0 to 1."""
    dark = 0.0
    for k in range(contacts.shape[0]):
        dx, dz, radius = x - contacts[k, 0], z - contacts[k, 2], contacts[k, 3]
        d = (dx * dx + dz * dz) / (radius * radius)
        if d < 6.0:
            dark = max(dark, 0.62 * math.exp(-d))
    return dark


@compiled
def _covered(those: Casters, light: Light, feet: Floats, sunlit: Floats, x: float, y: float, z: float) -> float:
    """How much of the sun figures hide from a point of the ground, 0 to 1; less the farther they are."""
    flat = math.sqrt(light.sun_x * light.sun_x + light.sun_z * light.sun_z)
    covered = 0.0
    for f in range(feet.shape[0]):
        tall = feet[f, 3]
        cx, cz = feet[f, 0] - x, feet[f, 2] - z
        along = (cx * light.sun_x + cz * light.sun_z) / max(flat, 1e-6)
        aside = cx * cx + cz * cz - along * along
        if sunlit[f] < 0.05 or along < -0.6 * tall or along > 5.0 * tall or aside > 0.36 * tall * tall:
            continue
        if shaded_from(those, x, y + 0.006 * tall, z, light.sun_x, light.sun_y, light.sun_z, 9.0 * tall, 0.0):
            covered = max(covered, sunlit[f] * (1.0 - min(max(along / (5.0 * tall), 0.0), 1.0)))
    return covered


@compiled
def shade_ground(
    those: Casters, light: Light, eye: Eye, feet: Floats, sunlit: Floats, contacts: Floats, soft: float,
    layers: Layers, which: NDArray[np.int16],
) -> None:  # fmt: skip
    """Darken the ground where figures stand between it and the sun, and a little round what touches it.

    ``contacts`` holds x, y, z and radius of what touches the ground; ``soft`` is 1 under a clouded sky, when shadows
    are faint.
    """
    rows, columns = layers.label.shape
    first = max(int(eye.horizon - eye.focal * 0.2), 0)
    for py in range(first, rows):
        v = (eye.horizon - py - 0.5) / eye.focal
        for px in range(columns):
            z = float(layers.depth[py, px])
            if which[py, px] >= 0 or z > NOTHING * 0.5 or layers.label[py, px] == WATER:
                continue
            u = (px + 0.5 - columns * 0.5) / eye.focal
            x, y = u * z, eye.height + v * z
            dark, covered = _contact(contacts, x, z), (1.0 - soft) * _covered(those, light, feet, sunlit, x, y, z)
            if dark + covered <= 0.003:
                continue
            nx, ny, nz = (
                float(layers.normal[py, px, 0]),
                float(layers.normal[py, px, 1]),
                float(layers.normal[py, px, 2]),
            )
            sunny = lit(light, (1.0, 1.0, 1.0), nx, ny, nz, 1.0)
            gloomy = lit(light, (1.0, 1.0, 1.0), nx, ny, nz, 0.0)
            for c in range(3):
                ratio = min(gloomy[c] / max(sunny[c], 1e-6), 1.0)
                layers.colour[py, px, c] *= (1.0 + (ratio - 1.0) * covered) * (1.0 - dark)
