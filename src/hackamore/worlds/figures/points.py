"""Exact key points of drawn figures: where every joint falls in the picture, and whether anything hides it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hackamore.core.skeleton import JOINTS, Person
from hackamore.worlds.draw import Eye, Layers
from hackamore.worlds.figures.body import vector
from hackamore.worlds.figures.company import Figure
from hackamore.worlds.figures.dressing import Place
from hackamore.worlds.figures.parts import Floats, Parts

TURNED_AWAY = {"nose": -0.12, "eye": 0.10, "ear": -0.30}
"""A point of the face is seen while its outward direction has at least this much towards the viewer."""
DEPTH_SLACK = 0.05
"""Nearer surfaces hide a joint when they are nearer by more than this, in body heights."""


def key_points(
    figures: tuple[Figure, ...],
    places: list[Place],
    parts: Parts,
    eye: Eye,
    layers: Layers,
    which: NDArray[np.int16],
    supersample: int,
) -> tuple[Person, ...]:
    """The OpenPose key points of every figure, in their order, in pixels of the picture.

    A joint is seen when it lies in the picture and neither land, tree, thing nor another figure stands before it; a
    figure's own body and what it holds hide nothing, but its head hides the far parts of its face. Joints that are
    not seen are zero.
    """
    rows, columns = layers.label.shape
    people: list[Person] = []
    for number, (figure, place) in enumerate(zip(figures, places, strict=True)):
        body = np.zeros((len(JOINTS), 3), np.float32)
        for k, name in enumerate(JOINTS):
            x, y, z = place.world(figure.body.points[name])
            px, py = columns * 0.5 + eye.focal * x / z, eye.horizon - eye.focal * (y - eye.height) / z
            if not (0.0 <= px < columns and 0.0 <= py < rows) or _turned_away(figure, place, name, eye):
                continue
            part = int(which[int(py), int(px)])
            owner = int(parts.owner[part]) if part >= 0 else -1
            nearer = float(layers.depth[int(py), int(px)]) < z - (0.0 if owner >= 0 else DEPTH_SLACK * place.tall)
            if owner == number or not nearer:
                body[k] = px / supersample, py / supersample, 1.0
        people.append(Person(body))
    return tuple(people)


def _turned_away(figure: Figure, place: Place, name: str, eye: Eye) -> bool:
    """Whether a point of the face is on the head's far side."""
    kind = name.split()[-1]
    if kind not in TURNED_AWAY:
        return False
    at = place.world(figure.body.points[name])
    to_viewer = np.array([0.0, eye.height, 0.0]) - at
    return float(_outward(figure, place, name) @ to_viewer) < TURNED_AWAY[kind] * float(np.linalg.norm(to_viewer))


def _outward(figure: Figure, place: Place, name: str) -> Floats:
    side = 1.0 if name.startswith("right") else -1.0
    kind = name.split()[-1]
    local = {"nose": vector(0, 0, 1), "eye": vector(side * 0.5, 0, 0.866), "ear": vector(side, 0, -0.1)}[kind]
    return place.turn(figure.body.head @ local)
