"""A quick look at a land from the viewer's place, to choose between candidates before anything is drawn."""

from __future__ import annotations

import math

from hackamore.worlds.jit import compiled
from hackamore.worlds.land import Land, forest_cover, ground_height

COLUMNS, STEPS, DETAIL = 26, 60, 5.0


@compiled
def standing_height(land: Land, reach: float) -> float:
    """Height the viewer stands on: the highest ground or water within ``reach`` ahead."""
    highest = land.water_level if land.water_level > -50.0 else -100.0
    for k in range(9):
        highest = max(highest, ground_height(land, 0.0, reach * k / 8.0 + 0.05, 6.0))
    return highest


@compiled
def look(land: Land, eye: float, nearest: float, half_width: float) -> tuple[float, float, float, float, float]:
    """Skyline seen from height ``eye``: highest, mean and spread (slopes), share of the ground that is water, near top.

    Slopes are rise over distance, 0 at the horizon; the near top is the steepest slope to anything within 2.5.
    """
    highest, total, squares, water, ground, near_top = -9.0, 0.0, 0.0, 0.0, 0.0, -9.0
    growth = math.exp(math.log(45.0 / nearest) / (STEPS - 1))
    for i in range(COLUMNS):
        u = half_width * (2.0 * (i + 0.5) / COLUMNS - 1.0)
        top, z = -eye, nearest
        first = True
        for _ in range(STEPS):
            h = ground_height(land, u * z, z, DETAIL)
            wet = h <= land.water_level
            slope = (max(h, land.water_level) - eye) / z
            if first:
                top, first = slope, False
            elif slope > top:
                ground += slope - top
                if wet:
                    water += slope - top
                top = slope
            if z < 2.5:
                near_top = max(near_top, slope)
            z *= growth
        highest = max(highest, top)
        total += top
        squares += top * top
    mean = total / COLUMNS
    return highest, mean, math.sqrt(max(squares / COLUMNS - mean * mean, 0.0)), water / max(ground, 1e-6), near_top


@compiled
def standing_room(land: Land, eye: float, nearest: float, half_width: float) -> float:
    """Share of the near ground, 0 to 1, on which people could stand: dry, even, open, and not hidden from the eye."""
    good, count = 0.0, 0
    for i in range(9):
        u = half_width * 0.7 * (2.0 * (i + 0.5) / 9 - 1.0)
        steepest, z = -1e9, nearest * 1.05
        for _ in range(7):
            h = ground_height(land, u * z, z, 6.0)
            slope = (h - eye) / z
            dx = (ground_height(land, u * z + 0.04 * z, z, 6.0) - h) / (0.04 * z)
            dz = (ground_height(land, u * z, z * 1.04, 6.0) - h) / (0.04 * z)
            flatness = 1.0 / math.sqrt(1.0 + dx * dx + dz * dz)
            count += 1
            if h > land.water_level + 0.012 and flatness > 0.9 and slope > steepest - 0.02 and slope < -0.12:
                good += 1.0 - forest_cover(land, u * z, z, h, flatness)
            steepest = max(steepest, slope)
            z *= 1.2
    return good / count
