"""The door of every control."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from hackamore.bases.base import Sites, Text
from hackamore.core.residuals import Residuals


class Control(Protocol):
    """Something that steers a base: told its hint once, asked for residuals at each step."""

    name: str
    condition: str | None
    sites: Sites
    sha256: dict[str, str]

    def prepare(self, hint: Tensor) -> Any:
        """Do once per generation what depends on the hint alone (N×3×H×W in [0, 1])."""

    def residuals(self, x: Tensor, t: Tensor, text: Text, prepared: Any) -> Residuals:
        """What to add to the base at this step; ``x`` are the scaled noisy latents N×C×h×w."""
