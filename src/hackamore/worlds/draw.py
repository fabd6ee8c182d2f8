"""Draws a grid of land, its water and the sky: front to back, column by column, each pixel exactly once."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.grid import Floats, Grid
from hackamore.worlds.jit import compiled
from hackamore.worlds.land import Land
from hackamore.worlds.light import Colour, Light
from hackamore.worlds.materials import CLOUD, SKY, WATER, lit, material
from hackamore.worlds.noise import fbm
from hackamore.worlds.sky import full_sky, hazed

NOTHING = 1e6
"""Depth of sky and cloud inside compiled code, which cannot hold infinities."""


class Eye(NamedTuple):
    """Viewer and picture plane, in pixels but for the height.

    A pixel (px, py) looks along (px + ½ - width/2, horizon - py - ½, focal).
    """

    height: float
    focal: float
    horizon: float


class Layers(NamedTuple):
    """Everything known of every pixel: linear colour, class, depth along z, normal in world axes."""

    colour: Floats
    label: NDArray[np.uint8]
    depth: Floats
    normal: Floats


@compiled
def _find_surfaces(heights: Floats, distances: NDArray[np.float64], level: float, eye: Eye, hits: Floats) -> None:
    """Fractional grid step at which each pixel of a column (bottom last) first meets land or water; -1: never."""
    steps = heights.shape[0]
    row = hits.shape[0] - 1
    hits[:] = -1.0
    before, highest = 0.0, -1e9
    for j in range(steps):
        top = max(heights[j], level)
        slope = (top - eye.height) / distances[j]
        while row >= 0:
            v = (eye.horizon - row - 0.5) / eye.focal
            if v > slope or (j > 0 and slope <= highest):
                break
            t = 1.0
            if j > 0:
                above = eye.height + v * distances[j - 1] - before
                below = eye.height + v * distances[j] - top
                t = min(above / (above - below), 1.0) if above > 0.0 and above - below > 1e-12 else 0.0
            hits[row] = max(j - 1 + t, 0.0)
            row -= 1
        highest = max(highest, slope)
        before = top
        if row < 0:
            break


@compiled
def _ground_colour(
    land: Land, light: Light, grid: Grid, eye: Eye, i: int, j: int, t: float, z: float, height: float
) -> tuple[float, float, float, int, float, float, float]:
    """Lit and hazed colour, class and normal of the land between steps j and j + 1 of column i."""
    u = grid.first_slope + grid.slope_step * i
    s = 1.0 - t
    nx = grid.normals[i, j, 0] * s + grid.normals[i, j + 1, 0] * t
    ny = grid.normals[i, j, 1] * s + grid.normals[i, j + 1, 1] * t
    nz = grid.normals[i, j, 2] * s + grid.normals[i, j + 1, 2] * t
    unit = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
    nx, ny, nz = nx * unit, ny * unit, nz * unit
    forest = grid.forest[i, j] * s + grid.forest[i, j + 1] * t
    sunlit = grid.sunlight[i, j] * s + grid.sunlight[i, j + 1] * t
    flatness = ny if forest < 0.02 else max(ny, 0.8)
    r, g, b, label = material(land, u * z, z, height, flatness, forest, 1.0 / eye.focal)
    colour = lit(light, (r, g, b), nx, ny, nz, sunlit)
    rise = (height - eye.height) / z
    distance = z * math.sqrt(1.0 + u * u + rise * rise)
    colour = hazed(light, colour, u, distance, 0.5 * (height + eye.height))
    return colour[0], colour[1], colour[2], label, nx, ny, nz


@compiled
def _water_colour(
    land: Land, light: Light, grid: Grid, eye: Eye, i: int, v: float, z: float, bed: float, octaves: float
) -> Colour:
    """Water seen along slope ``v``: what it mirrors in this column, over its own depth's colour."""
    u = grid.first_slope + grid.slope_step * i
    x = u * z
    near = min(1.0, 0.03 * eye.focal / z)
    wave = light.waves * (fbm(x * 7.0, z * 14.0, 2.0) * 0.55 * near + fbm(x * 1.3, z * 2.6, 2.0) * 0.35)
    rise = max(-v + wave * 0.35 * (0.05 - v), 0.002)
    distances = grid.distances
    steps = distances.shape[0]
    first = int(math.log(z / distances[0]) / math.log(distances[1] / distances[0])) + 1
    hit = -1
    for j in range(max(first, 0), steps - 1):
        h = grid.heights[i, j]
        if h > land.water_level and h > land.water_level + rise * (distances[j] - z):
            hit = j
            break
    if hit >= 0:
        r, g, b, _, _, _, _ = _ground_colour(
            land, light, grid, eye, i, hit, 0.0, distances[hit], float(grid.heights[i, hit])
        )
    else:
        inverse = 1.0 / math.sqrt(1.0 + u * u + rise * rise)
        r, g, b, _ = full_sky(light, u * inverse, rise * inverse, inverse, 0.6, octaves)
    facing = -v / math.sqrt(1.0 + u * u + v * v)
    glance = (1.0 - facing) * (1.0 - facing)
    mirror = min(0.05 + 0.95 * glance * glance, 0.92)
    shallow = math.exp(-max(land.water_level - bed, 0.0) * 30.0)
    sun, ambient, deep, glint = light.sun, light.ambient, light.deep_water, max(wave, 0.0) * 0.25
    steep = max(light.sun_y, 0.1)
    own_r = mix_water(deep[0], 0.40, shallow) * (sun[0] * steep * 1.2 + ambient[0])
    own_g = mix_water(deep[1], 0.40, shallow) * (sun[1] * steep * 1.2 + ambient[1])
    own_b = mix_water(deep[2], 0.30, shallow) * (sun[2] * steep * 1.2 + ambient[2])
    colour = (
        own_r + (r - own_r) * mirror + glint * ambient[0],
        own_g + (g - own_g) * mirror + glint * ambient[1],
        own_b + (b - own_b) * mirror + glint * ambient[2],
    )
    return hazed(light, colour, u, z * math.sqrt(1.0 + u * u + v * v), 0.5 * (land.water_level + eye.height))


@compiled
def mix_water(deep: float, bed: float, shallow: float) -> float:
    """Colour of water over its bed; even the shallowest is half water."""
    return deep + (0.45 * bed - 0.45 * deep) * shallow


@compiled
def draw_land(land: Land, light: Light, grid: Grid, eye: Eye, margin: int, octaves: float, layers: Layers) -> None:
    """Fill the layers with sky, water and land; ``octaves`` is the detail of clouds."""
    rows, columns = layers.label.shape
    hits = np.empty(rows, np.float32)
    level, distances = land.water_level, grid.distances
    for px in range(columns):
        i = px + margin
        u = grid.first_slope + grid.slope_step * i
        _find_surfaces(grid.heights[i], distances, level, eye, hits)
        for py in range(rows):
            v = (eye.horizon - py - 0.5) / eye.focal
            if hits[py] < 0.0:
                inverse = 1.0 / math.sqrt(1.0 + u * u + v * v)
                r, g, b, alpha = full_sky(light, u * inverse, v * inverse, inverse, 1.0, octaves)
                label, z, nx, ny, nz = CLOUD if alpha > 0.5 else SKY, NOTHING, 0.0, 0.0, 0.0
            else:
                j = min(int(hits[py]), distances.shape[0] - 2)
                t = hits[py] - j
                z = distances[j] + (distances[j + 1] - distances[j]) * t
                height = grid.heights[i, j] + (grid.heights[i, j + 1] - grid.heights[i, j]) * t
                if height <= level + 1e-5 and v < -1e-4:
                    z = (eye.height - level) / -v
                    r, g, b = _water_colour(land, light, grid, eye, i, v, z, height, min(octaves, 3.0))
                    label, nx, ny, nz = WATER, 0.0, 1.0, 0.0
                else:
                    r, g, b, label, nx, ny, nz = _ground_colour(land, light, grid, eye, i, j, t, z, height)
            layers.colour[py, px, 0], layers.colour[py, px, 1], layers.colour[py, px, 2] = r, g, b
            layers.label[py, px], layers.depth[py, px] = label, z
            layers.normal[py, px, 0], layers.normal[py, px, 1], layers.normal[py, px, 2] = nx, ny, nz
