"""What can truly be seen of people, as words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hackamore.core.skeleton import Person
from hackamore.worlds.figures.company import Company, Figure
from hackamore.worlds.figures.dressing import Place
from hackamore.worlds.figures.parts import Parts

LEAST_JOINTS = 5
"""Who shows fewer joints is not counted."""

NOBODY: dict[str, str] = {
    "people": "none",
    "person": "none",
    "person pose": "none",
    "person seat": "none",
    "person arms": "none",
    "person clothes": "none",
    "person colour": "none",
    "person side": "none",
    "person facing": "none",
    "people pose": "none",
    "people kind": "none",
    "stage": "no",
    "stage light": "none",
}
"""The words of a world without people."""
DOING = {"singer": "singing", "guitarist": "playing guitar", "dancer": "dancing"}


def deed(figure: Figure) -> str:
    """What someone does, in a word or two."""
    return DOING.get(figure.role, figure.pose)


def notice_people(
    company: Company, places: list[Place], people: tuple[Person, ...], parts: Parts, which: NDArray[np.int16]
) -> dict[str, str]:
    """Words for those who are seen; "person …" speaks of the nearest of them."""
    seen = [k for k, person in enumerate(people) if int(person.visible.sum()) >= LEAST_JOINTS]
    if not seen:
        return dict(NOBODY)
    nearest = min(seen, key=lambda k: places[k].foot[2])
    figure = company.figures[nearest]
    deeds = {deed(company.figures[k]) for k in seen}
    kinds = {company.figures[k].look.sex for k in seen}
    return NOBODY | {
        "people": str(len(seen)),
        "person": figure.look.sex,
        "person pose": deed(figure),
        "person seat": figure.seat,
        "person arms": figure.gesture,
        "person clothes": figure.look.top,
        "person colour": figure.look.top_colour,
        "person side": _side(nearest, parts, which),
        "person facing": _facing(figure, places[nearest]),
        "people pose": deeds.pop() if len(deeds) == 1 else "various",
        "people kind": kinds.pop() if len(kinds) == 1 else "both",
        "stage": "yes" if company.stage else "no",
    }


def _side(number: int, parts: Parts, which: NDArray[np.int16]) -> str:
    """Third of the picture that most of someone lies in; none when it spans two."""
    columns = ((which >= 0) & (parts.owner[which] == number)).sum(axis=0)
    total, width = max(int(columns.sum()), 1), len(columns)
    for name, low, high in (("left", 0.0, 0.40), ("middle", 0.36, 0.64), ("right", 0.60, 1.0)):
        if int(columns[round(low * width) : round(high * width)].sum()) > 0.85 * total:
            return name
    return "none"


def _facing(figure: Figure, place: Place) -> str:
    """Whether the chest is seen from the front, the side or behind."""
    ahead = place.turn(figure.body.chest @ np.array([0.0, 0.0, 1.0]))
    x, _, z = place.foot
    towards = -(ahead[0] * x + ahead[2] * z) / float(np.hypot(x, z))
    return "front" if towards > 0.55 else "back" if towards < -0.55 else "side"
