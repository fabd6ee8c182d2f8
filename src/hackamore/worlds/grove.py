"""Where single trees stand, of what kind, and in which colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.jit import compiled
from hackamore.worlds.land import Land, forest_cover, ground_height, way
from hackamore.worlds.noise import value_noise
from hackamore.worlds.plan import Plan
from hackamore.worlds.trees import BARE, PALM, PINE, ROUND, Trees

Floats = NDArray[np.float64]

TRIES = 8
"""Places tried for a lone tree."""


@compiled
def _sites(land: Land, x: Floats, z: Floats, out: Floats) -> None:
    """Ground height, flatness, forest cover, grove noise and distance from the way of every place, in rows of out."""
    for k in range(x.shape[0]):
        h = ground_height(land, x[k], z[k], 6.0)
        dx = (ground_height(land, x[k] + 0.03, z[k], 6.0) - h) / 0.03
        dz = (ground_height(land, x[k], z[k] + 0.03, 6.0) - h) / 0.03
        flatness = 1.0 / np.sqrt(1.0 + dx * dx + dz * dz)
        out[k, 0], out[k, 1] = h, flatness
        out[k, 2] = forest_cover(land, x[k], z[k], h, flatness)
        out[k, 3] = value_noise(x[k] * 0.9 + land.phase, z[k] * 0.9 + 2.0)
        out[k, 4] = abs(x[k] - way(land, z[k]))


def place_trees(rng: np.random.Generator, plan: Plan, land: Land, nearest: float, field: float) -> Trees:
    """Scatter trees in groves over flat dry ground below the snow line, far ones first."""
    count = int(rng.choice([70, 160, 300])) if plan.trees != "none" else 0
    near = nearest * 2.0
    z = near * np.exp(rng.uniform(0.0, np.log(11.0), count))
    x = rng.uniform(-0.56, 0.56, count) * z * field
    low, high = {"pine": (0.07, 0.15), "palm": (0.09, 0.15)}.get(plan.trees, (0.07, 0.12))
    scale = max(1.0, nearest * 1.6) ** 0.7
    height = rng.uniform(low, high, count) * scale
    chance = rng.random(count)
    if plan.terrain == "woods":
        z = near * np.exp(rng.uniform(0.25, np.log(9.0), count))
        x = rng.uniform(-0.6, 0.6, count) * z * field
        height = near * field * rng.uniform(0.85, 1.7, count)
    elif plan.lone_tree and count:
        z[:TRIES] = near * rng.uniform(1.0, 1.6, TRIES)
        x[:TRIES] = rng.choice([-1.0, 1.0]) * rng.uniform(0.08, 0.32, TRIES) * z[:TRIES] * field
        height[:TRIES] = rng.uniform(0.3, 0.48) * field * z[:TRIES]
    elif rng.random() < 0.4:
        x = abs(x) * rng.choice([-1.0, 1.0])
    site = np.empty((count, 5))
    _sites(land, x, z, site)
    dry = (site[:, 0] > land.water_level + 0.012) & (site[:, 1] > 0.72) & (site[:, 0] < land.snow_line * 0.9)
    if plan.trees == "palm":
        dry &= site[:, 0] < land.water_level + 0.35
    off_way = site[:, 4] > 1.6 * max(land.road, land.river)
    if plan.terrain == "woods":
        off_way &= (site[:, 4] > 0.10 * height) | (land.road <= 0.0)
    wanted = (chance < 1.0) if plan.terrain == "woods" else chance < 0.22 + 0.75 * (site[:, 3] > 0.52) + site[:, 2]
    if plan.lone_tree and count:
        wanted &= chance < 0.12
        standing = np.flatnonzero((dry & off_way)[:TRIES])
        wanted[:TRIES] = False
        wanted[standing[:1]] = True
    chosen = np.flatnonzero(dry & off_way & wanted)
    chosen = chosen[np.argsort(-z[chosen], kind="stable")]
    variety = rng.random(count)
    kind = _kinds(plan, count)
    colour = _colours(rng, plan, variety)
    return Trees(
        x[chosen], z[chosen], site[chosen, 0] - 0.004, height[chosen], kind[chosen], variety[chosen],
        np.ascontiguousarray(colour[chosen]), plan.season == "winter",
    )  # fmt: skip


def _kinds(plan: Plan, count: int) -> NDArray[np.int64]:
    kind = {"pine": PINE, "bare": BARE, "palm": PALM}.get(plan.trees, ROUND)
    return np.full(count, kind, np.int64)


def _colours(rng: np.random.Generator, plan: Plan, variety: Floats) -> Floats:
    choices = {
        "pine": [(0.055, 0.17, 0.065), (0.08, 0.20, 0.06)],
        "palm": [(0.13, 0.33, 0.07), (0.17, 0.36, 0.08)],
        "autumn": [(0.74, 0.15, 0.04), (0.80, 0.36, 0.05), (0.78, 0.58, 0.08)],
        "blossom": [(0.86, 0.42, 0.52), (0.86, 0.42, 0.52), (0.90, 0.62, 0.68)],
        "round": [(0.13, 0.31, 0.06), (0.18, 0.36, 0.07), (0.10, 0.26, 0.06)],
    }.get(plan.trees, [(0.10, 0.075, 0.055)])
    table = np.array(choices)
    return np.asarray(
        table[(variety * 7.99).astype(np.int64) % len(table)] * rng.uniform(0.88, 1.12, (len(variety), 1))
    )
