"""Light of a time of day and a weather: where the sun (or moon) stands and the colours of everything that glows."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

Colour = tuple[float, float, float]

TIMES = ("sunrise", "noon", "afternoon", "sunset", "dusk", "night")
WEATHERS = ("clear", "cloudy", "overcast", "stormy", "foggy")


class Light(NamedTuple):
    """Direction to the sun or moon (unit vector, z away from the viewer), linear colours and sky settings."""

    sun_x: float
    sun_y: float
    sun_z: float
    zenith: Colour
    horizon: Colour
    sun: Colour
    ambient: Colour
    haze: Colour
    cloud_lit: Colour
    cloud_dark: Colour
    deep_water: Colour
    night: float
    disc: float
    """Brightness of the sun's or moon's disc, 0 to 1."""
    cloud_cover: float
    cloud_scale: float
    cloud_shift: float
    haze_density: float
    haze_falloff: float
    waves: float
    exposure: float
    saturation: float


# zenith, horizon, sun, ambient, haze; linear light
SKIES: dict[str, tuple[Colour, Colour, Colour, Colour, Colour]] = {
    "sunrise": ((0.14, 0.33, 0.66), (1.0, 0.70, 0.46), (1.5, 0.92, 0.52), (0.25, 0.28, 0.38), (0.90, 0.72, 0.58)),
    "noon": ((0.07, 0.22, 0.66), (0.46, 0.68, 0.95), (1.34, 1.24, 1.08), (0.21, 0.28, 0.40), (0.58, 0.74, 0.95)),
    "afternoon": ((0.10, 0.28, 0.68), (0.72, 0.78, 0.82), (1.55, 1.18, 0.76), (0.20, 0.26, 0.38), (0.74, 0.78, 0.83)),
    "sunset": ((0.10, 0.15, 0.40), (1.2, 0.44, 0.12), (1.8, 0.70, 0.22), (0.20, 0.18, 0.28), (0.95, 0.45, 0.24)),
    "dusk": ((0.05, 0.06, 0.22), (0.58, 0.27, 0.42), (0.62, 0.26, 0.28), (0.18, 0.16, 0.31), (0.37, 0.24, 0.42)),
    "night": ((0.006, 0.014, 0.05), (0.035, 0.06, 0.14), (0.21, 0.26, 0.38), (0.038, 0.055, 0.105), (0.03, 0.05, 0.10)),
}
ELEVATION = {
    "sunrise": (0.06, 0.17),
    "noon": (0.75, 1.15),
    "afternoon": (0.32, 0.62),
    "sunset": (0.03, 0.14),
    "dusk": (0.02, 0.06),
    "night": (0.14, 0.34),
}
EXPOSURE = {"night": 2.1, "dusk": 1.2, "sunset": 0.88, "sunrise": 0.80}
SATURATION = {"night": 0.75, "dusk": 0.95}


def _scaled(colour: Colour, by: float) -> Colour:
    return (colour[0] * by, colour[1] * by, colour[2] * by)


def _sum(a: Colour, by_a: float, b: Colour, by_b: float) -> Colour:
    return (a[0] * by_a + b[0] * by_b, a[1] * by_a + b[1] * by_b, a[2] * by_a + b[2] * by_b)


def _greyed(colour: Colour, keep: float, grey: float) -> Colour:
    """``keep`` of the colour and ``grey`` of its mean."""
    mean = sum(colour) / 3.0 * grey
    return (colour[0] * keep + mean, colour[1] * keep + mean, colour[2] * keep + mean)


def _sun_direction(rng: np.random.Generator, time: str) -> tuple[float, float, float]:
    elevation = float(rng.uniform(*ELEVATION[time]))
    ahead = rng.random() < {"sunrise": 0.7, "sunset": 0.75, "dusk": 0.8, "night": 0.6}.get(time, 0.0)
    if ahead:
        azimuth = float(rng.uniform(-0.42, 0.42))
    else:
        azimuth = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.7, 2.2))
        if time == "night":
            elevation += 0.3
    return math.sin(azimuth) * math.cos(elevation), math.sin(elevation), math.cos(azimuth) * math.cos(elevation)


def choose_light(rng: np.random.Generator, time: str, weather: str, deep_water: Colour, waves: float) -> Light:
    """A light for a time of day and a weather, with small variations of every colour."""
    sun_x, sun_y, sun_z = _sun_direction(rng, time)
    jitter = rng.uniform(0.90, 1.10, (5, 3))
    zenith, horizon, sun, ambient, haze = (
        (float(c[0] * j[0]), float(c[1] * j[1]), float(c[2] * j[2])) for c, j in zip(SKIES[time], jitter, strict=True)
    )
    density, falloff = float(rng.uniform(0.006, 0.018)), 0.35
    cover = float(rng.uniform(0.42, 0.62))
    disc = 1.0
    if weather == "clear":
        cover = 0.0 if rng.random() < 0.4 else float(rng.uniform(0.14, 0.26))
    elif weather == "overcast":
        cover, density, disc = float(rng.uniform(0.88, 1.0)), density * 1.3, 0.1
        horizon, zenith, haze = _greyed(horizon, 0.35, 0.45), _greyed(zenith, 0.4, 0.9), _greyed(haze, 0.3, 0.6)
        sun, ambient = _scaled(sun, 0.5), _greyed(ambient, 0.5, 0.8)
    elif weather == "stormy":
        cover, disc = float(rng.uniform(0.72, 0.9)), 0.15
        horizon, zenith = _greyed(horizon, 0.25, 0.25), _greyed(zenith, 0.25, 0.3)
        haze, ambient = _greyed(haze, 0.2, 0.3), _greyed(ambient, 0.4, 0.35)
    elif weather == "foggy":
        cover, density, falloff = (
            float(rng.uniform(0.0, 0.5)),
            float(rng.uniform(0.09, 0.16)),
            float(rng.uniform(0.8, 1.8)),
        )
        haze = _greyed(haze, 0.5, 0.5)
        horizon, sun, disc = _sum(horizon, 0.5, haze, 0.5), _scaled(sun, 0.85), 0.6
        zenith = _sum(zenith, 0.6, haze, 0.4)
    lit, dark = _sum(sun, 0.62, ambient, 0.75), 1.0
    if weather == "stormy":
        lit, dark = _greyed(_sum(sun, 0.2, ambient, 0.6), 0.5, 0.4), 0.45
    glow = 0.18 if time in ("sunrise", "sunset") else 0.22
    return Light(
        sun_x=sun_x,
        sun_y=sun_y,
        sun_z=sun_z,
        zenith=zenith,
        horizon=horizon,
        sun=sun,
        ambient=ambient,
        haze=haze,
        cloud_lit=lit,
        cloud_dark=_scaled(_sum(ambient, 0.72, horizon, glow), dark),
        deep_water=deep_water,
        night=float(time == "night"),
        disc=disc,
        cloud_cover=cover,
        cloud_scale=float(rng.uniform(0.5, 1.0)),
        cloud_shift=float(rng.uniform(0.0, 60.0)),
        haze_density=density,
        haze_falloff=falloff,
        waves=waves,
        exposure=EXPOSURE.get(time, 0.68),
        saturation=SATURATION.get(time, 1.12),
    )
