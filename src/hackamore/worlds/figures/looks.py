"""What a figure looks like, in words and colours: build, skin, hair, clothes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hackamore.worlds.light import Colour
from hackamore.worlds.plan import Weights, pick

CLOTHS: dict[str, Colour] = {
    "red": (0.56, 0.025, 0.025),
    "blue": (0.035, 0.10, 0.46),
    "green": (0.04, 0.27, 0.07),
    "yellow": (0.78, 0.55, 0.04),
    "white": (0.72, 0.72, 0.70),
    "black": (0.022, 0.022, 0.026),
    "orange": (0.78, 0.23, 0.025),
    "pink": (0.78, 0.25, 0.38),
    "purple": (0.24, 0.06, 0.36),
    "grey": (0.24, 0.24, 0.25),
    "brown": (0.17, 0.085, 0.04),
    "turquoise": (0.04, 0.40, 0.40),
}
"""Colours of clothes under white light (linear)."""
BRIGHT: Weights = {
    "red": 0.17, "blue": 0.13, "green": 0.09, "yellow": 0.10, "white": 0.14, "black": 0.08,
    "orange": 0.08, "pink": 0.07, "purple": 0.06, "turquoise": 0.05, "grey": 0.03,
}  # fmt: skip
PLAIN: Weights = {"blue": 0.34, "black": 0.24, "grey": 0.14, "brown": 0.14, "white": 0.08, "green": 0.06}
SKINS: tuple[Colour, ...] = (
    (0.70, 0.45, 0.34), (0.62, 0.38, 0.26), (0.50, 0.28, 0.17),
    (0.36, 0.19, 0.11), (0.21, 0.105, 0.06), (0.115, 0.058, 0.036),
)  # fmt: skip
HAIRS: dict[str, Colour] = {
    "black": (0.016, 0.013, 0.012),
    "brown": (0.085, 0.042, 0.02),
    "blond": (0.56, 0.38, 0.14),
    "red": (0.36, 0.10, 0.025),
    "grey": (0.36, 0.36, 0.37),
}
HAIR_WEIGHTS: Weights = {"black": 0.32, "brown": 0.32, "blond": 0.18, "red": 0.09, "grey": 0.09}
TOPS: dict[str, Weights] = {
    "woman": {"dress": 0.42, "shirt": 0.20, "T-shirt": 0.20, "jacket": 0.18},
    "man": {"shirt": 0.36, "T-shirt": 0.34, "jacket": 0.30},
}
BOTTOMS: dict[str, Weights] = {
    "woman": {"trousers": 0.5, "skirt": 0.32, "shorts": 0.18},
    "man": {"trousers": 0.78, "shorts": 0.22},
}
HAIRCUTS: dict[str, Weights] = {
    "woman": {"long": 0.5, "bun": 0.2, "short": 0.18, "hat": 0.12},
    "man": {"short": 0.58, "bald": 0.12, "hat": 0.18, "long": 0.12},
}


@dataclass(frozen=True)
class Look:
    """One figure's looks; words are those a caption may use, colours are linear, numbers shares of the usual."""

    sex: str
    top: str
    bottom: str
    top_colour: str
    bottom_colour: str
    haircut: str
    hair_colour: str
    hat_colour: str
    skin: Colour
    tall: float
    girth: float
    hem: float
    """How far down the leg a dress or skirt reaches: 0 the hip, 1 the ankle."""
    beard: bool
    shoes: Colour


def choose_look(rng: np.random.Generator) -> Look:
    """Someone, drawn at random."""
    sex = "woman" if rng.random() < 0.5 else "man"
    top, bottom = pick(rng, TOPS[sex]), pick(rng, BOTTOMS[sex])
    if top == "jacket" and bottom == "shorts":
        bottom = "trousers"
    top_colour, bottom_colour = pick(rng, BRIGHT), pick(rng, PLAIN)
    if top == "dress":
        bottom, bottom_colour = "dress", top_colour
    elif bottom_colour == top_colour:
        bottom_colour = "black" if top_colour != "black" else "grey"
    shade = float(rng.uniform(0.9, 1.12))
    r, g, b = SKINS[int(rng.integers(len(SKINS)))]
    return Look(
        sex=sex,
        top=top,
        bottom=bottom,
        top_colour=top_colour,
        bottom_colour=bottom_colour,
        haircut=pick(rng, HAIRCUTS[sex]),
        hair_colour=pick(rng, HAIR_WEIGHTS),
        hat_colour=pick(rng, BRIGHT),
        skin=(r * shade, g * shade, b * shade),
        tall=float(rng.uniform(0.94, 0.99) if sex == "woman" else rng.uniform(0.99, 1.06)),
        girth=float(rng.uniform(0.92, 1.10)),
        hem=float(rng.choice([0.36, 0.48, 0.62, 0.86], p=[0.25, 0.35, 0.2, 0.2])),
        beard=bool(sex == "man" and rng.random() < 0.3),
        shoes=((0.03, 0.025, 0.022), (0.12, 0.06, 0.03), (0.6, 0.6, 0.6), (0.4, 0.03, 0.03))[int(rng.integers(4))],
    )
