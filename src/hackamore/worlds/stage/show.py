"""A concert drawn from its company: the hall, the figures, the light."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.draw import NOTHING, Layers
from hackamore.worlds.figures.company import Company
from hackamore.worlds.figures.drawing import make_figure
from hackamore.worlds.figures.parts import Parts, Workshop, casters
from hackamore.worlds.figures.rays import draw_parts
from hackamore.worlds.stage.hall import LIGHTS, TALL, WALLS, Hall, Setting, set_up
from hackamore.worlds.stage.props import STAND, aims, build_hall, lamps
from hackamore.worlds.stage.spots import Spots, light_hall

EXPOSURE, SATURATION = 0.85, 1.12


def draw_show(
    company: Company, hall: Hall, width: int, height: int
) -> tuple[Setting, Layers, Parts, NDArray[np.int16]]:
    """The layers of a concert, with its setting, all parts, and the number of the part at each pixel."""
    setting = set_up(company, hall, width, height)
    shop = Workshop()
    for number, (figure, place) in enumerate(zip(company.figures, setting.places, strict=True)):
        make_figure(figure, place, number, shop)
    build_hall(setting, company, shop)
    parts = shop.put_together()
    layers = Layers(
        np.zeros((height, width, 3), np.float32),
        np.zeros((height, width), np.uint8),
        np.full((height, width), NOTHING, np.float32),
        np.zeros((height, width, 3), np.float32),
    )
    which = np.full((height, width), -1, np.int16)
    draw_parts(parts, setting.view, layers, which)
    back = setting.middle + hall.depth * TALL
    light_hall(
        parts,
        casters(parts, STAND),
        _spots(setting),
        _glow(hall),
        list(WALLS).index(hall.wall),
        back,
        TALL,
        setting.view,
        layers,
        which,
    )
    return setting, layers, parts, which


def _glow(hall: Hall) -> tuple[float, float, float]:
    """Light scattered everywhere: dark, tinged by the spotlights."""
    mean = np.mean([LIGHTS[name] for name in hall.lights], axis=0)
    r, g, b = (float(c) for c in 0.05 * mean + np.array([0.022, 0.022, 0.03]))
    return r, g, b


def _spots(setting: Setting) -> Spots:
    """The coloured lamps, washes in their colours on the wall, and a warm light from the front for everyone."""
    rows: list[tuple[tuple[float, ...], ...]] = []
    places = lamps(setting)
    for at, aim, name in zip(places, aims(setting), setting.hall.lights, strict=True):
        rows.append(_row(at, aim, LIGHTS[name], 2.2, 0.17, 0.30))
    for k, name in enumerate(dict.fromkeys(setting.hall.lights)):
        x = float(places[(2 * k + 1) % len(places), 0])
        low = np.array([x, 0.05 * TALL, setting.middle + (setting.hall.depth - 0.45) * TALL])
        rows.append(_row(low, low + np.array([0.0, 1.0, 0.55]) * TALL, LIGHTS[name], 1.3, 0.8, 0.0))
    for place in setting.places:
        x, _, z = place.foot
        side = 0.9 if x < 0 else -0.9
        lamp = np.array([x + side * TALL, 2.3 * TALL, z - 2.4 * TALL])
        rows.append(_row(lamp, np.array([x, 0.5 * TALL, z]), (1.0, 0.86, 0.70), 1.35, 0.24, 0.0))
    columns = [np.array(column, np.float64) for column in zip(*rows, strict=True)]
    return Spots(columns[0], columns[1], columns[2], columns[3][:, 0], columns[3][:, 1], columns[3][:, 2])


def _row(
    at: NDArray[np.float64],
    aim: NDArray[np.float64],
    colour: tuple[float, float, float],
    power: float,
    half: float,
    beam: float,
) -> tuple[tuple[float, ...], ...]:
    """Place, direction, colour and (inner, outer, beam) of a lamp; ``half`` is half the angle of its cone."""
    along = (aim - at) / float(np.linalg.norm(aim - at))
    edge = (math.cos(0.7 * half), math.cos(half), beam)
    return tuple(map(float, at)), tuple(map(float, along)), tuple(power * c for c in colour), edge
