"""Huts and bridges as triangles."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from hackamore.core.palette import CLASSES
from hackamore.worlds.light import Colour
from hackamore.worlds.solids import Point, Yard

BUILDING, BRIDGE = CLASSES.index("building"), CLASSES.index("bridge")
WALLS: tuple[Colour, ...] = ((0.30, 0.18, 0.10), (0.62, 0.60, 0.54), (0.36, 0.33, 0.30), (0.42, 0.09, 0.06))
ROOFS: tuple[Colour, ...] = ((0.42, 0.13, 0.07), (0.15, 0.16, 0.19), (0.40, 0.31, 0.14))
SNOWED: Colour = (0.60, 0.64, 0.72)
WINDOW: Colour = (0.05, 0.06, 0.08)
LAMP: Colour = (1.0, 0.62, 0.20)
DOOR: Colour = (0.14, 0.08, 0.05)
WOOD: Colour = (0.34, 0.21, 0.11)
STONE: Colour = (0.40, 0.38, 0.35)
SEGMENTS = 14


def point(x: float, y: float, z: float) -> Point:
    """A point of the world."""
    return np.array([x, y, z])


def build_hut(
    yard: Yard, foot: Point, size: float, turn: float, wall: Colour, roof: Colour, glow: float, long: float = 1.3
) -> None:
    """A gabled house: ``size`` is its height to the ridge, ``turn`` its yaw in radians, ``glow`` its windows' light."""
    eaves, deep, wide = 0.55 * size, 0.42 * size, 0.42 * size * long
    forward = point(-math.sin(turn), 0.0, -math.cos(turn))
    aside, up = point(math.cos(turn), 0.0, -math.sin(turn)), point(0.0, 1.0, 0.0)

    def at(right: float, high: float, front: float) -> Point:
        return foot + right * aside + high * up + front * forward

    low = -0.25 * size
    corners = [(-wide, deep), (wide, deep), (wide, -deep), (-wide, -deep)]
    for (r0, f0), (r1, f1) in zip(corners, corners[1:] + corners[:1], strict=True):
        yard.quad(at(r0, low, f0), at(r1, low, f1), at(r1, eaves, f1), at(r0, eaves, f0), wall, BUILDING)
    for r in (-wide, wide):
        yard.triangle(at(r, eaves, deep), at(r, eaves, -deep), at(r, size, 0.0), wall, BUILDING)
    over, drop = 0.10 * size, 0.10 * size
    for f in (deep + over, -deep - over):
        yard.quad(
            at(-wide - over, eaves - drop, f), at(wide + over, eaves - drop, f),
            at(wide + over, size + 0.02 * size, 0.0), at(-wide - over, size + 0.02 * size, 0.0), roof, BUILDING,
        )  # fmt: skip
    pane = LAMP if glow > 0.0 else WINDOW

    def panel(right: float, high: float, half: float, tall: float, front: float, colour: Colour, light: float) -> None:
        yard.quad(
            at(right - half, high, front), at(right + half, high, front),
            at(right + half, high + tall, front), at(right - half, high + tall, front), colour, BUILDING, light, 0.0,
        )  # fmt: skip

    for front in (deep + 0.012 * size, -deep - 0.012 * size):
        panel(0.0, 0.0, 0.075 * size, 0.34 * size, front, DOOR, 0.0)
        for right in (-0.6 * wide, 0.6 * wide):
            panel(right, 0.18 * size, 0.085 * size, 0.17 * size, front, pane, glow)
    for right in (-wide - 0.012 * size, wide + 0.012 * size):
        yard.quad(
            at(right, 0.2 * size, -0.09 * size), at(right, 0.2 * size, 0.09 * size),
            at(right, 0.38 * size, 0.09 * size), at(right, 0.38 * size, -0.09 * size), pane, BUILDING, glow, 0.0,
        )  # fmt: skip
    chimney = [(0.45, -0.02), (0.60, -0.02), (0.60, -0.16), (0.45, -0.16)]
    ring = [(r * wide, f * size) for r, f in chimney]
    for (r0, f0), (r1, f1) in zip(ring, ring[1:] + ring[:1], strict=True):
        yard.quad(
            at(r0, 0.6 * size, f0), at(r1, 0.6 * size, f1), at(r1, 1.12 * size, f1), at(r0, 1.12 * size, f0),
            STONE, BUILDING,
        )  # fmt: skip


def build_bridge(
    yard: Yard, middle: Point, half: float, along: tuple[float, float], width: float, stone: bool, snowed: bool
) -> None:
    """An arched bridge over water at ``middle``: ``half`` its half length, ``along`` its direction in x and z."""
    body, path = (STONE, (0.5, 0.46, 0.40)) if stone else (WOOD, (0.42, 0.28, 0.16))
    if snowed:
        path = SNOWED
    a = point(along[0], 0.0, along[1])
    across = point(-along[1], 0.0, along[0])
    clear, rise, thick, rail = 0.10 * half, 0.26 * half, 0.07 * half, 0.16 * half

    def deck(s: float) -> float:
        return clear + rise * (1.0 - s * s)

    def under(s: float) -> float:
        if not stone:
            return deck(s) - thick
        if abs(s) > 0.82:
            return -0.3 * half
        return (deck(s) - thick) * math.sqrt(1.0 - (s / 0.82) ** 2) - 0.02 * half

    def at(s: float, high: float, t: float) -> Point:
        return np.asarray(middle + s * half * a + point(0.0, high, 0.0) + t * width * across)

    stops = np.linspace(-1.0, 1.0, SEGMENTS + 1)
    for s0, s1 in pairwise(stops):
        yard.quad(at(s0, deck(s0), -1), at(s1, deck(s1), -1), at(s1, deck(s1), 1), at(s0, deck(s0), 1), path, BRIDGE)
        yard.quad(
            at(s0, under(s0), -1), at(s1, under(s1), -1), at(s1, under(s1), 1), at(s0, under(s0), 1), body, BRIDGE
        )
        for t in (-1.0, 1.0):
            top = rail if stone else 0.0
            yard.quad(
                at(s0, under(s0), t), at(s1, under(s1), t), at(s1, deck(s1) + top, t), at(s0, deck(s0) + top, t),
                body, BRIDGE,
            )  # fmt: skip
            if not stone:
                yard.quad(
                    at(s0, deck(s0) + 0.8 * rail, t), at(s1, deck(s1) + 0.8 * rail, t),
                    at(s1, deck(s1) + 1.05 * rail, t), at(s0, deck(s0) + 1.05 * rail, t), body, BRIDGE,
                )  # fmt: skip
                post = s0 + 0.22 * (s1 - s0)
                yard.quad(
                    at(s0, deck(s0), t), at(post, deck(post), t), at(post, deck(post) + rail, t),
                    at(s0, deck(s0) + rail, t), body, BRIDGE,
                )  # fmt: skip
    if not stone:
        for s in (-0.6, 0.0, 0.6):
            for t in (-0.9, 0.9):
                yard.quad(
                    at(s - 0.035, -0.4 * half, t), at(s + 0.035, -0.4 * half, t), at(s + 0.035, deck(s), t),
                    at(s - 0.035, deck(s), t), body, BRIDGE,
                )  # fmt: skip
