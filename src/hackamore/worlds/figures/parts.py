"""What things drawn by rays are made of: tapered capsules, open cones and boxes, each possibly squashed."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hackamore.core.palette import CLASSES
from hackamore.worlds.light import Colour

CAPSULE, CONE, BOX = range(3)
PERSON, OTHER, BUILDING = (CLASSES.index(name) for name in ("person", "other", "building"))

Floats = NDArray[np.float64]


class Parts(NamedTuple):
    """One entry a part; lengths in world units.

    A capsule is the hull of two balls of radii ``first`` and ``last`` at ``start`` and ``start + along``; a cone the
    open side of a cut cone; a box spans ``start`` to ``start + along``. Along the unit vector ``axis`` a part is
    thinner by the factor 1 / ``squash``; then ``along`` is told before squashing.
    """

    kind: NDArray[np.int64]
    start: Floats
    along: Floats
    first: Floats
    last: Floats
    axis: Floats
    squash: Floats
    colour: Floats
    glow: Floats
    """Light that a part gives off itself, as a factor of its colour."""
    label: NDArray[np.int64]
    owner: NDArray[np.int64]
    centre: Floats
    bound: Floats
    """A ball around the part: centre and radius."""


class Casters(NamedTuple):
    """Parts that throw shadows, in groups of neighbours: group g holds parts ``first[g]`` to ``first[g + 1] - 1`` and
    lies in a ball."""

    parts: Parts
    first: NDArray[np.int64]
    centre: Floats
    bound: Floats


GROUP = 8
"""Most parts of a group."""


def casters(parts: Parts, lowest_owner: int = 0) -> Casters:
    """The parts of owners from ``lowest_owner`` up, those that glow left out."""
    kept = np.flatnonzero((parts.owner >= lowest_owner) & (parts.glow == 0.0))
    columns: dict[str, Any] = {name: column[kept] for name, column in parts._asdict().items()}
    chosen = Parts(**columns)
    first = [0]
    for k in range(1, len(kept)):
        if k - first[-1] >= GROUP or chosen.owner[k] != chosen.owner[k - 1]:
            first.append(k)
    first.append(len(kept))
    centre, bound = np.empty((len(first) - 1, 3)), np.empty(len(first) - 1)
    for g, (a, b) in enumerate(pairwise(first)):
        weight = chosen.bound[a:b, None] + 1e-9
        centre[g] = (chosen.centre[a:b] * weight).sum(axis=0) / weight.sum()
        bound[g] = float((np.linalg.norm(chosen.centre[a:b] - centre[g], axis=1) + chosen.bound[a:b]).max())
    return Casters(chosen, np.array(first), centre, bound)


@dataclass
class Workshop:
    """Collects parts; positions and lengths are multiplied by ``scale`` when they are put together."""

    rows: list[tuple[object, ...]] = field(default_factory=list)

    def capsule(
        self,
        a: Floats,
        b: Floats,
        first: float,
        last: float,
        colour: Colour,
        *,
        owner: int,
        label: int = PERSON,
        axis: Floats | None = None,
        squash: float = 1.0,
        kind: int = CAPSULE,
        glow: float = 0.0,
    ) -> None:
        """Add the part between ``a`` and ``b``."""
        n = np.array([0.0, 0.0, 1.0]) if axis is None else axis / np.linalg.norm(axis)
        m = np.asarray(b - a, np.float64)
        along = m + (squash - 1.0) * float(m @ n) * n
        if kind == BOX:
            bound = float(np.linalg.norm(m)) * 0.5
        elif kind == CONE:
            bound = float(np.hypot(np.linalg.norm(m) * 0.5, max(first, last)))
        else:
            bound = float(np.linalg.norm(m)) * 0.5 + max(first, last)
        centre = (a + b) * 0.5
        self.rows.append((kind, a, along, first, last, n, squash, colour, glow, label, owner, centre, bound))

    def ball(self, at: Floats, radius: float, colour: Colour, *, owner: int, label: int = PERSON) -> None:
        """Add a ball."""
        self.capsule(at, at, radius, radius, colour, owner=owner, label=label)

    def box(
        self, low: Floats, high: Floats, colour: Colour, *, owner: int, label: int = OTHER, glow: float = 0.0
    ) -> None:
        """Add a box along the world's axes."""
        self.capsule(low, high, 0.0, 0.0, colour, owner=owner, label=label, kind=BOX, glow=glow)

    def put_together(self) -> Parts:
        """All parts, at least one, as arrays."""
        whole = {"kind", "label", "owner"}
        arrays: dict[str, Any] = {
            name: np.array(column, np.int64 if name in whole else np.float64)
            for name, column in zip(Parts._fields, zip(*self.rows, strict=True), strict=True)
        }
        return Parts(**arrays)
