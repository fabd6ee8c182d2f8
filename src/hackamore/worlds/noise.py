"""Smooth noise on a repeating lattice, and the sums of octaves that terrain and clouds are made of."""

from __future__ import annotations

import math

import numpy as np

from hackamore.worlds.jit import compiled

SIDE = 64
"""Lattice points a side; a power of two. 64×64 floats fit the fastest cache of any processor."""

LATTICE = np.random.default_rng(7).random((SIDE, SIDE), dtype=np.float32)


@compiled
def smoothstep(low: float, high: float, x: float) -> float:
    """0 below ``low``, 1 above ``high``, a smooth cubic between."""
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@compiled
def mix(a: float, b: float, t: float) -> float:
    """``a`` at t = 0, ``b`` at t = 1."""
    return a + (b - a) * t


@compiled
def value_noise(x: float, z: float) -> float:
    """Smoothly interpolated lattice values, 0 to 1."""
    fx = math.floor(x)
    fz = math.floor(z)
    i, k = int(fx) & (SIDE - 1), int(fz) & (SIDE - 1)
    i1, k1 = (i + 1) & (SIDE - 1), (k + 1) & (SIDE - 1)
    u, w = x - fx, z - fz
    u, w = u * u * (3.0 - 2.0 * u), w * w * (3.0 - 2.0 * w)
    a = mix(LATTICE[k, i], LATTICE[k, i1], u)
    b = mix(LATTICE[k1, i], LATTICE[k1, i1], u)
    return mix(a, b, w)


@compiled
def noise_and_slope(x: float, z: float) -> tuple[float, float, float]:
    """Value noise with quintic interpolation, and its derivatives by x and z."""
    fx = math.floor(x)
    fz = math.floor(z)
    i, k = int(fx) & (SIDE - 1), int(fz) & (SIDE - 1)
    i1, k1 = (i + 1) & (SIDE - 1), (k + 1) & (SIDE - 1)
    u, w = x - fx, z - fz
    su = u * u * u * (u * (u * 6.0 - 15.0) + 10.0)
    sw = w * w * w * (w * (w * 6.0 - 15.0) + 10.0)
    du = 30.0 * u * u * (u * (u - 2.0) + 1.0)
    dw = 30.0 * w * w * (w * (w - 2.0) + 1.0)
    a, b, c, d = LATTICE[k, i], LATTICE[k, i1], LATTICE[k1, i], LATTICE[k1, i1]
    twist = a - b - c + d
    value = a + (b - a) * su + (c - a) * sw + twist * su * sw
    return value, du * ((b - a) + twist * sw), dw * ((c - a) + twist * su)


@compiled
def fbm(x: float, z: float, octaves: float) -> float:
    """Fractal sum of noise, about -0.5 to 0.5; a fractional octave count fades the last octave in."""
    total, amplitude, left = 0.0, 0.5, octaves
    while left > 0.0:
        total += amplitude * min(left, 1.0) * (value_noise(x, z) - 0.5)
        amplitude *= 0.5
        x, z = 1.6 * x - 1.2 * z + 17.3, 1.2 * x + 1.6 * z + 5.7
        left -= 1.0
    return total


@compiled
def eroded(x: float, z: float, octaves: float) -> float:
    """Fractal sum damped where it is steep (Quilez, "value noise derivatives"): valleys smooth, ridges rough."""
    total, amplitude, left, slope_x, slope_z = 0.0, 0.5, octaves, 0.0, 0.0
    while left > 0.0:
        value, dx, dz = noise_and_slope(x, z)
        slope_x += dx
        slope_z += dz
        total += amplitude * min(left, 1.0) * value / (1.0 + slope_x * slope_x + slope_z * slope_z)
        amplitude *= 0.5
        x, z = 1.6 * x - 1.2 * z + 31.3, 1.2 * x + 1.6 * z + 11.7
        left -= 1.0
    return total


@compiled
def ridged(x: float, z: float, octaves: float) -> float:
    """Fractal sum of sharp crests, about 0 to 1 (Musgrave's ridged multifractal): detail gathers on ridges."""
    total, amplitude, left, weight = 0.0, 0.5, octaves, 1.0
    while left > 0.0:
        crest = 1.0 - abs(2.0 * value_noise(x, z) - 1.0)
        crest = crest * crest * weight
        total += amplitude * min(left, 1.0) * crest
        weight = min(crest * 1.8, 1.0)
        amplitude *= 0.5
        x, z = 1.6 * x - 1.2 * z + 3.1, 1.2 * x + 1.6 * z + 23.9
        left -= 1.0
    return total
