"""What a world is to be, in words, drawn from its seed before any number of its shape is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hackamore.worlds.land import SEASONS

Weights = dict[str, float]

TERRAINS: Weights = {
    "mountains": 0.25, "hills": 0.16, "dunes": 0.09, "canyon": 0.10,
    "islands": 0.09, "coast": 0.09, "volcano": 0.08, "plains": 0.14,
}  # fmt: skip
WATERS: dict[str, Weights] = {
    "mountains": {"lake": 0.42, "river": 0.18, "none": 0.40},
    "hills": {"lake": 0.30, "river": 0.22, "none": 0.48},
    "dunes": {"oasis": 0.15, "none": 0.85},
    "canyon": {"river": 0.35, "none": 0.65},
    "islands": {"sea": 1.0},
    "coast": {"sea": 1.0},
    "volcano": {"lake": 0.35, "sea": 0.15, "none": 0.5},
    "plains": {"lake": 0.25, "river": 0.22, "none": 0.53},
}
TIME_WEIGHTS: Weights = {"sunrise": 0.14, "noon": 0.22, "afternoon": 0.2, "sunset": 0.19, "dusk": 0.11, "night": 0.14}
WEATHER_WEIGHTS: Weights = {"clear": 0.34, "cloudy": 0.38, "overcast": 0.17, "foggy": 0.11}
EYES: Weights = {"low": 0.3, "standing": 0.5, "above": 0.2}


@dataclass(frozen=True)
class Plan:
    """Choices of one world; every field is a word that a caption may use."""

    terrain: str
    time: str
    season: str
    weather: str
    precipitation: str
    water: str
    trees: str
    eye: str
    road: bool
    flowers: bool
    lone_tree: bool


def pick(rng: np.random.Generator, weights: Weights) -> str:
    """One of the keys, with probability proportional to its weight."""
    p = np.array(list(weights.values()))
    return str(list(weights)[int(rng.choice(len(p), p=p / p.sum()))])


def choose_plan(rng: np.random.Generator) -> Plan:
    """A plausible combination: no snow on dunes, no rain from a blue sky."""
    terrain = pick(rng, TERRAINS)
    time = pick(rng, TIME_WEIGHTS)
    season = str(rng.choice(SEASONS))
    weather = pick(rng, WEATHER_WEIGHTS)
    if terrain in ("dunes", "canyon") or (terrain == "islands" and season == "winter"):
        season = "summer"
    if terrain == "dunes" and weather == "overcast":
        weather = "cloudy"
    precipitation = "none"
    if weather == "overcast" and rng.random() < 0.5:
        precipitation = "snowfall" if season == "winter" else "rain"
    water = pick(rng, WATERS[terrain])
    trees = _choose_trees(rng, terrain, season, water)
    open_land = terrain in ("hills", "plains") and water != "river"
    return Plan(
        terrain=terrain,
        time=time,
        season=season,
        weather=weather,
        precipitation=precipitation,
        water=water,
        trees=trees,
        eye=pick(rng, EYES),
        road=bool(open_land and rng.random() < 0.4),
        flowers=bool(
            terrain in ("hills", "plains", "mountains") and season in ("spring", "summer") and rng.random() < 0.35
        ),
        lone_tree=bool(trees != "none" and terrain in ("hills", "plains", "coast") and rng.random() < 0.3),
    )


def _choose_trees(rng: np.random.Generator, terrain: str, season: str, water: str) -> str:
    if terrain == "dunes":
        return "palm" if water == "oasis" else "none"
    if terrain == "canyon":
        return "none"
    if terrain in ("islands", "coast") and season != "winter" and rng.random() < (0.5 if season == "summer" else 0.2):
        return "palm"
    if rng.random() < 0.2:
        return "none"
    if rng.random() < (0.7 if terrain in ("mountains", "volcano") else 0.45):
        return "pine"
    return {"winter": "bare", "autumn": "autumn", "spring": "blossom" if rng.random() < 0.4 else "round"}.get(
        season, "round"
    )
