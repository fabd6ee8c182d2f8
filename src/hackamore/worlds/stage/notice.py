"""What can truly be seen of a hall, as words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.figures.parts import Parts
from hackamore.worlds.stage.hall import Hall
from hackamore.worlds.stage.props import CROWD, DRUMS, LOUDSPEAKER, ROOM

LEAST = 0.008
"""Smallest share of the picture at which a thing may be mentioned."""

NO_LAND: dict[str, str] = {
    "terrain": "none", "time": "none", "season": "none", "weather": "none", "precipitation": "none",
    "camera": "none", "water": "none", "water side": "none", "trees": "none", "trees side": "none",
    "lone tree": "no", "forest": "no", "forest side": "none", "snow": "no", "flowers": "no", "road": "no",
    "clouds": "no", "stars": "no", "horizon": "none", "peak": "none", "water in front": "no", "sun": "none",
    "light side": "none", "sight": "none", "sight side": "none", "sight distance": "none",
}  # fmt: skip
"""The words of a land where there is none."""
NO_HALL: dict[str, str] = {"crowd": "no", "drums": "no", "loudspeakers": "no", "wall": "none"}


def notice_hall(hall: Hall, parts: Parts, which: NDArray[np.int16]) -> dict[str, str]:
    """Words for the lights and things of a hall."""
    owners = np.where(which >= 0, parts.owner[which], 0)

    def seen(owner: int, least: float = LEAST) -> str:
        return "yes" if float((owners == owner).mean()) >= least else "no"

    wall = {"bricks": "brick wall", "panels": "panels"}.get(hall.wall, f"{hall.curtain} curtain")
    return {
        "stage light": _listed(list(dict.fromkeys(hall.lights))),
        "crowd": seen(CROWD),
        "drums": seen(DRUMS),
        "loudspeakers": seen(LOUDSPEAKER, 0.02),
        "wall": wall if seen(ROOM, 0.2) == "yes" else "none",
    }


def _listed(names: list[str]) -> str:
    """a; a and b; a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
