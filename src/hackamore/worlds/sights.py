"""What stands out in some worlds: huts, a bridge, a waterfall, the inside of a forest; and storms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from hackamore.worlds.buildings import ROOFS, SNOWED, WALLS, build_bridge, build_hut, point
from hackamore.worlds.land import Land, forest_cover, ground_height, way
from hackamore.worlds.plan import Plan, Weights, pick
from hackamore.worlds.solids import Solids, Yard
from hackamore.worlds.trees import Trees

STREAM = 13
"""Second seed of the sights' random numbers."""
SIGHTS: Weights = {"hut": 0.30, "village": 0.14, "bridge": 0.20, "waterfall": 0.16, "woods": 0.20}
STORM = 0.12
TRIES = 160
NOTHING = Yard().finish()


def choose_sight(seed: int, chance: float) -> str:
    """What stands out in world ``seed``, "none" mostly; a greater chance only adds."""
    rng = np.random.default_rng((seed, STREAM))
    return pick(rng, SIGHTS) if rng.random() < chance else "none"


def with_sight(seed: int, plan: Plan, kind: str, chance: float) -> Plan:
    """The plan changed so that the sight belongs there; storms come with the same chance."""
    rng = np.random.default_rng((seed, STREAM, 1))
    if rng.random() < STORM * chance and plan.weather != "foggy" and plan.terrain not in ("dunes", "canyon"):
        time = plan.time if plan.time not in ("dusk", "night") else "afternoon"
        plan = replace(plan, weather="stormy", time=time, precipitation="rain" if rng.random() < 0.3 else "none")
    if kind == "none":
        return plan
    if kind in ("hut", "village") and plan.terrain in ("dunes", "canyon", "volcano"):
        plan = replace(plan, terrain="hills", water=str(rng.choice(["none", "lake"])))
    if kind == "bridge":
        terrain = plan.terrain if plan.terrain in ("mountains", "hills", "plains") else "hills"
        plan = replace(plan, terrain=terrain, water="river", road=False, eye="standing")
    if kind == "waterfall":
        terrain = plan.terrain if plan.terrain in ("mountains", "canyon") else "mountains"
        plan = replace(plan, terrain=terrain, water=str(rng.choice(["lake", "river", "none"], p=[0.5, 0.2, 0.3])))
        plan = replace(plan, eye="standing" if plan.eye == "above" else plan.eye)
    if kind == "woods":
        trees = {"winter": ("pine", "bare"), "autumn": ("autumn", "pine")}.get(plan.season, ("pine", "round"))
        path = bool(rng.random() < 0.45)
        plan = replace(
            plan, terrain="woods", water="none", trees=str(rng.choice(trees)), road=path, lone_tree=False,
            eye="low" if rng.random() < 0.5 else "standing", flowers=False,
        )  # fmt: skip
    return plan


def with_fall(seed: int, land: Land, eye: float, nearest: float, half: float) -> Land:
    """The land with a waterfall down the highest face that the viewer sees, where there is one."""
    rng = np.random.default_rng((seed, STREAM, 2))
    best, found = 0.05, None
    distances = np.geomspace(max(1.2, nearest), 14.0, 60)
    for u in np.linspace(-0.75, 0.75, 31) * half:
        heights = np.array([ground_height(land, u * z, z, 6.0) for z in distances])
        slopes = (heights - eye) / distances
        top = int(slopes.argmax())
        base = max(land.water_level, float(heights[: top + 1].min()))
        steep = float((heights[top] - base) / distances[top]) * float(rng.uniform(0.7, 1.0))
        if slopes[top] > 0.02 and steep > best:
            best, found = steep, (u, heights, top, base)
    if found is None:
        return land
    u, heights, top, base = found
    drop = float(heights[top]) - base
    rising = np.flatnonzero(heights[: top + 1] > base + 0.04 * drop)
    return land._replace(
        fall_aim=float(u), fall_width=float(rng.uniform(0.014, 0.034)), fall_near=float(distances[int(rising[0])]),
        fall_top=base + drop * float(rng.uniform(0.72, 0.92)),
    )  # fmt: skip


def build_sight(
    seed: int, plan: Plan, land: Land, eye: float, nearest: float, field: float, bottom: float, crowded: bool
) -> Solids:
    """The huts or the bridge of a land, nothing where there is no room; ``bottom`` is the slope of the lowest row."""
    rng = np.random.default_rng((seed, STREAM, 3))
    kind = choose_sight(seed, 1.0)
    yard = Yard()
    if kind == "bridge" and land.river > 0.0:
        _bridge(rng, plan, land, nearest, yard)
    elif kind in ("hut", "village"):
        nearest *= 2.0 if crowded else 1.0
        _huts(rng, plan, land, eye, nearest, field, bottom, yard, kind == "village")
    return yard.finish()


def _bridge(rng: np.random.Generator, plan: Plan, land: Land, nearest: float, yard: Yard) -> None:
    z = nearest * float(rng.uniform(2.6, 4.6))
    x = way(land, z)
    lean = (way(land, z * 1.03) - way(land, z * 0.97)) / (0.06 * z)
    lean = min(max(lean + float(rng.uniform(-0.25, 0.25)), -0.8), 0.8)
    norm = math.hypot(1.0, lean)
    half = land.river * (1.0 + 0.06 * z) * float(rng.uniform(1.5, 2.0))
    stone = bool(rng.random() < 0.5)
    middle = point(x, land.water_level, z)
    build_bridge(yard, middle, half, (1.0 / norm, -lean / norm), 0.17 * half, stone, plan.season == "winter")


def _huts(
    rng: np.random.Generator,
    plan: Plan,
    land: Land,
    eye: float,
    nearest: float,
    field: float,
    bottom: float,
    yard: Yard,
    many: bool,
) -> None:
    share = float(np.exp(rng.uniform(np.log(0.07), np.log(0.30))))
    if many:
        share = min(share, 0.13)
    z = nearest * np.exp(rng.uniform(np.log(1.6), np.log(7.0), TRIES))
    x = rng.uniform(-0.42, 0.42, TRIES) * z * field
    sites: list[tuple[float, float, float]] = []
    size = 0.0
    glow = 1.6 if plan.time in ("night", "dusk") else 0.0
    for xk, zk in zip(x, z, strict=True):
        tall = share * field * zk if not sites else size
        if sites and any(math.hypot(xk - a, zk - b) < 1.5 * size for a, b, _ in sites):
            continue
        if sites and zk > 3.5 * sites[0][1]:
            continue
        high, spread = _ground(land, xk, zk, 0.5 * tall)
        if spread > 0.3 * tall or high < land.water_level + 0.04 * tall or high > land.snow_line * 0.9:
            continue
        if (high - eye) / zk < bottom + 0.04 * field:
            continue
        if forest_cover(land, xk, zk, high, 1.0) > 0.4 or _hidden(land, eye, xk, zk, high + 0.3 * tall, nearest):
            continue
        if max(land.road, land.river) > 0 and abs(xk - way(land, zk)) < 1.3 * max(land.road, land.river) + 0.6 * tall:
            continue
        if not sites:
            size = tall
        sites.append((float(xk), float(zk), high))
        if len(sites) >= (5 if many else 1):
            break
    look, top = WALLS[int(rng.integers(len(WALLS)))], ROOFS[int(rng.integers(len(ROOFS)))]
    for xk, zk, high in sorted(sites, key=lambda s: -s[1]):
        turn = float(rng.uniform(-1.0, 1.0))
        roof = SNOWED if plan.season == "winter" else top
        build_hut(yard, point(xk, high, zk), size, turn, look, roof, glow, float(rng.uniform(1.1, 1.7)))


def _ground(land: Land, x: float, z: float, reach: float) -> tuple[float, float]:
    """Mean height and spread of the ground around a place."""
    around = [
        ground_height(land, x + dx * reach, max(z + dz * reach, 0.05), 6.0)
        for dx, dz in ((0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
    ]
    return float(np.mean(around)), float(np.ptp(around))


def _hidden(land: Land, eye: float, x: float, z: float, height: float, nearest: float) -> bool:
    """Whether nearer ground rises between the eye and a point."""
    slope = (height - eye) / z
    between = np.linspace(min(nearest, 0.9 * z), 0.95 * z, 14)
    return any((ground_height(land, x / z * near, near, 6.0) - eye) / near > slope for near in between)


def clear_of(trees: Trees, solids: Solids) -> Trees:
    """The trees but those that stand inside what is built, or right before it."""
    if not len(solids.label) or not len(trees.x):
        return trees
    kept = np.ones(len(trees.x), bool)
    low, high = solids.corners.min(axis=(0, 1)), solids.corners.max(axis=(0, 1))
    near = solids.corners[:, :, 2].min()
    u = solids.corners[:, :, 0] / solids.corners[:, :, 2]
    inside = (trees.x > low[0]) & (trees.x < high[0]) & (trees.z > low[2]) & (trees.z < high[2])
    side = 0.25 * trees.height / trees.z
    before = (trees.z <= near * 1.02) & (trees.x / trees.z + side > u.min()) & (trees.x / trees.z - side < u.max())
    kept &= ~(inside | (before & (trees.height / trees.z < 0.8)))
    return Trees(
        trees.x[kept], trees.z[kept], trees.base[kept], trees.height[kept], trees.kind[kept], trees.variety[kept],
        np.ascontiguousarray(trees.colour[kept]), trees.snowed,
    )  # fmt: skip
