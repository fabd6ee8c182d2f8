"""The sky: gradient, sun or moon, stars, clouds on a plane; and the haze it lays over distance."""

from __future__ import annotations

import math

from hackamore.worlds.jit import compiled
from hackamore.worlds.light import Colour, Light
from hackamore.worlds.noise import LATTICE, fbm, smoothstep

MOST_HAZE = 0.86
"""Haze never hides more than this share of a surface, so that silhouettes stay readable."""


@compiled
def sky_colour(light: Light, dx: float, dy: float, dz: float, disc: float) -> Colour:
    """Colour of the cloudless sky in the unit direction (dx, dy, dz); ``disc`` scales the sun's disc, 0: none."""
    up = max(dy, 0.0)
    high = 1.0 - math.exp(-up * 4.2)
    towards = max(dx * light.sun_x + dy * light.sun_y + dz * light.sun_z, 0.0)
    p2 = towards * towards
    p8 = p2 * p2 * p2 * p2
    p40 = p8 * p8 * p8 * p8 * p8
    p320 = p40 * p40 * p40 * p40 * p40 * p40 * p40 * p40
    glow = 0.25 * p2 * p2 * p2 * (0.35 + math.exp(-up * 7.0)) + 0.35 * p40
    if disc > 0.0:
        glow += disc * light.disc * (0.5 * p320 + 6.0 * smoothstep(0.99915, 0.9995, towards))
    if light.night > 0.5:
        glow *= 0.3
    h, z, s = light.horizon, light.zenith, light.sun
    return (
        h[0] + (z[0] - h[0]) * high + s[0] * glow,
        h[1] + (z[1] - h[1]) * high + s[1] * glow,
        h[2] + (z[2] - h[2]) * high + s[2] * glow,
    )


@compiled
def star(dx: float, dy: float, dz: float) -> float:
    """Brightness of the stars in a direction: a small round dot in a few cells of a fine lattice."""
    a, b = dx / dz * 105.0, dy / dz * 105.0
    i, k = math.floor(a), math.floor(b)
    chance = float(LATTICE[(int(k) * 7 + int(i) * 3) & 63, (int(i) * 5 + (int(k) >> 3)) & 63])
    if chance < 0.972:
        return 0.0
    x, y = a - i - 0.5, b - k - 0.5
    return (0.35 + (chance - 0.972) * 45.0) * smoothstep(0.46, 0.2, math.sqrt(x * x + y * y))


@compiled
def clouds(light: Light, dx: float, dy: float, dz: float, octaves: float) -> tuple[float, float, float, float]:
    """Colour and opacity (last, 0 to 1) of the clouds in a direction."""
    if dy <= 0.003 or light.cloud_cover <= 0.01:
        return 0.0, 0.0, 0.0, 0.0
    scale = light.cloud_scale / (dy + 0.11)
    x, z = dx * scale + light.cloud_shift, dz * scale + light.cloud_shift
    bend = 0.9 * fbm(x * 0.7 + 2.0, z * 0.7, 2.0)
    density = fbm(x + bend, z + bend, octaves) + 0.5
    threshold = 0.28 + 0.45 * (1.0 - light.cloud_cover)
    alpha = smoothstep(threshold, threshold + 0.14, density)
    if alpha <= 0.0:
        return 0.0, 0.0, 0.0, 0.0
    sunward = fbm(x + bend + light.sun_x * 0.16, z + bend + light.sun_z * 0.16, min(octaves, 3.0)) + 0.5
    lit = min(max(0.6 + (density - sunward) * 3.4 - (density - threshold) * 0.9, 0.0), 1.0)
    towards = max(dx * light.sun_x + dy * light.sun_y + dz * light.sun_z, 0.0)
    p4 = towards * towards * towards * towards
    rim = p4 * p4 * p4 * (1.0 - alpha * 0.7) * 0.5 * light.disc
    d, b, s = light.cloud_dark, light.cloud_lit, light.sun
    return (
        d[0] + (b[0] - d[0]) * lit + s[0] * rim,
        d[1] + (b[1] - d[1]) * lit + s[1] * rim,
        d[2] + (b[2] - d[2]) * lit + s[2] * rim,
        alpha * smoothstep(0.003, 0.07, dy),
    )


@compiled
def full_sky(
    light: Light, dx: float, dy: float, dz: float, disc: float, octaves: float
) -> tuple[float, float, float, float]:
    """Colour of sky with stars and clouds, and the clouds' opacity (last)."""
    r, g, b = sky_colour(light, dx, dy, dz, disc)
    if light.night > 0.5 and disc > 0.9 and dy > 0.02 and light.haze_density < 0.05:
        s = star(dx, dy, dz) * 0.8 * light.disc
        r, g, b = r + s, g + s, b + s
    cr, cg, cb, alpha = clouds(light, dx, dy, dz, octaves)
    return r + (cr - r) * alpha, g + (cg - g) * alpha, b + (cb - b) * alpha, alpha


@compiled
def hazed(light: Light, colour: Colour, u: float, distance: float, height: float) -> Colour:
    """``colour`` seen through the air: ``u`` is x/z of the ray, ``height`` the mean height along it."""
    density = light.haze_density * math.exp(-max(height, 0.0) * light.haze_falloff)
    veil = min(1.0 - math.exp(-distance * density), MOST_HAZE)
    inverse = 1.0 / math.sqrt(1.0009 + u * u)
    s = sky_colour(light, u * inverse, 0.03 * inverse, inverse, 0.0)
    h = light.haze
    return (
        colour[0] + (0.35 * h[0] + 0.65 * s[0] - colour[0]) * veil,
        colour[1] + (0.35 * h[1] + 0.65 * s[1] - colour[1]) * veil,
        colour[2] + (0.35 * h[2] + 0.65 * s[2] - colour[2]) * veil,
    )
