"""Where figures stand in a land: near, on dry and even ground that the viewer sees, and large enough to be read."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.draw import Eye
from hackamore.worlds.figures.company import Company, Figure
from hackamore.worlds.figures.dressing import Place
from hackamore.worlds.figures.poses import SEAT_HEIGHT
from hackamore.worlds.jit import compiled
from hackamore.worlds.land import Land, forest_cover, ground_height, octaves_at
from hackamore.worlds.trees import BARE, PINE, Trees

Floats = NDArray[np.float64]

TRIES = 240
STEPS = 24
UNFIT = 4.0
"""Cost from which on a place is not taken."""
WADE = 0.22
"""How deep someone may stand in water when there is no dry ground, in body heights."""


@compiled
def _survey(land: Land, height: float, x: Floats, z: Floats, nearest: float, out: Floats) -> None:
    """Of every place: ground height, flatness, forest cover, and how far nearer ground rises over it to the eye."""
    for k in range(x.shape[0]):
        octaves = octaves_at(land, z[k], 0.004)
        h = ground_height(land, x[k], z[k], octaves)
        step = 0.04 * z[k]
        dx = (ground_height(land, x[k] + step, z[k], octaves) - h) / step
        dz = (ground_height(land, x[k], z[k] + step, octaves) - h) / step
        flatness = 1.0 / math.sqrt(1.0 + dx * dx + dz * dz)
        out[k, 0], out[k, 1], out[k, 2] = h, flatness, forest_cover(land, x[k], z[k], h, flatness)
        slope, worst = (h - height) / z[k], 0.0
        for j in range(STEPS):
            near = nearest + (z[k] * 0.97 - nearest) * j / STEPS
            if near < nearest:
                break
            there = ground_height(land, x[k] / z[k] * near, near, octaves)
            worst = max(worst, (there - height) / near - slope)
        out[k, 3] = worst * z[k]


def place_company(company: Company, land: Land, eye: Eye, width: int, height: int, nearest: float) -> list[Place]:
    """A place for everyone, or for the first only where there is no more room, from the company's own random numbers.

    The places depend on the shape of the picture, not on its size: ``eye`` is in pixels of a picture of ``width`` ×
    ``height``, and ``nearest`` the nearest ground that is drawn.
    """
    rng = np.random.default_rng((company.seed, 11))
    count = len(company.figures)
    span, half = height / eye.focal, 0.5 * width / eye.focal
    top, bottom = eye.horizon / eye.focal, (eye.horizon - height) / eye.focal
    most = min(0.86, 0.80 * width / height / (0.5 + 0.42 * count))
    share = float(rng.uniform(0.36, 0.84)) if rng.random() < 0.8 else float(rng.uniform(0.25, 0.4))
    share = max(min(share * (1.0, 0.92, 0.85)[count - 1], most), min(0.25, most))
    extent = _extent(company.figures[0])
    tall_share = share if extent > 0.8 else min(share * 1.25, 0.9 * share / extent)
    z = np.exp(rng.uniform(np.log(nearest * 1.02), np.log(nearest * 6.0), TRIES))
    aside = rng.uniform(-0.62, 0.62, TRIES) if count == 1 else rng.uniform(-0.28, 0.28, TRIES)
    site = _look(land, eye, aside * half * z, z, nearest)
    feet = (np.maximum(site[:, 0], land.water_level) - eye.height) / z
    tall = tall_share * span * z
    head = feet + tall_share * extent * span
    cost = _cost(land, site, tall)
    cost += 60.0 * np.maximum(bottom + 0.035 * span - feet, 0.0) / span
    cost += 60.0 * np.maximum(head - top + 0.03 * span, 0.0) / span
    cost += 0.8 * np.abs(np.log(tall / max(eye.height - float(site[:, 0].mean()), 0.03) / 1.3))
    cost += 2.0 * np.maximum(feet - bottom - 0.22 * span, 0.0) / span
    cost += 12.0 * np.maximum(np.abs(aside) * half + 0.2 * tall / z - half, 0.0) / half
    best = int(cost.argmin())
    size = float(tall[best])
    first = _place(company.figures[0], float(aside[best] * half * z[best]), float(z[best]), site[best], size, land)
    places = [first]
    for figure in company.figures[1:]:
        beside = _beside(rng, figure, places, land, eye, (half, bottom, span), nearest, size)
        if beside is None:
            break
        places.append(beside)
    return places


def _look(land: Land, eye: Eye, x: Floats, z: Floats, nearest: float) -> Floats:
    site = np.empty((len(z), 4))
    _survey(land, eye.height, np.ascontiguousarray(x), z, nearest, site)
    return site


def _extent(figure: Figure) -> float:
    """How high the figure reaches, in body heights."""
    return float(max(point[1] for point in figure.body.points.values())) + 0.07


def _cost(land: Land, site: Floats, tall: Floats) -> Floats:
    """How unfit places are: wet, steep, overgrown, hidden behind nearer ground."""
    wet = np.maximum(land.water_level + 0.06 * tall - site[:, 0], 0.0) / tall
    cost = 8.0 * np.minimum(wet, 1.0) + 8.0 * np.minimum(wet * 4.0, 1.0)
    cost += 5.0 * np.maximum(0.93 - site[:, 1], 0.0) * 4.0
    cost += 4.0 * site[:, 2]
    return np.asarray(cost + 12.0 * np.maximum(site[:, 3] / tall - 0.015, 0.0))


def _beside(
    rng: np.random.Generator,
    figure: Figure,
    others: list[Place],
    land: Land,
    eye: Eye,
    frame: tuple[float, float, float],
    nearest: float,
    size: float,
) -> Place | None:
    """A place near the first figure, at the same scale, that hides nobody and is not hidden; None: there is none."""
    half, bottom, span = frame
    first = others[0]
    z = first.foot[2] * np.exp(rng.uniform(-0.12, 0.45, TRIES))
    x = first.foot[0] / first.foot[2] * z + rng.choice([-1.0, 1.0], TRIES) * rng.uniform(0.3, 1.3, TRIES) * size
    site = _look(land, eye, x, z, nearest)
    cost = _cost(land, site, np.full(TRIES, size))
    for other in others:
        apart = np.abs(x / z - other.foot[0] / other.foot[2]) * np.minimum(z, other.foot[2]) / size
        cost += 7.0 * np.maximum(0.52 - apart, 0.0)
    feet = (np.maximum(site[:, 0], land.water_level) - eye.height) / z
    cost += 30.0 * np.maximum(np.abs(x / z) + 0.22 * size / z - half, 0.0) / half
    cost += 40.0 * np.maximum(bottom + 0.02 * span - feet, 0.0) / span
    cost += 0.4 * np.abs(x / z) / half
    best = int(cost.argmin())
    if cost[best] > UNFIT:
        return None
    return _place(figure, float(x[best]), float(z[best]), site[best], size, land)


def _place(figure: Figure, x: float, z: float, site: Floats, size: float, land: Land) -> Place:
    """The figure's place; ``size`` is the height in world units of someone of usual height."""
    tall = size * figure.look.tall
    base = max(float(site[0]), land.water_level - WADE * tall)
    distance = math.hypot(x, z)
    towards = math.atan2(-x / distance, -z / distance) + figure.angle
    return Place((x, base, z), tall, (math.sin(towards), math.cos(towards)))


def seat_height(figure: Figure) -> float:
    """How high the figure's seat is, in body heights; 0 without one."""
    return SEAT_HEIGHT if figure.seat in ("rock", "stool") else 0.0


def grown_trees(trees: Trees, places: list[Place]) -> Trees:
    """The trees at the figures' scale, fewer, and none right before a figure."""
    if not len(trees.x):
        return trees
    size = places[0].tall
    factor = max(2.3 * size / float(np.median(trees.height)), 1.0)
    height = np.where(trees.height > 1.2 * size, trees.height, trees.height * factor)
    kept = trees.variety < factor**-0.6
    kept[trees.height > 1.2 * size] = True
    for place in places:
        aside = np.abs(trees.x / trees.z - place.foot[0] / place.foot[2])
        kept &= (trees.z > place.foot[2] * 1.25) | (aside > 0.42 * height / trees.z + 0.25 * size / place.foot[2])
    kept &= trees.z > 0.85 * places[0].foot[2]
    looming = {BARE: 0.45, PINE: 1.2}.get(int(trees.kind[0]), 0.8)
    kept &= height / trees.z < looming * size / places[0].foot[2] * 1.6
    return Trees(
        trees.x[kept], trees.z[kept], trees.base[kept], height[kept], trees.kind[kept], trees.variety[kept],
        np.ascontiguousarray(trees.colour[kept]), trees.snowed,
    )  # fmt: skip
