"""The land sampled on a perspective grid: one column of samples for every column of pixels.

Samples of a column lie on the ray x = slope · z at distances that grow by a constant factor, so nearness is fine and
distance coarse, as the eye sees it. Arrays are indexed [column, step].
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.jit import compiled
from hackamore.worlds.land import Land, forest_cover, ground_height, octaves_at
from hackamore.worlds.light import Light
from hackamore.worlds.noise import value_noise

FARTHEST = 45.0
Floats = NDArray[np.float32]


class Grid(NamedTuple):
    """Samples of the land; heights in world units, normals in world axes, forest and sunlight 0 to 1."""

    distances: NDArray[np.float64]
    first_slope: float
    slope_step: float
    heights: Floats
    normals: Floats
    forest: Floats
    sunlight: Floats


@compiled
def _sample_heights(
    land: Land, distances: NDArray[np.float64], first: float, step: float, pixel: float, heights: Floats
) -> None:
    columns, steps = heights.shape
    for j in range(steps):
        z = distances[j]
        octaves = octaves_at(land, z, pixel)
        for i in range(columns):
            heights[i, j] = ground_height(land, (first + step * i) * z, z, octaves)


@compiled
def _sample_normals(
    distances: NDArray[np.float64],
    first: float,
    step: float,
    heights: Floats,
    forest: Floats,
    bare: bool,
    normals: Floats,
) -> None:
    """Central differences across columns and along them; only where forest stands unless ``bare``."""
    columns, steps = heights.shape
    for i in range(columns):
        slope = first + step * i
        left, right = max(i - 1, 0), min(i + 1, columns - 1)
        for j in range(steps):
            if not bare and forest[i, j] <= 0.02:
                continue
            near, far = max(j - 1, 0), min(j + 1, steps - 1)
            by_x = (heights[right, j] - heights[left, j]) / ((right - left) * step * distances[j])
            along = (heights[i, far] - heights[i, near]) / (distances[far] - distances[near])
            by_z = along - slope * by_x
            inverse = 1.0 / math.sqrt(1.0 + by_x * by_x + by_z * by_z)
            normals[i, j, 0] = -by_x * inverse
            normals[i, j, 1] = inverse
            normals[i, j, 2] = -by_z * inverse


@compiled
def _grow_forest(
    land: Land,
    distances: NDArray[np.float64],
    first: float,
    step: float,
    pixel: float,
    heights: Floats,
    normals: Floats,
    forest: Floats,
) -> None:
    """Forest cover from the bare ground, then raise the ground by a lumpy canopy."""
    columns, steps = heights.shape
    for i in range(columns):
        slope = first + step * i
        for j in range(steps):
            z = distances[j]
            x = slope * z
            cover = forest_cover(land, x, z, heights[i, j], normals[i, j, 1])
            forest[i, j] = cover
            if cover > 0.02:
                near = min(1.0, 0.02 / (z * pixel))
                crowns = value_noise(x * 38.0 + 3.0, z * 38.0) * 0.7 + value_noise(x * 83.0, z * 83.0 + 9.0) * 0.3
                heights[i, j] += cover * (0.016 + 0.032 * crowns * near)


@compiled
def _cast_shadows(
    land: Land,
    light: Light,
    distances: NDArray[np.float64],
    first: float,
    step: float,
    heights: Floats,
    stride: int,
    sunlight: Floats,
) -> None:
    """March from every ``stride``-th sample towards the sun; the nearest miss gives a soft edge."""
    columns, steps = heights.shape
    nearest = distances[0]
    per_log = (steps - 1) / math.log(distances[steps - 1] / nearest)
    sun_y = max(light.sun_y, 0.04)
    for i in range(0, columns, stride):
        for j in range(0, steps, stride):
            z = distances[j]
            x = (first + step * i) * z
            h = max(heights[i, j], land.water_level)
            t = 0.03 * z + 0.01
            clear = 1.0
            for _ in range(20):
                sz = z + light.sun_z * t
                if sz <= nearest:
                    break
                column = ((x + light.sun_x * t) / sz - first) / step
                row = math.log(sz / nearest) * per_log
                if column < 0.0 or column > columns - 1.01 or row > steps - 1.01:
                    break
                gap = h + sun_y * t + 0.004 - heights[int(column), int(row)]
                clear = min(clear, 0.5 + 6.5 * gap / t)
                if clear <= 0.0:
                    break
                t *= 1.3
            clear = min(max(clear, 0.0), 1.0)
            clear = clear * clear * (3.0 - 2.0 * clear)
            sunlight[i : i + stride, j : j + stride] = clear


def build_grid(land: Land, light: Light, nearest: float, focal: float, width: int, margin: int, steps: int) -> Grid:
    """Sample the land for a picture ``width`` pixels wide with ``margin`` more columns on either side.

    ``focal`` is the focal length in pixels; column ``margin`` of the grid is the picture's first.
    """
    distances = np.geomspace(nearest, FARTHEST, steps)
    columns = width + 2 * margin
    step, pixel = 1.0 / focal, 1.0 / focal
    first = -(width / 2 + margin - 0.5) / focal
    heights = np.empty((columns, steps), np.float32)
    normals = np.empty((columns, steps, 3), np.float32)
    forest = np.zeros((columns, steps), np.float32)
    sunlight = np.empty((columns, steps), np.float32)
    _sample_heights(land, distances, first, step, pixel, heights)
    _sample_normals(distances, first, step, heights, forest, True, normals)
    if land.forest > 0.0:
        _grow_forest(land, distances, first, step, pixel, heights, normals, forest)
        _sample_normals(distances, first, step, heights, forest, False, normals)
    _cast_shadows(land, light, distances, first, step, heights, max(2, width // 170), sunlight)
    return Grid(distances, first, step, heights, normals, forest, sunlight)
