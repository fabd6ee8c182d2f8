"""What a hall is like: its walls, its lights in words, and where everyone stands, fitted to the picture's shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hackamore.worlds.draw import Eye
from hackamore.worlds.figures.company import Company
from hackamore.worlds.figures.dressing import Place
from hackamore.worlds.light import Colour
from hackamore.worlds.plan import Weights, pick

STREAM = 13
TALL = 0.15
"""Height of a person of usual height in the world's units, about that of people in landscapes."""
LIGHTS: dict[str, Colour] = {
    "red": (1.0, 0.04, 0.03),
    "blue": (0.06, 0.16, 1.0),
    "green": (0.06, 0.85, 0.12),
    "pink": (1.0, 0.18, 0.55),
    "purple": (0.46, 0.07, 1.0),
    "orange": (1.0, 0.34, 0.03),
    "yellow": (1.0, 0.72, 0.08),
    "white": (0.80, 0.80, 0.78),
    "turquoise": (0.04, 0.75, 0.75),
}
"""Colours of spotlights (linear)."""
CURTAINS: dict[str, Colour] = {
    "red": (0.30, 0.015, 0.015),
    "blue": (0.03, 0.05, 0.24),
    "black": (0.025, 0.025, 0.028),
    "grey": (0.16, 0.16, 0.17),
}
WALLS: Weights = {"curtain": 0.5, "bricks": 0.22, "panels": 0.28}


@dataclass(frozen=True)
class Hall:
    """Choices of one hall; lengths in heights of a person of usual height."""

    seed: int
    lights: tuple[str, ...]
    """The colours of the spotlights, one each, in order from the left."""
    wall: str
    curtain: str
    share: float
    """How much of the picture's height a person fills."""
    field: float
    eye: float
    """Height of the viewer's eye over the stage."""
    feet: float
    """How far above the picture's bottom the first one's feet are, as a share of its height."""
    depth: float
    """How far the wall is behind the first figure."""
    crowd: bool
    drums: bool
    loudspeakers: bool
    monitors: bool
    stand: bool


@dataclass(frozen=True)
class Setting:
    """A hall fitted to a picture: the viewer, everyone's place, the slopes y/z of the picture's top and bottom, half
    its width as x/z, and the depth of the first figure (world units)."""

    hall: Hall
    view: Eye
    places: list[Place]
    top: float
    bottom: float
    half: float
    middle: float


def choose_hall(company: Company) -> Hall:
    """The hall of a company."""
    rng = np.random.default_rng((company.seed, STREAM))
    count = int(rng.integers(2, 6))
    kinds = min(int(rng.choice([1, 2, 3], p=[0.25, 0.6, 0.15])), count)
    colours = [str(name) for name in rng.choice(list(LIGHTS), kinds, replace=False)]
    crowd = bool(rng.random() < 0.6)
    return Hall(
        seed=company.seed,
        lights=tuple(colours[k % kinds] for k in range(count)),
        wall=pick(rng, WALLS),
        curtain=str(rng.choice(list(CURTAINS))),
        share=float(rng.uniform(0.42, 0.74)),
        field=float(rng.uniform(0.95, 1.25)),
        eye=float(rng.uniform(0.25, 0.95)),
        feet=float(rng.uniform(0.13, 0.2) if crowd else rng.uniform(0.06, 0.16)),
        depth=float(rng.uniform(1.3, 2.6)),
        crowd=crowd,
        drums=bool(rng.random() < 0.4),
        loudspeakers=bool(rng.random() < 0.7),
        monitors=bool(rng.random() < 0.5),
        stand=bool(rng.random() < 0.6),
    )


def set_up(company: Company, hall: Hall, width: int, height: int) -> Setting:
    """Fit a hall to a picture of ``width`` × ``height`` pixels; only their ratio moves anything."""
    rng = np.random.default_rng((hall.seed, STREAM + 1))
    count = len(company.figures)
    focal = math.sqrt(width * height) / hall.field
    span, half = height / focal, 0.5 * width / focal
    most = min(0.78, 0.80 * width / height / (0.55 + 0.5 * count))
    share = min(hall.share * (1.0, 0.9, 0.8)[count - 1], most)
    middle = TALL / (share * span)
    eye = TALL * hall.eye
    bottom = -eye / middle - hall.feet * span
    horizon = height + bottom * focal
    view = Eye(eye, focal, horizon)
    order = [0.0] if count == 1 else [-0.5, 0.5] if count == 2 else [0.0, -1.0, 1.0]
    side = float(rng.choice([-1.0, 1.0]))
    apart = min(max(float(rng.uniform(0.75, 1.05)), 0.5), 1.1 * half * middle / TALL / max(count - 1, 1))
    start = float(rng.uniform(-0.25, 0.25)) if count == 1 else 0.0
    places: list[Place] = []
    for figure, at in zip(company.figures, order, strict=True):
        back = 0.0 if not places else float(rng.uniform(0.0, 0.5))
        z = middle + back * TALL
        x = (side * at * apart + start + float(rng.uniform(-0.06, 0.06))) * TALL * z / middle
        away = math.hypot(x, z)
        towards = math.atan2(-x / away, -z / away) + figure.angle
        places.append(Place((x, 0.0, z), TALL * figure.look.tall, (math.sin(towards), math.cos(towards))))
    return Setting(hall, view, places, horizon / focal, bottom, half, middle)
