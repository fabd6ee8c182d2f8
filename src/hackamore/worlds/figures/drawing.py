"""Figures drawn into a land: their parts, their light, their shadows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.draw import Eye, Layers
from hackamore.worlds.figures.company import Company, Figure
from hackamore.worlds.figures.dressing import (
    Place,
    Tailor,
    add_guitar,
    add_microphone,
    add_seat,
    dress,
    feet_of,
)
from hackamore.worlds.figures.looks import CLOTHS
from hackamore.worlds.figures.parts import Floats, Parts, Workshop, casters
from hackamore.worlds.figures.placing import seat_height
from hackamore.worlds.figures.rays import draw_parts
from hackamore.worlds.figures.shine import light_figures, shade_ground, sunlight_at
from hackamore.worlds.grid import Grid
from hackamore.worlds.light import Light
from hackamore.worlds.materials import ROCK

GUITARS = ("red", "black", "brown", "white", "orange", "blue")


def make_figure(figure: Figure, place: Place, number: int, shop: Workshop) -> None:
    """Add all parts of a figure, its seat and what it holds."""
    tailor = Tailor(shop, place, number)
    dress(figure.body, figure.look, figure.pose, tailor)
    if seat_height(figure):
        add_seat(figure.seat, seat_height(figure), tailor, ROCK)
    if figure.gesture == "guitar":
        add_guitar(figure.body, CLOTHS[GUITARS[int(figure.look.girth * 1e4) % len(GUITARS)]], tailor)
    elif figure.gesture == "microphone":
        add_microphone(figure.body, holding_side(figure), tailor)


def holding_side(figure: Figure) -> str:
    """The hand that is nearer the mouth."""
    points = figure.body.points
    return min(("right", "left"), key=lambda side: float(np.linalg.norm(points[f"{side} hand"] - points["nose"])))


def touching(figure: Figure, place: Place) -> Floats:
    """What touches the ground: rows of x, y, z and radius."""
    spots = [(*place.world(foot), 0.05 * place.tall) for foot in feet_of(figure.body)]
    if figure.seat in ("rock", "stool"):
        spots.append((*place.foot, (0.2 if figure.seat == "rock" else 0.09) * place.tall))
    return np.array(spots)


def draw_company(
    company: Company, places: list[Place], light: Light, grid: Grid, eye: Eye, overcast: float, layers: Layers
) -> tuple[Parts, NDArray[np.int16]]:
    """Draw everyone into finished layers of a land; the parts, and the number of the part at each pixel (-1: none)."""
    shop = Workshop()
    for number, (figure, place) in enumerate(zip(company.figures, places, strict=True)):
        make_figure(figure, place, number, shop)
    parts = shop.put_together()
    which = np.full(layers.label.shape, -1, np.int16)
    draw_parts(parts, eye, layers, which)
    feet = np.array([(*place.foot, place.tall) for place in places])
    sunlit = np.array([sunlight_at(grid, place.foot[0], place.foot[2]) for place in places])
    contacts = np.concatenate([touching(figure, place) for figure, place in zip(company.figures, places, strict=True)])
    those = casters(parts)
    light_figures(parts, those, light, eye, feet, sunlit, layers, which)
    shade_ground(those, light, eye, feet, sunlit, contacts, overcast, layers, which)
    return parts, which
