"""A control as a user asks for it, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ControlSpec:
    """The kind, the picture, what the unit is told, and the annotator's parameters.

    ``image``, ``unit["mask"]`` and ``parameters["hidden"]`` are what pictures are read from, or lists of it with one
    for each picture: files, pictures H×W×3 uint8, people.
    """

    kind: str
    image: Any
    unit: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
