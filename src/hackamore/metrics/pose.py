"""How well the people found in a picture agree with those who should be there.

Only joints that are visible in the true person count. Somebody who is not found has all joints wrong; somebody who is
found and should not be there costs nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hackamore.core.skeleton import Person

Yardstick = Literal["box", "torso"]

SHARE = 0.1
"""Threshold of PCK as a share of the person's size."""

SIGMAS: NDArray[np.float64] = np.array(
    [
        0.026, 0.079,
        0.079, 0.072, 0.062, 0.079, 0.072, 0.062,
        0.107, 0.087, 0.089, 0.107, 0.087, 0.089,
        0.025, 0.025, 0.035, 0.035,
    ]
)  # fmt: skip
"""How far annotators disagree on each joint, as a share of the person's size (COCO key points); neck as shoulder."""

NECK, HIPS = 1, (8, 11)


def person_size(person: Person, by: Yardstick = "box") -> float:
    """What distances to a person's joints are measured by, in pixels.

    ``box``: the longer side of the box around the visible joints (Yang and Ramanan 2013). ``torso``: from the neck to
    the middle of the visible hips, or the box where these are hidden. At least 1.
    """
    spots = person.body[person.visible, :2]
    if not len(spots):
        return 1.0
    box = max(1.0, float(np.ptp(spots, axis=0).max()))
    hips = [joint for joint in HIPS if person.visible[joint]]
    if by == "box" or not hips or not person.visible[NECK]:
        return box
    return max(1.0, float(np.linalg.norm(person.body[hips, :2].mean(0) - person.body[NECK, :2])))


def joint_distances(found: Person, true: Person) -> NDArray[np.float64]:
    """Pixels between the joints of two people, 18 numbers.

    Infinite for a joint that ``found`` lacks, NaN for one that is not visible in ``true``.
    """
    apart = np.linalg.norm(found.body[:, :2].astype(np.float64) - true.body[:, :2], axis=1)
    return np.where(true.visible, np.where(found.visible, apart, np.inf), np.nan)


def oks(found: Person, true: Person) -> float:
    """Object key point similarity (COCO), 0 to 1: the mean over visible joints of exp(−d² ÷ 2 s² k²).

    k is twice a joint's sigma and s² the area of the person, taken as that of the box around the visible joints.
    NaN where no joint is visible.
    """
    spots = true.body[true.visible, :2].astype(np.float64)
    if not len(spots):
        return float("nan")
    area = float(np.prod(np.maximum(np.ptp(spots, axis=0), 1.0)))
    close = np.exp(-(joint_distances(found, true) ** 2) / (2 * area * (2 * SIGMAS) ** 2))
    return float(np.nanmean(close))


def match(found: Sequence[Person], true: Sequence[Person]) -> list[int | None]:
    """For each true person the position of the found one that is meant, or None.

    Nobody is taken twice; of all such assignments the one whose sum of :func:`oks` is largest. Between people whose oks
    is equal, as of those who stand far off, the distance decides.
    """
    if not found or not true:
        return [None] * len(true)
    cost = np.array([[_cost(one, person) for one in found] for person in true])
    chosen = assign(cost) if len(true) <= len(found) else assign(cost.T)
    if len(true) <= len(found):
        return [int(place) for place in chosen]
    whose = {int(place): number for number, place in enumerate(chosen)}
    return [whose.get(number) for number in range(len(true))]


def pck_counts(
    found: Sequence[Person], true: Sequence[Person], share: float = SHARE, by: Yardstick = "box"
) -> tuple[int, int]:
    """(joints found in place, visible joints) of one picture: the sums over pictures give the PCK of a set."""
    right = visible = 0
    for person, place in zip(true, match(found, true), strict=True):
        visible += int(person.visible.sum())
        if place is not None:
            right += int((joint_distances(found[place], person) <= share * person_size(person, by)).sum())
    return right, visible


def pck(found: Sequence[Person], true: Sequence[Person], share: float = SHARE, by: Yardstick = "box") -> float:
    """Percentage of correct key points, 0 to 1: visible joints found within ``share`` of the person's size.

    Size as :func:`person_size` says. NaN where no joint is visible.
    """
    right, visible = pck_counts(found, true, share, by)
    return right / visible if visible else float("nan")


def assign(cost: NDArray[np.float64]) -> NDArray[np.intp]:
    """The column for each row, no column twice, with the smallest sum of ``cost`` (rows ≤ columns, finite).

    Shortest augmenting paths with potentials, the Hungarian method (Jonker and Volgenant 1987).
    """
    rows, columns = cost.shape
    row_price, column_price = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.full(columns + 1, rows)
    for row in range(rows):
        owner[columns], column = row, columns
        reach, came = np.full(columns + 1, np.inf), np.full(columns + 1, columns)
        done = np.zeros(columns + 1, bool)
        while owner[column] != rows:
            done[column] = True
            here = owner[column]
            step = cost[here] - row_price[here] - column_price[:columns]
            nearer = ~done[:columns] & (step < reach[:columns])
            reach[:columns][nearer], came[:columns][nearer] = step[nearer], column
            free = np.where(done, np.inf, reach)
            following = int(free[:columns].argmin())
            gap = free[following]
            row_price[owner[done]] += gap
            column_price[done] -= gap
            reach[~done] -= gap
            column = following
        while column != columns:
            owner[column], column = owner[came[column]], int(came[column])
    return np.argsort(owner[:columns], kind="stable")[:rows]


def _cost(found: Person, true: Person) -> float:
    both = found.visible & true.visible
    apart = float(np.nanmean(joint_distances(found, true)[both])) if both.any() else 1e6
    similar = oks(found, true)
    return (0.0 if np.isnan(similar) else -similar) + 1e-6 * min(apart, 1e6)
