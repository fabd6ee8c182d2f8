"""Poses: what legs, trunk and arms do when someone stands, walks, runs, dances or sits, each time a bit otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hackamore.worlds.figures.body import ANKLE, Arm, Stance, vector
from hackamore.worlds.plan import Weights, pick

POSES: Weights = {"standing": 0.30, "walking": 0.22, "running": 0.12, "dancing": 0.18, "sitting": 0.18}
SEATS: Weights = {"ground": 0.5, "rock": 0.35, "stool": 0.15}
SEAT_HEIGHT = 0.235
GESTURES: Weights = {"down": 0.34, "raised": 0.14, "waving": 0.14, "hips": 0.13, "pointing": 0.12, "folded": 0.13}

UP = (0.0, 1.0, 0.0)


def _about(rng: np.random.Generator, middle: float, spread: float) -> float:
    return float(middle + spread * rng.uniform(-1.0, 1.0))


def choose_stance(rng: np.random.Generator, pose: str, seat: str) -> Stance:
    """Legs and trunk of a pose; ``seat`` matters when sitting."""
    if pose == "sitting":
        stance = _sitting_low(rng) if seat == "ground" else _sitting_high(rng)
    else:
        stance = {"walking": _walking, "running": _running, "dancing": _dancing}.get(pose, _standing)(rng)
    gaze = (_about(rng, 0.0, 0.12), _about(rng, 0.0, 0.10), _about(rng, 0.0, 0.45))
    return replace(stance, gaze=gaze) if stance.gaze == (0.0, 0.0, 0.0) else stance


def _standing(rng: np.random.Generator) -> Stance:
    wide, ahead, shift = rng.uniform(0.045, 0.10), _about(rng, 0.0, 0.035), _about(rng, 0.0, 0.03)
    tilt = -1.6 * shift
    return Stance(
        pelvis=vector(shift, 0.532, 0),
        ankles=(vector(wide, ANKLE, ahead), vector(-wide, ANKLE, -ahead)),
        toes=(rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.5)),
        lean=(0.0, tilt, 0.0),
        bend=(_about(rng, 0.02, 0.05), -1.6 * tilt, _about(rng, 0.0, 0.15)),
    )


def _walking(rng: np.random.Generator) -> Stance:
    """A step: both feet down, or one swinging past the other; the left foot leads half the time."""
    if rng.random() < 0.7:
        half = rng.uniform(0.10, 0.165)
        ahead, behind = vector(0.035, ANKLE + 0.012, half), vector(0.035, ANKLE + 0.045, -half)
        heels, support, high = (-0.22, 0.65), (True, True), 0.535
    else:
        ahead, behind = vector(0.04, ANKLE, 0.0), vector(0.04, 0.135, -0.17)
        heels, support, high = (0.0, 0.75), (True, False), 0.535
    lead = 1 if rng.random() < 0.5 else -1
    pair = (ahead, behind) if lead > 0 else (behind, ahead)
    left = vector(-pair[1][0], pair[1][1], pair[1][2])
    return Stance(
        pelvis=vector(0, high, 0.0),
        ankles=(pair[0], left),
        support=support if lead > 0 else (support[1], support[0]),
        toes=(0.1, 0.1),
        heels=heels if lead > 0 else (heels[1], heels[0]),
        lean=(0.05, 0.0, -0.14 * lead),
        bend=(0.03, 0.0, 0.26 * lead),
        gaze=(0.0, 0.0, _about(rng, -0.1 * lead, 0.3)),
    )


def _running(rng: np.random.Generator) -> Stance:
    """Push-off: one leg stretched behind with its toes on the ground, the other knee high in front."""
    lead = 1 if rng.random() < 0.5 else -1
    lift = rng.uniform(0.16, 0.26)
    front, back = vector(0.05, lift, _about(rng, 0.06, 0.05)), vector(0.045, 0.125, -rng.uniform(0.20, 0.27))
    pair = (front, back) if lead > 0 else (back, front)
    return Stance(
        pelvis=vector(0, 0.545, 0.04),
        ankles=(pair[0], vector(-pair[1][0], pair[1][1], pair[1][2])),
        support=(False, True) if lead > 0 else (True, False),
        toes=(0.05, 0.05),
        heels=(0.1, 1.05) if lead > 0 else (1.05, 0.1),
        lean=(0.14, 0.0, -0.16 * lead),
        bend=(0.08, 0.0, 0.34 * lead),
        gaze=(-0.16, 0.0, -0.16 * lead),
    )


def _dancing(rng: np.random.Generator) -> Stance:
    kind, side = int(rng.integers(4)), float(rng.choice([-1.0, 1.0]))
    trunk: dict[str, Any] = {
        "lean": (_about(rng, 0.0, 0.08), _about(rng, 0.0, 0.08), _about(rng, 0.0, 0.3)),
        "bend": (_about(rng, -0.05, 0.15), _about(rng, 0.0, 0.28), _about(rng, 0.0, 0.4)),
        "gaze": (_about(rng, -0.1, 0.2), _about(rng, 0.0, 0.2), _about(rng, 0.0, 0.5)),
    }
    if kind == 0:  # knees bent, feet wide
        wide = rng.uniform(0.11, 0.17)
        ankles = (vector(wide, ANKLE, 0.03), vector(-wide, ANKLE, -0.03))
        return Stance(
            vector(0.05 * side, rng.uniform(0.45, 0.50), 0), ankles,
            knees=(vector(0.5, 0, 1), vector(-0.5, 0, 1)), toes=(0.5, 0.5), **trunk,
        )  # fmt: skip
    if kind == 1:  # one knee lifted, its foot beside the other knee
        free, stand = vector(0.06, rng.uniform(0.26, 0.33), rng.uniform(0.0, 0.06)), vector(0.03, ANKLE, 0)
        knee, heel = vector(0.9, 0.2, 0.8), 0.9
    elif kind == 2:  # a leg stretched to the side, its toes on the ground
        free, stand = vector(rng.uniform(0.26, 0.34), 0.085, 0.04), vector(0.03, ANKLE, 0)
        knee, heel = vector(0.4, 0, 1), 0.75
    else:  # a low kick ahead
        free, stand = vector(0.12, rng.uniform(0.14, 0.28), rng.uniform(0.24, 0.34)), vector(0.03, ANKLE, -0.02)
        knee, heel = vector(0.2, 0, 1), 0.7
    mirror, low = vector(-1, 1, 1), vector(0.15, 0, 1)
    right = side > 0
    return Stance(
        vector(-0.02 * side, 0.515, 0),
        (free, stand * mirror) if right else (stand, free * mirror),
        (False, True) if right else (True, False),
        (knee, low * mirror) if right else (low, knee * mirror),
        (0.5, 0.4),
        (heel, 0.0) if right else (0.0, heel),
        **trunk,
    )


def _sitting_low(rng: np.random.Generator) -> Stance:
    """On the ground: knees drawn up, legs stretched out, or crossed."""
    kind = int(rng.integers(3))
    if kind == 0:
        far = rng.uniform(0.20, 0.27)
        ankles = (vector(0.06, ANKLE, far), vector(-0.06, ANKLE, far + _about(rng, 0.0, 0.03)))
        knees, lean, bend = (vector(0.2, 1, 0.3), vector(-0.2, 1, 0.3)), (-0.12, 0.0, 0.0), (0.28, 0.0, 0.0)
        toes, heels = (0.1, 0.1), (0.0, 0.0)
    elif kind == 1:
        ankles = (vector(0.07, 0.045, 0.455), vector(-0.05, 0.05, 0.45))
        knees, lean, bend = (vector(0.1, 1, 0), vector(-0.1, 1, 0)), (-0.28, 0.0, 0.0), (0.1, 0.0, 0.0)
        toes, heels = (0.3, 0.3), (-1.2, -1.2)
    else:
        ankles = (vector(-0.075, 0.052, 0.165), vector(0.085, 0.045, 0.125))
        knees, lean, bend = (vector(1, 0.35, 0.7), vector(-1, 0.35, 0.7)), (0.0, 0.0, 0.0), (0.14, 0.0, 0.0)
        toes, heels = (-0.9, -0.9), (0.3, 0.3)
    bend = (bend[0], _about(rng, 0.0, 0.05), _about(rng, 0.0, 0.15))
    return Stance(vector(0, 0.088, 0), ankles, (False, False), knees, toes, heels, lean, bend)


def _sitting_high(rng: np.random.Generator) -> Stance:
    """On a stool or a rock."""
    out = [rng.uniform(0.13, 0.30), rng.uniform(0.13, 0.30)]
    wide = rng.uniform(0.05, 0.11)
    return Stance(
        vector(0, SEAT_HEIGHT + 0.072, 0),
        (vector(wide, ANKLE, out[0]), vector(-wide, ANKLE, out[1])),
        (False, False),
        (vector(0.3, 0.6, 1), vector(-0.3, 0.6, 1)),
        (0.15, 0.15),
        lean=(_about(rng, -0.02, 0.06), 0.0, 0.0),
        bend=(_about(rng, 0.14, 0.12), _about(rng, 0.0, 0.06), _about(rng, 0.0, 0.2)),
    )


def choose_gesture(rng: np.random.Generator, pose: str) -> str:
    """What the arms do in a pose, as a word."""
    if pose in ("walking", "running"):
        return "swinging" if rng.random() < 0.8 or pose == "running" else pick(rng, {"waving": 0.6, "pointing": 0.4})
    if pose == "dancing":
        return pick(rng, {"raised": 0.4, "flowing": 0.6})
    if pose == "sitting":
        return pick(rng, {"knees": 0.62, "waving": 0.12, "raised": 0.08, "folded": 0.08, "pointing": 0.1})
    return pick(rng, GESTURES)


def choose_arms(rng: np.random.Generator, gesture: str, pose: str, stance: Stance) -> tuple[Arm, Arm]:
    """Right and left arm of a gesture."""
    if gesture == "swinging":
        return _swinging(rng, pose, stance)
    if gesture == "flowing":
        return _flowing(rng), _flowing(rng)
    if gesture == "raised":
        return _raised(rng), _raised(rng)
    if gesture == "folded":
        return (
            Arm(frame="chest", offset=(-0.055, -0.135, 0.088), pole=(1.0, -0.9, 0.1)),
            Arm(frame="chest", offset=(-0.045, -0.165, 0.098), pole=(1.0, -0.9, 0.1)),
        )
    if gesture == "knees":
        return _on_knees(rng, stance)
    if gesture == "hips" and rng.random() < 0.65:
        return _on_hip(), _on_hip()
    busy = {"hips": _on_hip(), "waving": _waving(rng), "pointing": _pointing(rng)}.get(gesture, _hanging(rng))
    rest = _on_knees(rng, stance)[0] if pose == "sitting" else _hanging(rng)
    if gesture == "waving" and rng.random() < 0.2:
        rest = _on_hip()
    return (busy, rest) if rng.random() < 0.6 else (rest, busy)


def _hanging(rng: np.random.Generator) -> Arm:
    return Arm(rng.uniform(0.10, 0.24), _about(rng, 0.02, 0.16), rng.uniform(0.12, 0.5), pole=(-0.25, 0.0, 1.0))


def _raised(rng: np.random.Generator) -> Arm:
    return Arm(rng.uniform(2.2, 2.85), 0.0, rng.uniform(0.1, 0.9), pole=(-0.3, 1.0, 0.1))


def _waving(rng: np.random.Generator) -> Arm:
    return Arm(rng.uniform(1.5, 2.4), 0.0, rng.uniform(0.5, 1.3), pole=(-0.2, 1.0, 0.15))


def _pointing(rng: np.random.Generator) -> Arm:
    if rng.random() < 0.6:
        return Arm(rng.uniform(1.35, 1.75), 0.0, 0.06, pole=UP)
    return Arm(_about(rng, 0.15, 0.3), rng.uniform(1.4, 1.85), 0.06, pole=UP)


def _flowing(rng: np.random.Generator) -> Arm:
    if rng.random() < 0.35:
        return Arm(rng.uniform(0.5, 1.1), _about(rng, 0.2, 0.4), rng.uniform(0.3, 1.2), pole=(-0.5, 0.3, 1.0))
    return Arm(rng.uniform(1.2, 2.5), 0.0, rng.uniform(0.2, 1.1), pole=(-0.4, 0.8, 0.6))


def _on_hip() -> Arm:
    return Arm(frame="pelvis", offset=(0.112, 0.072, 0.02), pole=(1.0, 0.0, -0.55))


def _on_knees(rng: np.random.Generator, stance: Stance) -> tuple[Arm, Arm]:
    """Hands on the thighs or knees; behind the back when the legs are stretched out."""
    far = stance.ankles[0][2]
    if far > 0.4:
        arm = Arm(frame="pelvis", offset=(0.13, -0.005, -0.19), pole=(0.5, 0.0, -1.0))
        return arm, arm
    if stance.pelvis[1] > 0.2:
        along = rng.uniform(0.11, 0.2)
        arm = Arm(frame="pelvis", offset=(0.075, 0.045, along), pole=(1.0, -0.2, -0.6))
        return arm, arm
    high = 0.17 if far > 0.18 else 0.09
    arm = Arm(frame="pelvis", offset=(0.04, high, 0.215), pole=(1.0, -0.4, -0.1))
    return (arm, replace(arm, offset=(0.06, high - 0.02, 0.2))) if far > 0.18 else (arm, arm)


def _swinging(rng: np.random.Generator, pose: str, stance: Stance) -> tuple[Arm, Arm]:
    """Each arm goes with the other leg."""
    ahead = stance.ankles[0][2] > stance.ankles[1][2]
    reach, bend = (0.75, 1.55) if pose == "running" else (0.38, rng.uniform(0.25, 0.6))
    reach *= rng.uniform(0.8, 1.2)
    front = Arm(0.12, reach * 0.8, bend, pole=(-0.25, 0.2, 1.0))
    back = Arm(0.16, -reach, bend * 0.95, pole=(-0.1, 0.1, 1.0))
    return (back, front) if ahead else (front, back)
