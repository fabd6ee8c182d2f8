"""Hints made from pictures while training: the annotator's parameters, drawn anew each time or settled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from PIL import Image

from hackamore.annotators.annotator import Annotator
from hackamore.annotators.catalog import ALIASES, ANNOTATORS, annotator_class, make_annotator
from hackamore.core.errors import HackamoreError
from hackamore.core.files import written_whole
from hackamore.core.image import Picture, load_picture

DENSITIES = (0.03, 0.16)
"""Between these shares of edge pixels training varies Canny, so that a control obeys sparse and dense edges alike."""
SETTLED = (0.5, 0.5)
"""The middle of every range."""
PAINTED = ("seg", "pose_json", "inpaint")
"""Annotators that do not read photographs."""


@dataclass(frozen=True)
class Making:
    """How hints of ``kind`` are made: ``parameters`` of its annotator, where a pair [low, high] is drawn."""

    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    keep: Path | None = None
    """Folder in which hints, with settled parameters, are kept; None makes them anew each time."""

    def annotator(self, u: Sequence[float] = SETTLED) -> Annotator:
        """The annotator with the ranges settled by the uniform numbers ``u``, parameter k by number k."""
        settled, drawn = {}, 0
        for name, value in self.parameters.items():
            if isinstance(value, (list, tuple)):
                turn, place = divmod(drawn, len(u))
                share = u[place] if not turn else (u[place] * (96 * turn + 1)) % 1.0  # beyond them, others made of them
                low, high = value
                whole = isinstance(low, int) and isinstance(high, int)
                drawn += 1
                value = low + (high - low) * share
                value = round(value) if whole else value
            settled[name] = value
        return _annotator(self.kind, json.dumps(settled, sort_keys=True))

    def make(self, picture: Picture, u: Sequence[float], fingerprint: str) -> Picture:
        """The hint of a picture as it is seen; ``fingerprint`` tells pictures apart where hints are kept."""
        if self.keep is None:
            return self.annotator(u)(picture)
        told = f"{self.kind} {json.dumps(dict(self.parameters), sort_keys=True)} {fingerprint}"
        name = hashlib.blake2b(told.encode(), digest_size=16).hexdigest()
        path = self.keep / "hints" / name[:2] / f"{name}.png"
        if path.is_file():
            return load_picture(path)
        made = self.annotator()(picture)
        with written_whole(path) as temporary:
            Image.fromarray(made).save(temporary, format="PNG", compress_level=1)
        return made


def making_of(kind: str, kinds: Sequence[str], parameters: Mapping[str, Any], keep: Path | None) -> Making:
    """How hints of ``kind`` are made, checked. Of several kinds each has a table of parameters under its name.

    Canny without parameters of its own varies its density, so that a control obeys sparse and dense edges alike.
    Raises :class:`HackamoreError` for a kind that cannot be made from pictures, and for a parameter that is wrong.
    """
    name = ALIASES.get(kind, kind)
    if name not in ANNOTATORS or name in PAINTED:
        made = ", ".join(sorted(set(ANNOTATORS) - set(PAINTED)))
        raise HackamoreError(
            f"the training data has no {kind} hints, and they cannot be made from its pictures",
            expected=f"hints beside the pictures (data.hint names where they are), or one of {made}",
        )
    mine = parameters.get(kind)
    told = dict(mine) if isinstance(mine, Mapping) else {k: v for k, v in parameters.items() if k not in kinds}
    if len(kinds) > 1 and not isinstance(mine, Mapping):
        told = {k: v for k, v in told.items() if k in annotator_class(name).model_fields}
    if name == "canny" and not {"low", "high", "density"} & set(told):
        told["density"] = list(DENSITIES)
    wrong = next((k for k, v in told.items() if isinstance(v, (list, tuple)) and not _range(v)), None)
    if wrong is not None:
        expected = "one value, or [low, high]"
        raise HackamoreError(f"the parameter {wrong} of {kind} is no range", received=told[wrong], expected=expected)
    making = Making(name, told, keep)
    for corner in product((0.0, 1.0 - 1e-9), repeat=2):
        making.annotator(corner)  # refuses what the annotator does not take
    return making


def _range(value: Sequence[Any]) -> bool:
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
    return len(value) == 2 and numbers and value[0] <= value[1]


@lru_cache(maxsize=64)
def _annotator(kind: str, parameters: str) -> Annotator:
    return make_annotator(kind, **json.loads(parameters))
