"""Who is in a world: one to three figures with looks and poses, in the land or on a stage, by a stream of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hackamore.worlds.figures.body import Arm, Body, Stance, pose_body
from hackamore.worlds.figures.looks import Look, choose_look
from hackamore.worlds.figures.poses import POSES, SEATS, choose_arms, choose_gesture, choose_stance
from hackamore.worlds.plan import Weights, pick

STREAM = 7
"""Second seed of the people's random numbers, so that nothing else of a world moves when people come."""
COUNTS: Weights = {"1": 0.6, "2": 0.25, "3": 0.15}
STAGE = 0.25
"""Share of the worlds with people that are concerts."""
ROLES: Weights = {"singer": 0.42, "guitarist": 0.24, "dancer": 0.22, "": 0.12}


@dataclass(frozen=True)
class Figure:
    """One person: looks, what it does in words, its posed body, and how far it faces away from the viewer (radians,
    to its own left)."""

    look: Look
    pose: str
    seat: str
    gesture: str
    role: str
    body: Body
    angle: float


@dataclass(frozen=True)
class Company:
    """The people of a world, the most prominent first; ``stage`` tells a concert from a landscape."""

    seed: int
    figures: tuple[Figure, ...]
    stage: bool


def has_people(seed: int, chance: float) -> bool:
    """Whether there are people in world ``seed``."""
    return bool(np.random.default_rng((seed, STREAM)).random() < chance)


def choose_company(seed: int, chance: float) -> Company | None:
    """The people of world ``seed``, or None: there are some with the probability ``chance``.

    A greater chance only adds people to more worlds: whoever is there stays as they are.
    """
    rng = np.random.default_rng((seed, STREAM))
    if rng.random() >= chance:
        return None
    stage = bool(rng.random() < STAGE)
    count = int(pick(rng, COUNTS))
    together = pick(rng, POSES) if rng.random() < 0.6 else ""
    figures: list[Figure] = []
    for k in range(count):
        if stage:
            figures.append(_performer(rng, k == 0))
        else:
            figures.append(_walker(rng, together or pick(rng, POSES)))
    return Company(seed, tuple(figures), stage)


def _facing(rng: np.random.Generator, stage: bool) -> float:
    """Mostly towards the viewer, often from the side, sometimes from behind."""
    if stage:
        return float(rng.normal(0.0, 0.45))
    kind = rng.random()
    if kind < 0.5:
        return float(rng.uniform(-0.75, 0.75))
    side = float(rng.choice([-1.0, 1.0]))
    if kind < 0.78:
        return side * float(rng.uniform(0.75, 2.1))
    return side * float(rng.uniform(2.1, np.pi))


def _walker(rng: np.random.Generator, pose: str) -> Figure:
    look = choose_look(rng)
    seat = pick(rng, SEATS) if pose == "sitting" else "none"
    stance = choose_stance(rng, pose, seat)
    gesture = choose_gesture(rng, pose)
    arms = choose_arms(rng, gesture, pose, stance)
    return Figure(look, pose, seat, gesture, "", _bodied(look, stance, arms), _facing(rng, False))


def _performer(rng: np.random.Generator, first: bool) -> Figure:
    """Someone on a stage; the first is mostly the singer."""
    look = choose_look(rng)
    role = "singer" if first and rng.random() < 0.45 else pick(rng, ROLES)
    pose = "dancing" if role == "dancer" else "standing"
    stance = choose_stance(rng, pose, "none")
    gesture = choose_gesture(rng, pose)
    arms = choose_arms(rng, gesture, pose, stance)
    if role == "singer":
        gesture, arms = "microphone", _singing(rng, choose_arms(rng, "raised", pose, stance), arms)
    elif role == "guitarist":
        gesture, arms = "guitar", _playing(rng)
    return Figure(look, pose, "none", gesture, role, _bodied(look, stance, arms), _facing(rng, True))


def _singing(rng: np.random.Generator, raised: tuple[Arm, Arm], other: tuple[Arm, Arm]) -> tuple[Arm, Arm]:
    """One hand holds the microphone; the right one, mostly."""
    hold = Arm(frame="head", offset=(0.055, -0.155, 0.125), pole=(0.9, -1.0, 0.1))
    free = raised[1] if rng.random() < 0.35 else other[1] if not other[1].frame else Arm()
    return (hold, free) if rng.random() < 0.7 else (free, hold)


def _playing(rng: np.random.Generator) -> tuple[Arm, Arm]:
    """The right hand on the strings, the left one along the neck of the guitar."""
    along = float(rng.uniform(0.16, 0.28))
    strum = Arm(frame="chest", offset=(0.045, float(rng.uniform(-0.20, -0.17)), 0.135), pole=(1.0, -0.2, -0.5))
    grip = Arm(frame="chest", offset=(along, -0.185 + 0.36 * along - 0.03, 0.118), pole=(0.7, -1.0, 0.1))
    return strum, grip


def _bodied(look: Look, stance: Stance, arms: tuple[Arm, Arm]) -> Body:
    woman = look.sex == "woman"
    return pose_body(stance, arms, 0.100 if woman else 0.116, 0.056 if woman else 0.052)
