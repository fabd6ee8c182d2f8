"""A body from a pose: joints and turned frames by forward kinematics and two-bone reaching.

Coordinates are the body's own: (right, up, forward), in shares of the body's height, the origin on the ground between
the feet. Proportions are those of seven and a half heads (Drillis and Contini's segment lengths, rounded).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Frame = NDArray[np.float64]
"""3×3 rotation; its columns are where right, up and forward point."""

THIGH, SHIN, ANKLE, FOOT = 0.245, 0.240, 0.042, 0.105
UPPER_ARM, FOREARM, HAND = 0.165, 0.145, 0.058
HIP_DROP, WAIST, CHEST = 0.010, 0.100, 0.190
"""Below the pelvis: the hips; above it: the waist; above that: the neck's foot, between the shoulders."""
MOST_ELBOW = 2.55
"""The sharpest bend of an elbow, radians."""
RIGHT, LEFT = 1.0, -1.0


@dataclass(frozen=True)
class Stance:
    """What the legs and the trunk do; the first of a pair is the right one."""

    pelvis: Vector
    ankles: tuple[Vector, Vector]
    support: tuple[bool, bool] = (True, True)
    """Which feet carry: the pelvis sinks until they reach the ground."""
    knees: tuple[Vector, Vector] = field(default_factory=lambda: (vector(0.12, 0, 1), vector(-0.12, 0, 1)))
    """Towards where the knees bend."""
    toes: tuple[float, float] = (0.2, 0.2)
    """How far the feet turn outwards, radians."""
    heels: tuple[float, float] = (0.0, 0.0)
    """How far the toes point down, radians."""
    lean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Pelvis: forwards, to the right, turned to the right; radians."""
    bend: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Chest against pelvis, likewise."""
    gaze: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Head against chest, likewise."""


@dataclass(frozen=True)
class Arm:
    """What one arm does, told for the right one; for the left it is mirrored.

    With ``frame`` ("chest", "pelvis", "head") the wrist reaches for ``offset`` there and the elbow gives way towards
    ``pole``; otherwise the arm is lifted sideways by ``abduct`` and forwards by ``flex``, and the elbow bends by
    ``elbow`` towards ``pole``.
    """

    abduct: float = 0.12
    flex: float = 0.05
    elbow: float = 0.25
    frame: str = ""
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pole: tuple[float, float, float] = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Body:
    """Where everything of a posed body is: ``points`` by name, and the frames of pelvis, chest and head."""

    points: dict[str, Vector]
    pelvis: Frame
    chest: Frame
    head: Frame


def vector(right: float, up: float, forward: float) -> Vector:
    """A vector of three numbers."""
    return np.array([right, up, forward], np.float64)


def unit(v: Vector) -> Vector:
    """``v`` at length 1."""
    return v / max(float(np.linalg.norm(v)), 1e-9)


def turned(forwards: float, right: float, yaw: float) -> Frame:
    """The frame leant forwards, leant to the right and turned to the right, in radians."""
    c, s = math.cos(forwards), math.sin(forwards)
    pitch = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = math.cos(right), math.sin(right)
    roll = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    c, s = math.cos(yaw), math.sin(yaw)
    return np.asarray(np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ pitch @ roll, np.float64)


def reach(root: Vector, target: Vector, upper: float, lower: float, pole: Vector, most_bend: float) -> list[Vector]:
    """Middle and end joint of a limb of two bones that reaches for ``target`` and bends towards ``pole``."""
    nearest = math.sqrt(upper * upper + lower * lower + 2.0 * upper * lower * math.cos(most_bend))
    along = unit(target - root)
    distance = min(max(float(np.linalg.norm(target - root)), nearest), 0.999 * (upper + lower))
    first = (upper * upper - lower * lower + distance * distance) / (2.0 * distance)
    out = math.sqrt(max(upper * upper - first * first, 0.0))
    aside = unit(pole - along * float(pole @ along))
    return [root + along * first + aside * out, root + along * distance]


def pose_body(stance: Stance, arms: tuple[Arm, Arm], shoulder: float, hip: float) -> Body:
    """The body of a stance and two arms; ``shoulder`` and ``hip`` are half the distances of those joints."""
    pelvis = turned(*stance.lean)
    root = _settled(stance, pelvis, hip)
    chest = pelvis @ turned(*stance.bend)
    waist = root + pelvis @ vector(0, WAIST, 0)
    neck = waist + chest @ vector(0, CHEST, 0)
    head = chest @ turned(*stance.gaze)
    skull = neck + chest @ vector(0, 0.045, 0.008) + head @ vector(0, 0.067, 0.012)
    points = {
        "pelvis": root,
        "waist": waist,
        "neck": neck,
        "skull": skull,
        "nose": skull + head @ vector(0, -0.014, 0.062),
    }
    frames = {"pelvis": (pelvis, root), "chest": (chest, neck), "head": (head, skull)}
    for k, (side, s) in enumerate((("right", RIGHT), ("left", LEFT))):
        points[f"{side} eye"] = skull + head @ vector(s * 0.0195, 0.008, 0.047)
        points[f"{side} ear"] = skull + head @ vector(s * 0.047, -0.004, -0.004)
        _add_leg(points, side, s, k, stance, pelvis, hip)
        _add_arm(points, side, s, arms[k], shoulder, frames)
    return Body(points, pelvis, chest, head)


def _settled(stance: Stance, pelvis: Frame, hip: float) -> Vector:
    """The pelvis, lowered until the feet that carry are within reach."""
    root = stance.pelvis.copy()
    for k, s in enumerate((RIGHT, LEFT)):
        if stance.support[k]:
            joint = pelvis @ vector(s * hip, -HIP_DROP, 0)
            aside = (root + joint - stance.ankles[k])[[0, 2]]
            tall = math.sqrt(max((0.995 * (THIGH + SHIN)) ** 2 - float(aside @ aside), 0.01))
            root[1] = min(root[1], stance.ankles[k][1] + tall - joint[1])
    return root


def _add_leg(points: dict[str, Vector], side: str, s: float, k: int, stance: Stance, pelvis: Frame, hip: float) -> None:
    joint = points["pelvis"] + pelvis @ vector(s * hip, -HIP_DROP, 0)
    knee, ankle = reach(joint, stance.ankles[k], THIGH, SHIN, stance.knees[k], 2.5)
    yaw, down = s * stance.toes[k] + stance.lean[2], stance.heels[k]
    ahead = vector(math.sin(yaw) * math.cos(down), -math.sin(down), math.cos(yaw) * math.cos(down))
    below = vector(-math.sin(yaw) * math.sin(down), -math.cos(down), -math.cos(yaw) * math.sin(down))
    points[f"{side} hip"], points[f"{side} knee"], points[f"{side} ankle"] = joint, knee, ankle
    points[f"{side} heel"] = ankle + below * (ANKLE - 0.021) - ahead * 0.022
    points[f"{side} toe"] = ankle + below * (ANKLE - 0.015) + ahead * FOOT


def _add_arm(
    points: dict[str, Vector], side: str, s: float, arm: Arm, half: float, frames: dict[str, tuple[Frame, Vector]]
) -> None:
    chest, neck = frames["chest"]
    mirror = vector(s, 1, 1)
    joint = neck + chest @ vector(s * half, -0.008, 0)
    pole = unit(chest @ (np.array(arm.pole) * mirror))
    if arm.frame:
        frame, origin = frames[arm.frame]
        target = origin + frame @ (np.array(arm.offset) * mirror)
        lift = max(float(unit(target - joint)[1]), 0.0)
        joint = joint + chest @ vector(-s * 0.008 * lift, 0.026 * lift, 0)
        elbow, wrist = reach(joint, target, UPPER_ARM, FOREARM, pole, MOST_ELBOW)
    else:
        across, flat = math.sin(arm.abduct), math.cos(arm.abduct)
        upper = chest @ vector(s * across, -flat * math.cos(arm.flex), flat * math.sin(arm.flex))
        lift = max(-flat * math.cos(arm.flex) + 0.2, 0.0)
        joint = joint + chest @ vector(-s * 0.008 * lift, 0.024 * lift, 0)
        elbow = joint + upper * UPPER_ARM
        aside = unit(pole - upper * float(pole @ upper))
        wrist = elbow + (upper * math.cos(arm.elbow) + aside * math.sin(arm.elbow)) * FOREARM
    points[f"{side} shoulder"], points[f"{side} elbow"], points[f"{side} wrist"] = joint, elbow, wrist
    points[f"{side} hand"] = wrist + unit(wrist - elbow) * HAND
