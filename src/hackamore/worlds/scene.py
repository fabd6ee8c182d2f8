"""A scene: the land, light, trees and viewer of one seed, independent of the size it is drawn at."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.figures.company import Company, choose_company
from hackamore.worlds.grove import place_trees
from hackamore.worlds.land import KINDS, NO_WATER, SEASONS, Land, ground_height, octaves_at, way
from hackamore.worlds.light import Colour, Light, choose_light
from hackamore.worlds.plan import Plan, choose_plan
from hackamore.worlds.sights import NOTHING, build_sight, choose_sight, clear_of, with_fall, with_sight
from hackamore.worlds.solids import Solids
from hackamore.worlds.survey import look, standing_height, standing_room
from hackamore.worlds.trees import Trees

CANDIDATES = 9
"""Lands tried for each seed; the one with the best view is kept."""

SKYLINE = {
    "mountains": 0.62, "hills": 0.3, "dunes": 0.36, "canyon": 0.5,
    "islands": 0.36, "coast": 0.42, "volcano": 0.62, "plains": 0.36, "woods": 0.25,
}  # fmt: skip
"""How high the land should reach, as a share of the picture above the horizon."""


@dataclass(frozen=True)
class View:
    """Where the viewer stands and looks: eye height (world units), horizon (share of the height from the top),
    field (picture width over focal length), nearest visible ground."""

    eye: float
    horizon: float
    field: float
    nearest: float


@dataclass(frozen=True)
class Scene:
    """Everything a picture is drawn from."""

    seed: int
    plan: Plan
    land: Land
    light: Light
    view: View
    trees: Trees
    precipitation: NDArray[np.float64]
    company: Company | None = None
    solids: Solids = NOTHING
    sight: str = "none"

    def height(self, x: float, z: float, pixel: float = 0.004) -> float:
        """Height of the bare ground at (x, z), with the detail that is drawn when a pixel spans ``pixel`` radians."""
        return ground_height(self.land, x, z, octaves_at(self.land, z, pixel))


def make_scene(seed: int, people: float = 0.0, sights: float = 0.0) -> Scene:
    """The scene of a seed: choose the plan, then the best of several lands, then light and trees.

    With the probability ``people`` there are people; the viewer then stands lower, to be nearer to them.
    With the probability ``sights`` there is a hut, a village, a bridge, a waterfall or the inside of a forest.
    """
    rng = np.random.default_rng(seed)
    company = choose_company(seed, people)
    sight = choose_sight(seed, sights)
    plan = with_sight(seed, choose_plan(rng), sight, sights)
    if company is not None and plan.eye == "above":
        plan = replace(plan, eye="standing")
    view = _choose_view(rng, plan)
    if company is not None:
        view = _nearer(view)
    crowded = company is not None
    count = 2 * CANDIDATES if crowded else CANDIDATES
    land, eye = max((_candidate(rng, plan, view, crowded) for _ in range(count)), key=lambda found: found[2])[:2]
    half, bottom = view.field * 0.5, (view.horizon - 1.0) * view.field
    if sight == "waterfall":
        land = with_fall(seed, land, eye, view.nearest, half)
    solids = (
        build_sight(seed, plan, land, eye, view.nearest, view.field, bottom, crowded) if sight != "none" else NOTHING
    )
    view = replace(view, eye=eye)
    waves = float(rng.uniform(0.7, 1.4) if plan.water == "sea" else rng.choice([0.15, 0.4, 0.9]))
    light = choose_light(rng, plan.time, plan.weather, _deep_water(rng, plan), waves)
    trees = place_trees(rng, plan, land, view.nearest, view.field)
    trees = clear_of(trees, solids)
    return Scene(seed, plan, land, light, view, trees, rng.random((200, 3)), company, solids, sight)


def _nearer(view: View) -> View:
    """A view from a lower place."""
    return replace(view, eye=view.eye * 0.6, nearest=view.nearest * 0.6)


def _deep_water(rng: np.random.Generator, plan: Plan) -> Colour:
    if plan.water in ("sea", "oasis"):
        return (0.02, float(rng.uniform(0.16, 0.24)), 0.28)
    return (0.03, float(rng.uniform(0.09, 0.15)), float(rng.uniform(0.13, 0.19)))


def _choose_view(rng: np.random.Generator, plan: Plan) -> View:
    eye, horizon = {
        "low": (rng.uniform(0.09, 0.17), rng.uniform(0.50, 0.70)),
        "standing": (rng.uniform(0.19, 0.40), rng.uniform(0.38, 0.56)),
        "above": (rng.uniform(0.9, 2.0), rng.uniform(0.20, 0.38)),
    }[plan.eye]
    field = float(rng.uniform(0.95, 1.25))
    nearest = float(eye) / ((1.0 - float(horizon)) * field) * 0.55
    return View(float(eye), float(horizon), field, nearest)


def _candidate(rng: np.random.Generator, plan: Plan, view: View, crowded: bool) -> tuple[Land, float, float]:
    """A land, the height of the viewer's eye in it, and how well it looks; ``crowded``: people must find room."""
    land = _shape(rng, plan, view, crowded)
    eye = standing_height(land, max(0.6, view.nearest)) + view.eye
    peak, mean, spread, water, near_top = look(land, eye, view.nearest, view.field * 0.5)
    above = view.horizon * view.field
    score = -1.6 * abs(peak / above - SKYLINE[plan.terrain]) + 2.0 * min(spread / above, 0.22)
    score -= 3.0 * max(0.0, mean / above - 0.55) + (1.0 if plan.terrain == "dunes" else 3.0) * max(
        0.0, near_top / above + 0.04
    )
    score -= 4.0 * max(0.0, peak / above - 0.92)
    if plan.water != "none":
        score += 3.0 * min(water, 0.3) - 3.0 * max(0.0, water - 0.7)
    if crowded:
        score += 5.0 * min(standing_room(land, eye, view.nearest, view.field * 0.5), 0.4)
    return land, eye, score


def _shape(rng: np.random.Generator, plan: Plan, view: View, crowded: bool) -> Land:
    """Numbers of a land of the planned kind; where people are, lakes keep off and rivers are narrow."""
    size, frequency, rise = {
        "mountains": ((2.2, 4.0), (0.16, 0.26), (6.0, 11.0)),
        "hills": ((1.0, 2.0), (0.22, 0.38), (5.0, 7.0)),
        "dunes": ((0.7, 1.5), (0.36, 0.75), (1.0, 3.0)),
        "canyon": ((1.1, 2.1), (0.20, 0.34), (4.0, 7.0)),
        "islands": ((1.6, 2.8), (0.22, 0.36), (6.0, 8.0)),
        "coast": ((1.6, 3.0), (0.22, 0.36), (4.0, 8.0)),
        "volcano": ((0.0, 0.0), (0.3, 0.5), (8.0, 8.0)),
        "plains": ((1.8, 3.2), (0.20, 0.34), (8.0, 8.0)),
        "woods": ((0.3, 0.7), (0.22, 0.38), (3.0, 6.0)),
    }[plan.terrain]
    centre = float(rng.uniform(9.0, 15.0))
    amplitude = float(rng.uniform(0.38, 0.58) * centre if plan.terrain == "volcano" else rng.uniform(*size))
    snow_line = {
        "mountains": rng.uniform(0.8, 1.7),
        "plains": rng.uniform(0.8, 1.5),
        "volcano": amplitude * rng.choice([0.5, 0.65, 9.0]),
    }.get(plan.terrain, 100.0)
    valley = float(rng.choice([0.0, 0.6, 0.8])) if plan.terrain == "mountains" else 0.0
    if plan.water == "river":
        valley = {"mountains": 0.85, "canyon": 0.9}.get(plan.terrain, 0.0)
    land = Land(
        kind=KINDS.index("hills" if plan.terrain == "woods" else plan.terrain),
        season=SEASONS.index(plan.season),
        offset_x=float(rng.uniform(0, 64)),
        offset_z=float(rng.uniform(0, 64)),
        amplitude=amplitude,
        frequency=float(rng.uniform(*frequency)),
        sharp=float(rng.random() < 0.5),
        rise=float(rng.uniform(*rise)),
        valley=valley,
        aim=float(rng.uniform(-0.25, 0.25)),
        cone=float(rng.uniform(1.6, 3.0)),
        centre=centre,
        bend=float(rng.uniform(0.3, 0.9)),
        phase=float(rng.uniform(0.0, 40.0)),
        coast=float(rng.choice([-1.0, 1.0]) * rng.uniform(0.7, 1.2)),
        snow_line=float(snow_line),
        forest=_forest(rng, plan),
        red=float(rng.choice([0.0, 0.3, 1.0])),
        pale_shore=1.0 if plan.terrain in ("islands", "coast") else float(rng.random() < 0.5),
        road=0.075 * max(1.0, view.eye * 2.0) if plan.road else 0.0,
        flowers=float(rng.uniform(0.35, 0.6)) if plan.flowers else 0.0,
        flower_hue=float(rng.random()),
    )
    return _with_water(rng, plan, view, land, crowded)


def _forest(rng: np.random.Generator, plan: Plan) -> float:
    if plan.terrain == "dunes":
        return 0.0
    if plan.terrain == "canyon":
        return float(rng.choice([0.0, 0.4]))
    if plan.terrain == "woods":
        return 0.75
    return float(rng.choice([0.0, 0.4, 0.52, 0.64], p=[0.3, 0.25, 0.27, 0.18]))


def _with_water(rng: np.random.Generator, plan: Plan, view: View, land: Land, crowded: bool) -> Land:
    """Lay a sea, lake or river into the land; lakes and rivers take their level from the ground around."""
    if plan.water == "none":
        return land
    if plan.water == "sea":
        level = {"islands": rng.uniform(-0.05, 0.02), "coast": 0.0}.get(plan.terrain, 0.02)
        return land._replace(water_level=float(level))
    if plan.water == "river":
        half = float(rng.uniform(0.16, 0.3)) * max(1.0, view.eye * 1.6) * (0.5 if crowded else 1.0)
        heights = [ground_height(land, way(land, z), z, 5.0) for z in np.linspace(view.nearest, 9.0, 14)]
        return land._replace(river=half, water_level=float(np.percentile(heights, 30)) - 0.03)
    near = view.nearest * float(rng.uniform(1.9, 4.5)) * (2.4 if crowded else 1.0)
    radius = float(rng.uniform(0.7, 1.8)) * (0.6 if plan.water == "oasis" else 1.0) * max(1.0, view.eye * 1.5)
    middle = near + radius
    lake_x = float(rng.uniform(-0.65, 0.65)) * middle
    land = land._replace(lake_x=lake_x, lake_z=middle, water_level=NO_WATER)
    around = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)
    heights = [
        ground_height(land, lake_x + r * radius * np.sin(a), max(middle + r * radius * np.cos(a), 0.1), 5.0)
        for a in around
        for r in (0.6, 1.1)
    ]
    return land._replace(lake_radius=radius, water_level=float(np.percentile(heights, 25)) - 0.02)
