"""What can truly be seen in a picture: words computed from the plan and the rendered truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hackamore.core.palette import CLASSES
from hackamore.worlds.light import Light
from hackamore.worlds.materials import CLOUD, FLOWER, FOREST, ROAD, SKY, SNOW, TREE, WATER
from hackamore.worlds.plan import Plan

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
PERSON, BUILDING, BRIDGE = (CLASSES.index(name) for name in ("person", "building", "bridge"))

VISIBLE = {
    "water": 0.02,
    "tree": 0.012,
    "forest": 0.04,
    "snow": 0.03,
    "flower": 0.02,
    "road": 0.008,
    "cloud": 0.04,
    "building": 0.006,
    "bridge": 0.01,
    "fall": 0.006,
}
"""Smallest share of the picture at which a thing may be mentioned."""


def side_of(mask: NDArray[np.bool_]) -> str:
    """Where most of a thing is: left, right, middle, or both sides."""
    columns = mask.sum(axis=0) / max(int(mask.sum()), 1)
    width = len(columns)
    left = float(columns[: round(width * 0.4)].sum())
    right = float(columns[width - round(width * 0.4) :].sum())
    if left > 0.5 and left > 2.8 * right:
        return "left"
    if right > 0.5 and right > 2.8 * left:
        return "right"
    if left + right < 0.45:
        return "middle"
    return "both"


def observe(
    plan: Plan, light: Light, label: Labels, focal: float, horizon: float, sight: str = "none", fall: Mask | None = None
) -> dict[str, str]:
    """Attributes of a world; a thing that cannot be seen is "none".

    ``sight`` is what was to stand out, ``fall`` where the picture shows a waterfall.
    """
    share = np.bincount(label.ravel(), minlength=len(CLASSES)) / label.size

    def seen(name: str, index: int) -> bool:
        return bool(share[index] >= VISIBLE[name])

    facts = {
        "terrain": plan.terrain,
        "time": plan.time,
        "season": plan.season,
        "weather": plan.weather,
        "precipitation": plan.precipitation,
        "camera": plan.eye,
        "water": plan.water if seen("water", WATER) else "none",
        "water side": side_of(label == WATER) if seen("water", WATER) else "none",
        "trees": plan.trees if seen("tree", TREE) else "none",
        "trees side": side_of(label == TREE) if seen("tree", TREE) else "none",
        "lone tree": "yes" if plan.lone_tree and seen("tree", TREE) and _is_lone(label) else "no",
        "forest": "yes" if seen("forest", FOREST) else "no",
        "forest side": side_of(label == FOREST) if seen("forest", FOREST) else "none",
        "snow": "yes" if seen("snow", SNOW) else "no",
        "flowers": "yes" if seen("flower", FLOWER) else "no",
        "road": "yes" if seen("road", ROAD) else "no",
        "clouds": "yes" if seen("cloud", CLOUD) else "no",
        "stars": "yes" if plan.time == "night" and plan.weather in ("clear", "cloudy") and share[SKY] > 0.15 else "no",
        "horizon": "low" if horizon > 0.6 * len(label) else "high" if horizon < 0.3 * len(label) else "middle",
        "peak": _peak_side(label, plan),
        "water in front": _in_front(label) if plan.water in ("lake", "sea") and seen("water", WATER) else "no",
    }
    facts |= _sight(label, sight, np.zeros(label.shape, bool) if fall is None else fall)
    facts["sun"] = _disc_side(light, label, focal, horizon)
    facts["light side"] = _light_side(plan, light)
    return facts


def _sight(label: Labels, sight: str, fall: Mask) -> dict[str, str]:
    """What stands out, where, and how near: near fills a seventh of the height, far less than a twelfth."""
    things = {"hut": ("building", BUILDING), "village": ("building", BUILDING), "bridge": ("bridge", BRIDGE)}
    name, mask = things.get(sight, ("fall", -1))[0], fall
    if name != "fall":
        mask = label == things[sight][1]
    if float(mask.mean()) < VISIBLE[name] or sight in ("none", "woods"):
        return {"sight": "none", "sight side": "none", "sight distance": "none"}
    tall = float(mask.sum(axis=0).max()) / len(label)
    far = "near" if tall > 0.15 else "far" if tall < 0.085 else "middle"
    return {"sight": sight, "sight side": side_of(mask), "sight distance": far}


def _is_lone(label: Labels) -> bool:
    """One tree stands out: nearly all tree pixels lie within a third of the picture's width."""
    columns = np.flatnonzero((label == TREE).sum(axis=0) > 0.06 * len(label))
    return bool(len(columns)) and int(columns[-1] - columns[0]) < 0.45 * label.shape[1]


def _skyline(label: Labels) -> NDArray[np.int64]:
    """Rows of land above the bottom of the picture, per column; trees and people do not count."""
    land = ~np.isin(label, (SKY, CLOUD, TREE, PERSON))
    return np.where(land.any(axis=0), len(label) - land.argmax(axis=0), 0)


def _peak_side(label: Labels, plan: Plan) -> str:
    """Side of the one summit that stands clearly above the rest of the skyline; none if there is no such summit."""
    if plan.terrain not in ("mountains", "volcano", "canyon", "islands", "coast"):
        return "none"
    sky = _skyline(label)
    top, width = int(sky.argmax()), len(sky)
    if sky[top] - np.percentile(sky, 40) < 0.13 * len(label) or sky[top] >= len(label) - 1:
        return "none"
    high = sky > sky[top] - 0.06 * len(label)
    places = np.flatnonzero(high)
    if places[-1] - places[0] > 0.4 * width:
        return "none"
    at = float(places.mean()) / width
    return "left" if at < 0.38 else "right" if at > 0.62 else "middle"


def _in_front(label: Labels) -> str:
    """Whether land rises behind the water over most of the water's width, high enough to be noticed."""
    water = label == WATER
    wide = water.sum(axis=0) > 0.02 * len(label)
    if wide.mean() < 0.3:
        return "no"
    first = np.where(water.any(axis=0), water.argmax(axis=0), len(label))
    top = len(label) - _skyline(label)
    return "yes" if float(((first - top) > 0.08 * len(label))[wide].mean()) > 0.65 else "no"


def _disc_side(light: Light, label: Labels, focal: float, horizon: float) -> str:
    """Where the sun's or moon's disc can be seen in open sky: left, right, middle, or none."""
    height, width = label.shape
    if light.sun_z <= 0.05 or light.disc < 0.5:
        return "none"
    x = round(width / 2 + focal * light.sun_x / light.sun_z)
    y = round(horizon - focal * light.sun_y / light.sun_z)
    if not (1 <= x < width - 1 and 1 <= y < height - 1):
        return "none"
    around = label[y - 1 : y + 2, x - 1 : x + 2]
    if float((around == SKY).mean()) < 0.75:
        return "none"
    return "left" if x < 0.4 * width else "right" if x > 0.6 * width else "middle"


def _light_side(plan: Plan, light: Light) -> str:
    """Side that sunlight falls from when it clearly comes from one."""
    if plan.weather in ("overcast", "foggy") or plan.time in ("night", "dusk", "noon") or abs(light.sun_x) < 0.55:
        return "none"
    return "left" if light.sun_x < 0 else "right"
