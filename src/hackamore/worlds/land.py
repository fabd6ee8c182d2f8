"""The shape of the land: height above the datum as a function of place, and where forest grows.

World axes: x to the right, y up, z away from the viewer, who stands at x = z = 0. One unit is roughly 100 metres.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from hackamore.worlds.jit import compiled
from hackamore.worlds.noise import eroded, fbm, ridged, smoothstep, value_noise

MOUNTAINS, HILLS, DUNES, CANYON, ISLANDS, COAST, VOLCANO, PLAINS = range(8)
KINDS = ("mountains", "hills", "dunes", "canyon", "islands", "coast", "volcano", "plains")
SPRING, SUMMER, AUTUMN, WINTER = range(4)
SEASONS = ("spring", "summer", "autumn", "winter")
NO_WATER = -100.0
"""Water level of a land without water."""


class Land(NamedTuple):
    """Numbers that define one land; lengths in world units."""

    kind: int
    season: int
    offset_x: float
    offset_z: float
    amplitude: float
    frequency: float
    sharp: float = 0.0
    """1: ridged alpine crests; 0: eroded massifs."""
    rise: float = 8.0
    """Distance at which the land has risen to its full height; the foreground is calm."""
    valley: float = 0.0
    """0 to 1: how far the land sinks along the line x = aim · z."""
    aim: float = 0.0
    cone: float = 2.2
    """Steepness of the volcano."""
    centre: float = 10.0
    """Distance of the volcano."""
    water_level: float = NO_WATER
    lake_x: float = 0.0
    lake_z: float = 0.0
    lake_radius: float = 0.0
    river: float = 0.0
    """Half width of the river; 0: none."""
    road: float = 0.0
    """Half width of the road; 0: none."""
    bend: float = 0.5
    phase: float = 0.0
    coast: float = 0.0
    """Side slope of a coast: positive, land on the right."""
    snow_line: float = 100.0
    forest: float = 0.0
    """Share of the ground that forest wants, 0 to 1."""
    red: float = 0.0
    """0 to 1: how red desert sand is."""
    pale_shore: float = 1.0
    flowers: float = 0.0
    flower_hue: float = 0.0
    fall_aim: float = 0.0
    """The waterfall comes down along x = fall_aim · z."""
    fall_width: float = 0.0
    """Half width of the waterfall over its distance; 0: none."""
    fall_near: float = 0.0
    fall_top: float = 0.0
    """Height at which the waterfall begins, and the distance at which it ends."""


@compiled
def fall_share(land: Land, x: float, z: float, height: float) -> float:
    """How much of a place the waterfall covers, 0 to 1."""
    if land.fall_width <= 0.0 or z < land.fall_near or height > land.fall_top or height <= land.water_level:
        return 0.0
    drop = (land.fall_top - height) / max(land.fall_top - land.water_level, 0.1)
    off = abs(x / z - land.fall_aim - 0.35 * land.fall_width * math.sin(height * 5.0 + land.phase))
    return 1.0 - smoothstep(0.75, 1.1, off / (land.fall_width * (0.7 + 0.5 * min(drop, 1.0))))


@compiled
def octaves_at(land: Land, z: float, pixel: float) -> float:
    """Octaves of noise worth computing at distance ``z`` when a pixel spans the angle ``pixel``."""
    return min(max(math.log2(1.0 / (land.frequency * z * pixel * 1.5)), 2.0), 8.0)


@compiled
def way(land: Land, z: float) -> float:
    """x of the middle of the river or road at distance ``z``."""
    wind = math.sin(z * 0.9 + land.phase) * 0.35 + math.sin(z * 0.37 + land.phase * 1.7) * 0.8
    return land.aim * z + land.bend * wind * min(z * 0.5, 1.0)


@compiled
def mountain_height(land: Land, x: float, z: float, octaves: float) -> float:
    """Massif without foreground, about -0.3 to 1 of the amplitude."""
    if land.sharp > 0.5:
        return ridged(x * 0.75, z * 0.75, octaves) * 1.75 - 0.42
    return eroded(x, z, octaves) * 2.2 - 0.55


@compiled
def dune_height(x: float, z: float) -> float:
    """Two generations of sharp-crested, wind-bent waves, about 0 to 0.7."""
    bent_x = x + 1.2 * fbm(x * 0.6, z * 0.6, 3.0)
    bent_z = z * 1.7 + 1.2 * fbm(x * 0.6 + 7.0, z * 0.6 + 3.0, 3.0)
    large, small = 2.0 * value_noise(bent_x, bent_z) - 1.0, 2.0 * value_noise(bent_x * 2.3 + 5.0, bent_z * 2.3) - 1.0
    large, small = 1.0 - math.sqrt(large * large + 0.002), 1.0 - math.sqrt(small * small + 0.004)
    return 0.6 * large * large + 0.12 * small * small - 0.1 + 0.15 * fbm(x * 0.5, z * 0.5, 2.0)


@compiled
def mesa_height(x: float, z: float, octaves: float) -> float:
    """Two terraces with steep walls, about 0 to 1.1."""
    base = fbm(x, z, min(octaves, 7.0)) + 0.5
    steps = smoothstep(0.51, 0.555, base) * 0.62 + smoothstep(0.60, 0.635, base) * 0.42
    return steps + 0.22 * (base - 0.4)


@compiled
def volcano_height(land: Land, x: float, z: float, octaves: float) -> float:
    """A cone with concave flanks and a crater, in world units."""
    dx, dz = x - land.aim * land.centre, z - land.centre
    rough = fbm(x * land.frequency * 1.3 + land.offset_x, z * land.frequency * 1.3 + land.offset_z, octaves)
    r = math.sqrt(dx * dx + dz * dz) / (0.42 * land.centre) * (1.0 + 0.25 * rough)
    gully = value_noise(math.atan2(dx, -dz) * 5.0 + land.phase, r * 1.5) - 0.5
    r *= 1.0 + 0.22 * gully * smoothstep(0.1, 0.5, r)
    rim = 0.07 * land.cone
    cone = 1.25 * math.exp(-land.cone * max(r, rim))
    if r < rim:
        cone -= 0.22 * (1.0 - (r / rim) * (r / rim))
    return land.amplitude * (cone - 0.06 + 0.14 * rough * (0.3 + 0.7 * smoothstep(1.0, 8.0, z))) + 0.02


@compiled
def wild_height(land: Land, x: float, z: float, octaves: float) -> float:
    """Height before lakes, rivers and roads are laid into the land."""
    nx, nz = x * land.frequency + land.offset_x, z * land.frequency + land.offset_z
    a = land.amplitude
    ramp = 0.10 + 0.90 * smoothstep(land.rise * 0.25, land.rise, z)
    if land.valley > 0.0:
        ramp *= 1.0 - land.valley * (1.0 - smoothstep(0.0, 1.0, abs(x - land.aim * z) / (0.45 * z + 0.6)))
    if land.kind == MOUNTAINS:
        return a * mountain_height(land, nx, nz, octaves) * ramp + 0.04 * fbm(x * 1.5 + 9.0, z * 1.5, min(octaves, 4.0))
    if land.kind == HILLS:
        h = fbm(nx, nz, min(octaves, 4.0))
        return a * (0.9 * h + 0.12 + 0.3 * max(0.0, h)) * (0.35 + 0.65 * ramp)
    if land.kind == DUNES:
        return a * dune_height(nx, nz) * (0.3 + 0.7 * ramp)
    if land.kind == CANYON:
        return a * mesa_height(nx, nz, octaves) * ramp + 0.03 * fbm(x * 2.0, z * 2.0, min(octaves, 4.0))
    if land.kind == ISLANDS:
        return a * (eroded(nx, nz, octaves) * 2.0 - 0.62) * (0.25 + 0.75 * ramp)
    if land.kind == COAST:
        side = land.coast * (x - land.aim * z + 0.8 * fbm(z * 0.8 + land.phase, 3.3, 2.0))
        shelf = (
            0.45 * smoothstep(0.0, 0.5, side) + 0.35 * smoothstep(0.8, 2.6, side) - 0.3 * smoothstep(0.1, -0.4, side)
        )
        relief = eroded(nx, nz, octaves) * 1.7 - 0.25
        return a * (shelf * (0.35 + relief) * (0.5 + 0.5 * ramp) + 0.12 * (side > 0.0) * fbm(nx * 2.0, nz * 2.0, 3.0))
    if land.kind == VOLCANO:
        return volcano_height(land, x, z, octaves)
    far = smoothstep(9.0, 22.0, z)
    calm = 0.25 * a * fbm(nx * 0.9, nz * 0.9, min(octaves, 4.0)) * (0.4 + 0.6 * ramp)
    if far <= 0.0:
        return calm
    return calm + far * a * 1.2 * (mountain_height(land, nx * 0.9, nz * 0.9, octaves) + 0.35)


@compiled
def ground_height(land: Land, x: float, z: float, octaves: float) -> float:
    """Height of the bare ground (the bed, under water) at (x, z), without forest canopy."""
    h = wild_height(land, x, z, octaves)
    if land.lake_radius > 0.0:
        dx, dz = x - land.lake_x, (z - land.lake_z) * 0.9
        r = math.sqrt(dx * dx + dz * dz) / land.lake_radius
        if r < 2.5:
            r *= 1.0 + 0.55 * fbm(x * 0.8 + land.phase, z * 0.8, 3.0)
            basin = 1.0 - smoothstep(0.8, 1.5, r)
            h += (land.water_level - 0.1 - h) * basin
    if land.river > 0.0:
        off = abs(x - way(land, z)) / (land.river * (1.0 + 0.06 * z))
        if off < 6.0:
            bed = 1.0 - smoothstep(0.6, 1.8, off)
            plain = 1.0 - smoothstep(1.2, 6.0, off)
            h += (land.water_level + 0.05 - h) * plain * 0.9
            h -= 0.12 * bed
    elif land.road > 0.0:
        off = abs(x - way(land, z)) / land.road
        if off < 4.0:
            h -= 0.008 * (1.0 - smoothstep(0.8, 1.3, off))
    return h


@compiled
def forest_cover(land: Land, x: float, z: float, height: float, flatness: float) -> float:
    """How much forest stands at a place, 0 to 1; ``flatness`` is the upward part of the ground's normal."""
    if land.forest <= 0.0:
        return 0.0
    wish = fbm(x * 0.9 + 3.3 + land.offset_x, z * 0.9 + 8.1, 3.0) + 0.5
    cover = smoothstep(0.95 - land.forest, 1.05 - land.forest, wish) * smoothstep(0.55, 0.72, flatness)
    cover *= 1.0 - smoothstep(land.snow_line * 0.75, land.snow_line, height)
    cover *= smoothstep(land.water_level + 0.02, land.water_level + 0.06, height)
    if land.fall_width > 0.0 and cover > 0.0:
        cover *= 1.0 - fall_share(land, x, z, height)
    if land.road > 0.0 and cover > 0.0:
        cover *= smoothstep(1.5, 3.0, abs(x - way(land, z)) / land.road)
    return cover
