"""What the ground is made of at a place: its colour under white light, and its class.

Materials are laid over one another (ground, rock, shore, road, forest, snow); the class is that of the topmost
layer that covers more than half.
"""

from __future__ import annotations

import math

from hackamore.core.palette import CLASSES
from hackamore.worlds.jit import compiled
from hackamore.worlds.land import (
    AUTUMN,
    CANYON,
    COAST,
    DUNES,
    HILLS,
    ISLANDS,
    MOUNTAINS,
    PLAINS,
    SPRING,
    SUMMER,
    VOLCANO,
    WINTER,
    Land,
    fall_share,
    way,
)
from hackamore.worlds.light import Colour, Light
from hackamore.worlds.noise import mix, smoothstep, value_noise

SKY, CLOUD, WATER, SAND, GRASS, FOREST, ROCK, SNOW, TREE, EARTH, ROAD = range(11)
FLOWER = CLASSES.index("flower")

Material = tuple[float, float, float, int]


@compiled
def dune_sand(land: Land, x: float, z: float, patch: float, grain: float, near: float) -> Material:
    """Rippled desert sand, from pale gold to red."""
    ripple = math.sin((z * 0.9 + x * 0.35) * 110.0 + 6.0 * patch) * 0.035 * near
    r = mix(0.62, 0.64, land.red) + 0.1 * grain + ripple
    g = mix(0.43, 0.29, land.red) + 0.08 * grain + ripple
    b = mix(0.23, 0.12, land.red) + 0.05 * grain + 0.6 * ripple
    return r, g, b, SAND


@compiled
def mesa_rock(land: Land, height: float, flatness: float, patch: float, grain: float) -> Material:
    """Banded red rock on the walls, red earth on the flats."""
    if flatness >= 0.86:
        if land.forest > 0.0 and flatness > 0.9 and patch + grain * 0.8 > 0.62:
            return 0.30 + 0.2 * grain, 0.34 + 0.2 * grain, 0.14, GRASS
        return 0.66 + 0.24 * grain, 0.38 + 0.16 * grain, 0.20 + 0.1 * grain, EARTH
    y = height * 15.0 + 1.2 * patch + 0.5 * grain
    wide, narrow = value_noise(y, 3.7), value_noise(y * 3.1, 9.2)
    return 0.56 + 0.26 * wide - 0.12 * narrow, 0.25 + 0.20 * wide - 0.04 * narrow, 0.13 + 0.13 * wide, ROCK


@compiled
def flower_colour(hue: float, patch: float) -> Colour:
    """Lavender, poppies, buttercups or a mixture of pinks."""
    if hue < 0.25:
        return 0.42, 0.24, 0.66
    if hue < 0.5:
        return 0.80, 0.12, 0.07
    if hue < 0.75:
        return 0.88, 0.68, 0.06
    return 0.85, 0.30 + 0.3 * patch, 0.50


@compiled
def meadow(land: Land, x: float, z: float, patch: float, grain: float) -> Material:
    """Grass of the season, with fields of flowers."""
    if land.season == SPRING:
        r, g, b = 0.20, 0.375, 0.085
    elif land.season == SUMMER:
        r, g, b = 0.165, 0.30, 0.075
    elif land.season == AUTUMN:
        r, g, b = 0.46, 0.33, 0.11
    else:
        r, g, b = 0.33, 0.32, 0.20
    shade = 0.78 + 0.42 * patch + 0.85 * grain
    if land.flowers > 0.0 and z < 7.0:
        field = value_noise(x * 1.1 + land.phase, z * 0.8 + 5.0) + 0.35 * grain
        if field > 1.0 - land.flowers:
            fr, fg, fb = flower_colour(land.flower_hue, patch)
            bright = 0.8 + 0.9 * grain
            return fr * bright, fg * bright, fb * bright, FLOWER
    return r * shade, g * shade, b * shade, GRASS


@compiled
def bare_rock(land: Land, x: float, z: float, height: float, grain: float) -> Colour:
    """Grey rock, or dark basalt on a volcano."""
    if land.kind == VOLCANO:
        shade = 0.72 + 0.5 * value_noise(x * 2.2, z * 2.2 + height) + 0.8 * grain
        return 0.25 * shade, 0.20 * shade, 0.18 * shade
    shade = 0.72 + 0.5 * value_noise(height * 14.0 + x, z * 1.5) + 0.8 * grain
    if land.kind == COAST or land.kind == ISLANDS:
        return 0.42 * shade, 0.37 * shade, 0.31 * shade
    return 0.36 * shade, 0.325 * shade, 0.295 * shade


@compiled
def rock_share(land: Land, height: float, flatness: float, patch: float, grain: float) -> float:
    """How much of a place is bare rock, 0 to 1: the steep, the high, and the upper cone."""
    limit = 0.80
    if land.kind == HILLS:
        limit = 0.66
    elif land.kind == VOLCANO:
        limit = 0.9
    share = 1.0 - smoothstep(limit - 0.05, limit + 0.05, flatness + 0.10 * grain + 0.05 * (patch - 0.5))
    if land.kind == MOUNTAINS or land.kind == PLAINS:
        high = smoothstep(land.snow_line * 0.45, land.snow_line * 0.75, height + 0.25 * (patch - 0.5) * land.snow_line)
        share = max(share, high * 0.9)
    elif land.kind == VOLCANO:
        share = max(share, smoothstep(0.28, 0.45, height / land.amplitude + 0.1 * (patch - 0.5)))
    return share


@compiled
def foliage(land: Land, x: float, z: float, near: float) -> Colour:
    """Canopy colour: darker between crowns, of the season."""
    crown = 0.55 + 0.9 * value_noise(x * 38.0 + 3.0, z * 38.0) * near + 0.2 * (1.0 - near)
    kind = value_noise(x * 9.0 + 4.0, z * 9.0)
    if land.season == AUTUMN:
        if kind > 0.62:
            return 0.60 * crown, 0.13 * crown, 0.04 * crown
        if kind > 0.42:
            return 0.68 * crown, 0.31 * crown, 0.04 * crown
        if kind > 0.3:
            return 0.66 * crown, 0.49 * crown, 0.07 * crown
        return 0.12 * crown, 0.23 * crown, 0.06 * crown
    if land.season == SPRING:
        return (0.09 + 0.05 * kind) * crown, (0.22 + 0.08 * kind) * crown, 0.055 * crown
    if land.season == WINTER:
        return 0.06 * crown, 0.115 * crown, 0.075 * crown
    return (0.05 + 0.03 * kind) * crown, (0.145 + 0.05 * kind) * crown, 0.05 * crown


@compiled
def snow_share(land: Land, height: float, flatness: float, patch: float, grain: float, forest: float) -> float:
    """How much snow lies, 0 to 1: above the snow line, and in winter wherever it holds."""
    line = land.snow_line
    lies = smoothstep(line - 0.09, line + 0.09, height + 0.35 * (patch - 0.5) + 0.12 * grain)
    share = lies * smoothstep(0.58, 0.74, flatness + 0.06 * grain)
    if land.season == WINTER:
        holds = smoothstep(0.56, 0.72, flatness + 0.05 * grain)
        share = max(share, holds * (0.16 if forest > 0.4 else 0.97))
    return share


@compiled
def laid_over(below: Material, r: float, g: float, b: float, share: float, label: int) -> Material:
    """A layer that hides ``share`` of what is below it; it gives the class when that is more than half."""
    return mix(below[0], r, share), mix(below[1], g, share), mix(below[2], b, share), label if share > 0.5 else below[3]


@compiled
def bare_ground(
    land: Land, x: float, z: float, height: float, flatness: float, patch: float, grain: float, close: float
) -> Material:
    """Sand, earth, grass or rock, before shores, roads, forest and snow."""
    if land.kind == DUNES:
        return dune_sand(land, x, z, patch, grain, close)
    if land.kind == CANYON:
        return mesa_rock(land, height, flatness, patch, grain)
    grass = meadow(land, x, z, patch, grain)
    rock = rock_share(land, height, flatness, patch, grain)
    if rock <= 0.0:
        return grass
    r, g, b = bare_rock(land, x, z, height, grain)
    return laid_over(grass, r, g, b, rock, ROCK)


@compiled
def with_shore(land: Land, below: Material, over: float, flatness: float, patch: float, grain: float) -> Material:
    """Sand or gravel where the ground is little ``over`` the water; round an oasis, grass."""
    width = 0.07 if land.kind == ISLANDS or land.kind == COAST else 0.035
    share = 1.0 - smoothstep(width * 0.7, width, over + 0.02 * (patch - 0.5) + 0.01 * grain)
    share *= smoothstep(0.7, 0.85, flatness)
    if land.kind == DUNES and over > 0.015:
        return laid_over(below, 0.25, 0.42, 0.10, share, GRASS)
    pale = land.pale_shore
    r, g, b = mix(0.38, 0.76, pale), mix(0.34, 0.64, pale), mix(0.29, 0.42, pale)
    return laid_over(below, r + 0.2 * grain, g + 0.2 * grain, b + 0.15 * grain, share, SAND)


@compiled
def material(land: Land, x: float, z: float, height: float, flatness: float, forest: float, pixel: float) -> Material:
    """Colour under white light (linear) and class of the ground; ``pixel`` is the angle of one pixel."""
    near = min(1.0, 0.02 / (z * pixel))
    close = min(1.0, 0.005 / (z * pixel))
    patch = value_noise(x * 3.1 + 1.0, z * 3.1)
    grain = 0.5 * (value_noise(x * 21.0, z * 21.0) - 0.5) * near
    if close > 0.15:
        grain += 0.4 * (value_noise(x * 80.0, z * 80.0) - 0.5) * close
    ground = bare_ground(land, x, z, height, flatness, patch, grain, close)
    over = height - land.water_level
    if over < 0.3 and land.kind != CANYON:
        ground = with_shore(land, ground, over, flatness, patch, grain)
    if land.road > 0.0:
        off = abs(x - way(land, z)) / land.road
        if off < 1.2:
            share = 1.0 - smoothstep(0.9, 1.1, off + 0.3 * grain)
            ground = laid_over(ground, 0.52 + 0.3 * grain, 0.42 + 0.25 * grain, 0.30 + 0.2 * grain, share, ROAD)
    if forest > 0.01:
        r, g, b = foliage(land, x, z, near)
        ground = laid_over(ground, r, g, b, min(1.0, max(0.0, forest * 2.0 - 0.3)), FOREST)
    if land.season == WINTER or height > land.snow_line - 0.4:
        share = snow_share(land, height, flatness, patch, grain, forest)
        light = 1.0 + 0.25 * grain + 0.06 * (patch - 0.5)
        ground = laid_over(ground, 0.60 * light, 0.64 * light, 0.72 * light, share, SNOW)
    if land.fall_width > 0.0:
        share = fall_share(land, x, z, height)
        if share > 0.0:
            streak = 0.55 + 0.4 * value_noise((x / z - land.fall_aim) / land.fall_width * 4.0, height * 5.0)
            ground = laid_over(ground, 0.86 * streak, 0.95 * streak, 1.05 * streak, share, WATER)
    return ground


@compiled
def lit(light: Light, colour: Colour, nx: float, ny: float, nz: float, sunlit: float) -> Colour:
    """Colour of a matt surface of normal (nx, ny, nz) with the sun, the sky and a little light bounced back."""
    facing = nx * light.sun_x + ny * light.sun_y + nz * light.sun_z
    direct = 2.1 * max(facing, 0.0) * sunlit + 0.075 * max(0.2 - facing * 0.3, 0.0)
    sky = 0.55 + 0.45 * ny
    s, a = light.sun, light.ambient
    return (
        max(colour[0], 0.0) * (s[0] * direct + a[0] * sky),
        max(colour[1], 0.0) * (s[1] * direct + a[1] * sky),
        max(colour[2], 0.0) * (s[2] * direct + a[2] * sky),
    )
