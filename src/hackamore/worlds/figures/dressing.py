"""A posed body and a look become parts: limbs, clothes, head, hair, face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hackamore.worlds.figures.body import ANKLE, Body, Vector, unit, vector
from hackamore.worlds.figures.looks import CLOTHS, HAIRS, Look
from hackamore.worlds.figures.parts import CONE, OTHER, PERSON, Floats, Workshop
from hackamore.worlds.light import Colour

SIDES = (("right", 1.0), ("left", -1.0))


@dataclass(frozen=True)
class Place:
    """Where a figure stands: its foot in the world, its height, and where it faces (unit x and z)."""

    foot: tuple[float, float, float]
    tall: float
    facing: tuple[float, float]

    def world(self, local: Vector) -> Floats:
        """Body coordinates (right, up, forward) → world (x, y, z)."""
        return np.array(self.foot) + self.tall * self.turn(local)

    def turn(self, local: Vector) -> Floats:
        """A direction of the body in world axes."""
        fx, fz = self.facing
        r, u, f = local
        return np.array([r * fz + f * fx, u, -r * fx + f * fz])


@dataclass(frozen=True)
class Tailor:
    """Adds parts told in body coordinates and body heights."""

    shop: Workshop
    place: Place
    owner: int

    def capsule(
        self,
        a: Vector,
        b: Vector,
        first: float,
        last: float,
        colour: Colour,
        axis: Vector | None = None,
        squash: float = 1.0,
        kind: int = 0,
        label: int = PERSON,
    ) -> None:
        """Add the part between ``a`` and ``b``, squashed along ``axis``."""
        self.shop.capsule(
            self.place.world(a), self.place.world(b), first * self.place.tall, last * self.place.tall, colour,
            owner=self.owner, label=label, axis=None if axis is None else self.place.turn(axis), squash=squash,
            kind=kind,
        )  # fmt: skip


def _darker(colour: Colour, by: float) -> Colour:
    return (colour[0] * by, colour[1] * by, colour[2] * by)


def dress(body: Body, look: Look, pose: str, tailor: Tailor) -> None:
    """All parts of a figure."""
    _trunk(body, look, tailor)
    for side, s in SIDES:
        _leg(body, look, side, tailor)
        _arm(body, look, side, tailor)
        _ear(body, look, side, s, tailor)
    if look.bottom in ("skirt", "dress") or look.top == "jacket":
        _skirt(body, look, pose, tailor)
    _head(body, look, tailor)
    _hair(body, look, tailor)


def _trunk(body: Body, look: Look, tailor: Tailor) -> None:
    p, g, woman = body.points, look.girth, look.sex == "woman"
    top, bottom = CLOTHS[look.top_colour], CLOTHS[look.bottom_colour]
    chest_front, pelvis_front = body.chest @ vector(0, 0, 1), body.pelvis @ vector(0, 0, 1)
    up, side = body.chest @ vector(0, 1, 0), body.chest @ vector(1, 0, 0)
    waist = p["waist"]
    low = p["pelvis"] + body.pelvis @ vector(0, 0.012, 0)
    hips, middle, ribs = (0.083, 0.065, 0.082) if woman else (0.077, 0.073, 0.094)
    below = top if look.top in ("dress", "jacket") else bottom
    tailor.capsule(low, low + (waist - low) * 0.55, hips * g, (middle + 0.002) * g, below, pelvis_front, 1.42)
    tailor.capsule(waist - up * 0.045, p["neck"] - up * 0.075, (middle + 0.006) * g, ribs * g, top, chest_front, 1.5)
    for s in (1.0, -1.0):
        shoulder = p["right shoulder"] if s > 0 else p["left shoulder"]
        tailor.capsule(p["neck"] - up * 0.035, shoulder, 0.040 * g, 0.030 * g, top)
        tailor.capsule(p["neck"] + up * 0.018, shoulder - up * 0.004, 0.026, 0.024 * g, top)
    if woman:
        front = p["neck"] - up * 0.115 + chest_front * 0.026
        tailor.capsule(front + side * 0.034, front - side * 0.034, 0.034 * g, 0.034 * g, top)
    neck_top = p["skull"] + body.head @ vector(0, -0.045, -0.008)
    tailor.capsule(p["neck"] + up * 0.012, neck_top, 0.030 if woman else 0.035, 0.029 if woman else 0.033, look.skin)
    if look.top == "jacket":
        shirt = (0.6, 0.6, 0.58) if look.top_colour != "white" else (0.12, 0.12, 0.14)
        a, b = p["neck"] - up * 0.012 + chest_front * 0.022, p["neck"] - up * 0.085 + chest_front * 0.058
        tailor.capsule(a, b, 0.030 * g, 0.008 * g, shirt)


def _leg(body: Body, look: Look, side: str, tailor: Tailor) -> None:
    p, g = body.points, look.girth
    hip, knee, ankle = p[f"{side} hip"], p[f"{side} knee"], p[f"{side} ankle"]
    cloth = CLOTHS[look.bottom_colour]
    bare = look.bottom != "trousers"
    short = look.bottom == "shorts"
    skin = look.skin
    thigh, at_knee, calf, thin = 0.051 * g, 0.035 * g, 0.036 * g, 0.022
    if look.bottom == "trousers":
        thigh, at_knee, calf, thin = 0.054 * g, 0.041 * g, 0.040 * g, 0.032
    tailor.capsule(hip, knee, thigh, at_knee, skin if bare else cloth)
    if look.bottom in ("skirt", "dress") or look.top == "jacket":
        under = 0.26 if look.top == "jacket" and not bare else min(1.7 * look.hem, 0.95)
        over = CLOTHS[look.top_colour] if look.top == "jacket" and not bare else cloth
        end = hip + (knee - hip) * under
        tailor.capsule(hip, end, thigh + 0.004, thigh + (at_knee - thigh) * under + 0.004, over)
    if short:
        end = hip + (knee - hip) * 0.68
        tailor.capsule(hip, end, 0.058 * g, 0.053 * g, cloth)
    back = unit(knee - hip) - unit(ankle - knee)
    belly = knee + (ankle - knee) * 0.28 + back * 0.010
    shin = skin if bare else cloth
    tailor.capsule(knee, belly, at_knee, calf * 0.98, shin)
    low = ankle if bare else knee + (ankle - knee) * 1.0
    tailor.capsule(belly, low, calf, thin, shin)
    heel, toe = p[f"{side} heel"], p[f"{side} toe"]
    tailor.capsule(heel, toe, 0.022, 0.017, look.shoes)
    tailor.capsule(ankle - (ankle - knee) * 0.02, heel + (toe - heel) * 0.5, 0.021, 0.022, look.shoes)


def _arm(body: Body, look: Look, side: str, tailor: Tailor) -> None:
    p, g = body.points, look.girth * (0.92 if look.sex == "woman" else 1.04)
    shoulder, elbow, wrist, hand = (p[f"{side} {name}"] for name in ("shoulder", "elbow", "wrist", "hand"))
    cloth, skin = CLOTHS[look.top_colour], look.skin
    long = look.top in ("shirt", "jacket")
    thick = 0.004 if look.top == "jacket" else 0.002
    tailor.capsule(shoulder, elbow, 0.030 * g, 0.0245 * g, cloth if long else skin)
    tailor.capsule(elbow, wrist, 0.0245 * g, 0.0175 * g, cloth if long else skin)
    if long:
        cuff = wrist + (elbow - wrist) * 0.06
        tailor.capsule(shoulder, elbow, 0.031 * g + thick, 0.026 * g + thick, cloth)
        tailor.capsule(elbow, cuff, 0.026 * g + thick, 0.021 * g + thick, cloth)
    elif look.top != "dress":
        tailor.capsule(shoulder, shoulder + (elbow - shoulder) * 0.5, 0.033 * g, 0.034 * g, cloth)
    tailor.capsule(wrist, wrist + (hand - wrist) * 0.9, 0.0185, 0.0215, skin)
    tailor.capsule(hand, hand + unit(hand - wrist) * 0.022, 0.018, 0.012, skin)


def _skirt(body: Body, look: Look, pose: str, tailor: Tailor) -> None:
    """A skirt hangs from the waist around both legs; over raised or seated thighs it lies on them."""
    p, g = body.points, look.girth
    jacket = look.bottom not in ("skirt", "dress")
    cloth = CLOTHS[look.top_colour if jacket or look.bottom == "dress" else look.bottom_colour]
    hem = 0.16 if jacket else look.hem
    if pose == "sitting":
        if jacket:
            return
        for side, _ in SIDES:
            hip, knee = p[f"{side} hip"], p[f"{side} knee"]
            tailor.capsule(hip, hip + (knee - hip) * min(hem / 0.5, 0.98), 0.074 * g, 0.058 * g, cloth)
        return
    waist = p["pelvis"] + (p["waist"] - p["pelvis"]) * 0.55
    middle = {name: (p[f"right {name}"] + p[f"left {name}"]) * 0.5 for name in ("hip", "knee", "ankle")}
    down = middle["knee"] if hem <= 0.5 else middle["knee"] + (middle["ankle"] - middle["knee"]) * (hem - 0.5) * 2.0
    towards = down - waist if hem > 0.5 else (down - waist) * (0.34 + hem * 1.32)
    apart = 0.0
    for side, _ in SIDES:
        hip, knee, ankle = p[f"{side} hip"], p[f"{side} knee"], p[f"{side} ankle"]
        at = hip + (knee - hip) * min(hem * 2.0, 1.0) + (ankle - knee) * max(hem * 2.0 - 1.0, 0.0)
        off = at - waist - towards * float((at - waist) @ towards) / float(towards @ towards)
        apart = max(apart, float(np.linalg.norm(off)))
    wide = (0.132 if jacket else min(max(0.11 + 0.05 * hem, apart + 0.038), 0.24)) * (g if jacket else 1.0)
    front = body.pelvis @ vector(0, 0, 1)
    squash = 1.22 if jacket else 1.12
    tailor.capsule(waist, waist + towards, 0.079 * g if jacket else 0.072 * g, wide, cloth, front, squash, CONE)


def _head(body: Body, look: Look, tailor: Tailor) -> None:
    skull, side = body.points["skull"], body.head @ vector(1, 0, 0)

    def at(right: float, up: float, forward: float) -> Vector:
        return np.asarray(skull + body.head @ vector(right, up, forward), np.float64)

    skin, dark = look.skin, (0.012, 0.010, 0.010)
    chin = 0.031 if look.sex == "man" else 0.026
    tailor.capsule(at(0, 0.014, -0.006), at(0, -0.040, 0.020), 0.053, chin, skin, side, 1.16)
    tailor.capsule(at(0, 0.004, 0.047), body.points["nose"] - body.head @ vector(0, 0, 0.004), 0.0075, 0.0095, skin)
    lips = (skin[0] * 0.72, skin[1] * 0.34, skin[2] * 0.34)
    tailor.capsule(at(0.0115, -0.037, 0.043), at(-0.0115, -0.037, 0.043), 0.0048, 0.0048, lips)
    for s in (1.0, -1.0):
        tailor.capsule(at(s * 0.0205, 0.008, 0.038), at(s * 0.0185, 0.008, 0.0385), 0.0092, 0.0092, (0.55, 0.53, 0.51))
        tailor.capsule(at(s * 0.0195, 0.008, 0.0425), at(s * 0.0195, 0.007, 0.0425), 0.0074, 0.0074, dark)
        brow = _darker(HAIRS[look.hair_colour], 0.6)
        tailor.capsule(at(s * 0.010, 0.0225, 0.044), at(s * 0.030, 0.0215, 0.036), 0.0036, 0.0030, brow)
    if look.beard:
        hair = HAIRS[look.hair_colour]
        tailor.capsule(at(0, -0.048, 0.022), at(0, -0.044, 0.019), 0.0275, 0.029, hair, side, 1.0)


def _ear(body: Body, look: Look, side: str, s: float, tailor: Tailor) -> None:
    ear, out = body.points[f"{side} ear"], body.head @ vector(s, 0, 0)
    up = body.head @ vector(0, 1, 0)
    tailor.capsule(ear + up * 0.006, ear - up * 0.008, 0.013, 0.009, look.skin, out, 1.8)


def _hair(body: Body, look: Look, tailor: Tailor) -> None:
    skull, side = body.points["skull"], body.head @ vector(1, 0, 0)

    def at(right: float, up: float, forward: float) -> Vector:
        return np.asarray(skull + body.head @ vector(right, up, forward), np.float64)

    if look.haircut == "bald":
        return
    colour = HAIRS[look.hair_colour]
    tailor.capsule(at(0, 0.026, -0.012), at(0, -0.002, -0.022), 0.0535, 0.046, colour, side, 1.10)
    if look.haircut == "long":
        tailor.capsule(
            at(0, 0.01, -0.026), at(0, -0.115, -0.040), 0.050, 0.043, colour, body.head @ vector(0, 0, 1), 1.35
        )
        for s in (1.0, -1.0):
            tailor.capsule(at(s * 0.041, 0.022, 0.004), at(s * 0.050, -0.10, -0.006), 0.0165, 0.019, colour)
    elif look.haircut == "bun":
        tailor.capsule(at(0, 0.050, -0.050), at(0, 0.056, -0.054), 0.027, 0.026, colour)
    elif look.haircut == "hat":
        hat = CLOTHS[look.hat_colour]
        up = body.head @ vector(0, 1, 0)
        tailor.capsule(at(0, 0.040, -0.004), at(0, 0.042, -0.004), 0.094, 0.094, hat, up, 9.0)
        tailor.capsule(at(0, 0.040, -0.006), at(0, 0.066, -0.006), 0.057, 0.046, hat)


def add_seat(kind: str, high: float, tailor: Tailor, rock: int) -> None:
    """A stool or a rock ``high`` body heights tall under the figure."""
    if kind == "stool":
        wood = (0.26, 0.14, 0.06)
        up = vector(0, 1, 0)
        tailor.capsule(vector(0, high - 0.015, 0), vector(0, high - 0.014, 0), 0.105, 0.105, wood, up, 6.0, label=OTHER)
        for r, f in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            top, foot = vector(0.055 * r, high - 0.02, 0.055 * f), vector(0.085 * r, 0.0, 0.085 * f)
            tailor.capsule(top, foot, 0.011, 0.009, wood, label=OTHER)
    elif kind == "rock":
        grey, up = (0.30, 0.28, 0.255), vector(0, 1, 0)
        tailor.capsule(vector(-0.05, 0.07, -0.02), vector(0.05, 0.065, 0.0), 0.165, 0.155, grey, up, 1.0, label=rock)
        tailor.capsule(vector(0.13, 0.03, 0.03), vector(-0.14, 0.02, -0.05), 0.10, 0.12, _darker(grey, 0.9), label=rock)


def add_guitar(body: Body, colour: Colour, tailor: Tailor) -> None:
    """A guitar across the body, held by a right-handed player."""
    chest, neck = body.chest, body.points["neck"]

    def at(right: float, up: float, forward: float) -> Vector:
        return np.asarray(neck + chest @ vector(right, up, forward), np.float64)

    front = chest @ vector(0, 0.12, 1)
    tailor.capsule(at(0.075, -0.235, 0.088), at(0.06, -0.228, 0.088), 0.088, 0.088, colour, front, 3.4, label=OTHER)
    tailor.capsule(at(-0.02, -0.200, 0.088), at(-0.03, -0.196, 0.088), 0.066, 0.066, colour, front, 2.8, label=OTHER)
    tailor.capsule(at(0.03, -0.218, 0.112), at(0.03, -0.217, 0.112), 0.020, 0.020, (0.01, 0.01, 0.01), label=OTHER)
    dark = (0.10, 0.05, 0.025)
    tailor.capsule(at(0.02, -0.213, 0.116), at(-0.33, -0.085, 0.105), 0.0125, 0.011, dark, label=OTHER)
    tailor.capsule(at(-0.33, -0.085, 0.105), at(-0.375, -0.068, 0.10), 0.018, 0.016, dark, label=OTHER)


def add_microphone(body: Body, side: str, tailor: Tailor) -> None:
    """A microphone in a hand, pointing to the mouth."""
    hand, wrist = body.points[f"{side} hand"], body.points[f"{side} wrist"]
    mouth = body.points["skull"] + body.head @ vector(0, -0.037, 0.075)
    tip = (hand + wrist) * 0.5 + unit(mouth - (hand + wrist) * 0.5) * 0.065
    tailor.capsule((hand + wrist) * 0.5, tip, 0.009, 0.012, (0.02, 0.02, 0.02), label=OTHER)
    tailor.capsule(tip, tip, 0.018, 0.018, (0.30, 0.30, 0.32), label=OTHER)


def feet_of(body: Body) -> list[Vector]:
    """Where the body touches the ground: its feet, or its seat when that is lower."""
    low = [body.points[f"{side} {name}"] for side, _ in SIDES for name in ("heel", "toe")]
    if body.points["pelvis"][1] < 3 * ANKLE:
        low.append(body.points["pelvis"])
    return [vector(float(point[0]), 0.0, float(point[2])) for point in low]
