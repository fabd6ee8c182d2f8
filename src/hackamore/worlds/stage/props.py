"""The things in a hall, as parts: floor, walls, truss and lamps, loudspeakers, drums, microphone stands, the crowd."""

from __future__ import annotations

import numpy as np

from hackamore.core.palette import CLASSES
from hackamore.worlds.figures.body import vector
from hackamore.worlds.figures.company import Company
from hackamore.worlds.figures.parts import BUILDING, CONE, OTHER, Floats, Workshop
from hackamore.worlds.light import Colour
from hackamore.worlds.stage.hall import CURTAINS, LIGHTS, TALL, Setting

ROAD = CLASSES.index("road")
STAND, DRUMS, LOUDSPEAKER, ROOM, TRUSS, CROWD = range(-1, -7, -1)
"""Owners of the parts of a hall."""
FRONT = 0.75
"""How far the stage reaches before the first figure, in heights of a person."""
BLACK: Colour = (0.018, 0.018, 0.020)
METAL: Colour = (0.20, 0.20, 0.21)


def lamps(setting: Setting) -> Floats:
    """Rows of x, y, z: the spotlights, hung in a line behind the figures, high in the picture."""
    count = len(setting.hall.lights)
    z = setting.middle + 0.75 * TALL
    y = setting.view.height + 0.86 * setting.top * z
    spread = 0.82 * setting.half * z
    x = np.linspace(-spread, spread, count)
    return np.stack([x, np.full(count, y), np.full(count, z)], axis=1)


def build_hall(setting: Setting, company: Company, shop: Workshop) -> None:
    """Add everything but the figures."""
    rng = np.random.default_rng((setting.hall.seed, 17))
    _room(setting, shop)
    _truss(setting, shop)
    back = setting.middle + (setting.hall.depth - 0.75) * TALL
    if setting.hall.loudspeakers:
        wide = 0.80 * setting.half * (setting.middle + 0.9 * TALL)
        for s in (-1.0, 1.0):
            _loudspeaker(vector(s * wide, 0, setting.middle + 0.9 * TALL), shop)
    if setting.hall.drums:
        _drums(vector(float(rng.uniform(-0.25, 0.25)) * TALL, 0, back), shop)
    if setting.hall.monitors:
        for place in setting.places[:2]:
            x, z = place.foot[0] + float(rng.choice([-0.24, 0.24])) * TALL, setting.middle - 0.5 * TALL
            low, size = vector(x - 0.13 * TALL, 0, z), vector(0.26 * TALL, 0.11 * TALL, 0.14 * TALL)
            shop.box(low, low + size, BLACK, owner=STAND)
    if setting.hall.stand:
        for figure, place in zip(company.figures, setting.places, strict=True):
            if figure.role in ("guitarist", ""):
                _stand(place.world(vector(0.11, 0, 0.30)), place.world(vector(0.03, 0.875, 0.16)), shop)
    if setting.hall.crowd:
        _crowd(setting, rng, shop)


def _room(setting: Setting, shop: Workshop) -> None:
    """Floor of the stage, pit before it, wall, wings and ceiling."""
    wide = max(3.0 * TALL, 1.08 * setting.half * (setting.middle + setting.hall.depth * TALL))
    front, back = setting.middle - FRONT * TALL, setting.middle + setting.hall.depth * TALL
    high = setting.view.height + 1.1 * setting.top * back + TALL
    pit, wall = -0.7 * TALL, CURTAINS[setting.hall.curtain]
    if setting.hall.wall == "bricks":
        wall = (0.22, 0.12, 0.085)
    elif setting.hall.wall == "panels":
        wall = (0.13, 0.13, 0.14)
    shop.box(vector(-wide, pit, front), vector(wide, 0, back), (0.10, 0.085, 0.075), owner=ROOM, label=ROAD)
    shop.box(vector(-wide, pit - 0.1, 1e-3), vector(wide, pit, front), (0.03, 0.03, 0.03), owner=ROOM, label=ROAD)
    shop.box(vector(-wide, pit, back), vector(wide, high, back + 0.1), wall, owner=ROOM, label=BUILDING)
    for s in (-1.0, 1.0):
        x = min(s * wide, s * wide + s * 0.1)
        shop.box(vector(x, pit, 1e-3), vector(x + 0.1, high, back), BLACK, owner=ROOM, label=BUILDING)
    shop.box(vector(-wide, high, 1e-3), vector(wide, high + 0.1, back), BLACK, owner=ROOM, label=BUILDING)


def _truss(setting: Setting, shop: Workshop) -> None:
    """A girder of two tubes and a zigzag, with the lamps below it."""
    at = lamps(setting)
    wide, y, z = 1.1 * setting.half * at[0, 2], float(at[0, 1]) + 0.10 * TALL, float(at[0, 2])
    thin, gap = 0.013 * TALL, 0.13 * TALL
    for up in (0.0, gap):
        shop.capsule(vector(-wide, y + up, z), vector(wide, y + up, z), thin, thin, METAL, owner=TRUSS, label=BUILDING)
    count = max(int(2 * wide / gap / 1.2), 4)
    x = np.linspace(-wide, wide, count + 1)
    for k in range(count):
        a, b = (0.0, gap) if k % 2 else (gap, 0.0)
        ends = vector(x[k], y + a, z), vector(x[k + 1], y + b, z)
        shop.capsule(*ends, 0.6 * thin, 0.6 * thin, METAL, owner=TRUSS, label=BUILDING)
    for (x0, y0, z0), name, aim in zip(at, setting.hall.lights, aims(setting), strict=True):
        lamp = vector(x0, y0, z0)
        along = aim - lamp
        along = along / float(np.linalg.norm(along))
        back = lamp - along * 0.13 * TALL
        shop.capsule(back, lamp, 0.045 * TALL, 0.058 * TALL, BLACK, owner=TRUSS, label=OTHER, glow=1e-6)
        bright = LIGHTS[name]
        lens = lamp + along * 0.035 * TALL
        shop.capsule(lens, lens, 0.045 * TALL, 0.045 * TALL, bright, owner=TRUSS, label=OTHER, glow=6.0)


def aims(setting: Setting) -> list[Floats]:
    """Where on the stage each spotlight points: at the figures in turn, or crossing."""
    rng = np.random.default_rng((setting.hall.seed, 19))
    points = []
    for k, (x, _, _) in enumerate(lamps(setting)):
        place = setting.places[k % len(setting.places)]
        to_figure = rng.random() < 0.55
        target = place.foot[0] if to_figure else float(rng.uniform(-0.7, 0.3)) * float(x)
        points.append(vector(target, 0.0, setting.middle + float(rng.uniform(-0.05, 0.4)) * TALL))
    return points


def _loudspeaker(at: Floats, shop: Workshop) -> None:
    """Two black boxes on one another with round cones in front."""
    for k in range(2):
        low = at + TALL * vector(-0.2, 0.55 * k, 0.0)
        shop.box(low, low + TALL * vector(0.4, 0.53, 0.38), BLACK, owner=LOUDSPEAKER)
        for up, radius in ((0.19, 0.145), (0.42, 0.075)):
            middle = low + TALL * vector(0.2, up, 0.0)
            shop.capsule(
                middle, middle, radius * TALL, radius * TALL, (0.06, 0.06, 0.065),
                owner=LOUDSPEAKER, label=OTHER, axis=vector(0, 0, 1), squash=7.0,
            )  # fmt: skip


def _drums(at: Floats, shop: Workshop) -> None:
    """A drum kit on a low platform."""
    red, skin, gold = (0.35, 0.03, 0.03), (0.55, 0.54, 0.5), (0.55, 0.38, 0.10)
    shop.box(at + TALL * vector(-0.7, 0, -0.2), at + TALL * vector(0.7, 0.14, 0.7), BLACK, owner=DRUMS)
    bass = at + TALL * vector(0, 0.14 + 0.19, 0.0)
    shop.capsule(
        bass, bass + TALL * vector(0, 0, 0.28), 0.19 * TALL, 0.19 * TALL, red, owner=DRUMS, label=OTHER, kind=CONE
    )
    shop.capsule(
        bass, bass, 0.185 * TALL, 0.185 * TALL, skin, owner=DRUMS, label=OTHER, axis=vector(0, 0, 1), squash=9.0
    )
    for x, y, radius in ((-0.16, 0.62, 0.11), (0.17, 0.62, 0.12), (-0.42, 0.46, 0.13), (0.45, 0.42, 0.15)):
        top = at + TALL * vector(x, y, 0.05)
        below = top - TALL * vector(0, 0.15, 0)
        shop.capsule(below, top, radius * TALL, radius * TALL, red, owner=DRUMS, label=OTHER, kind=CONE)
        shop.capsule(
            top, top, radius * TALL, radius * TALL, skin, owner=DRUMS, label=OTHER, axis=vector(0, 1, 0), squash=9.0
        )
    for x, y in ((-0.52, 0.84), (0.52, 0.88)):
        top = at + TALL * vector(x, y, 0.1)
        up = vector(0.15 * np.sign(x), 1, -0.2)
        shop.capsule(top, top, 0.19 * TALL, 0.19 * TALL, gold, owner=DRUMS, label=OTHER, axis=up, squash=22.0)
        foot = at + TALL * vector(x, 0.14, 0.1)
        shop.capsule(foot, top, 0.010 * TALL, 0.010 * TALL, METAL, owner=DRUMS, label=OTHER)


def _stand(foot: Floats, mouth: Floats, shop: Workshop) -> None:
    """A microphone on a stand with a boom."""
    knee = vector(float(foot[0]), float(mouth[1]) - 0.10 * TALL, float(foot[2]))
    thin = 0.008 * TALL
    disc = foot + TALL * vector(0, 0.008, 0)
    shop.capsule(
        disc, disc, 0.09 * TALL, 0.09 * TALL, BLACK, owner=STAND, label=OTHER, axis=vector(0, 1, 0), squash=9.0
    )
    shop.capsule(foot, knee, thin, thin, METAL, owner=STAND, label=OTHER)
    shop.capsule(knee, mouth, 0.8 * thin, 0.8 * thin, METAL, owner=STAND, label=OTHER)
    shop.capsule(mouth, mouth, 0.019 * TALL, 0.019 * TALL, (0.10, 0.10, 0.11), owner=STAND, label=OTHER)


def _crowd(setting: Setting, rng: np.random.Generator, shop: Workshop) -> None:
    """Heads and shoulders seen from behind along the bottom of the picture, some with an arm up."""
    z = setting.middle - (FRONT + 0.35) * TALL
    z = max(z, 0.45 * setting.middle)
    for row in range(2):
        near = z * (1.0 - 0.18 * row)
        wide = setting.half * near * 1.05
        count = max(int(2 * wide / (0.27 * TALL)), 2)
        span = setting.top - setting.bottom
        for k in range(count):
            x = -wide + 2 * wide * (k + 0.5 + float(rng.uniform(-0.25, 0.25))) / count
            level = setting.bottom + span * float(rng.uniform(0.065, 0.12) if row == 0 else rng.uniform(0.02, 0.06))
            head = vector(
                x, setting.view.height + level * near - 0.06 * TALL, near + float(rng.uniform(-0.05, 0.05)) * TALL
            )
            dark = (0.012, 0.011, 0.011)
            shop.capsule(
                head, head - TALL * vector(0, 0.03, 0), 0.06 * TALL, 0.05 * TALL, dark, owner=CROWD, label=OTHER
            )
            for s in (-1.0, 1.0):
                a, b = head - TALL * vector(0, 0.10, 0), head + TALL * vector(s * 0.12, -0.19, 0)
                shop.capsule(a, b, 0.045 * TALL, 0.06 * TALL, dark, owner=CROWD, label=OTHER)
            if rng.random() < 0.16:
                s = float(rng.choice([-1.0, 1.0]))
                a, b = head + TALL * vector(s * 0.13, -0.17, 0), head + TALL * vector(s * 0.21, -0.06, 0)
                hand = b + TALL * vector(-s * float(rng.uniform(-0.03, 0.06)), 0.14, 0)
                shop.capsule(a, b, 0.034 * TALL, 0.025 * TALL, dark, owner=CROWD, label=OTHER)
                shop.capsule(b, hand, 0.024 * TALL, 0.015 * TALL, dark, owner=CROWD, label=OTHER)
                shop.capsule(hand, hand, 0.023 * TALL, 0.023 * TALL, dark, owner=CROWD, label=OTHER)
