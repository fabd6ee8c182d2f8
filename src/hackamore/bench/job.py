"""What is measured: one generation, and which side makes it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

STEPS = 20
PROMPT, NEGATIVE = "mountains with a lake at noon", "a town"


@dataclass(frozen=True)
class Job:
    """A generation that both sides can make.

    ``base`` and ``controls`` are folders in diffusers' layout (or ``meadow``, ``meadow/canny``). ``side``: ``ours`` or
    ``diffusers``. ``backend``: what runs the networks; ours ``torch`` or ``openvino``, diffusers' ``torch`` or
    ``compile``. ``fast``: ours, a level of the fast mode or the fields of its policies. ``steps``: None are the level's
    own, with its scheduler.
    """

    base: str = "meadow"
    controls: tuple[str, ...] = ("meadow/canny",)
    side: str = "ours"
    backend: str = "torch"
    fast: int | dict[str, Any] | None = None
    size: tuple[int, int] = (128, 128)
    steps: int | None = 20
    guidance: float = 5.0
    scheduler: str = "ddim"
    dtype: str = "fp32"
    device: str = "cpu"
    threads: int = 2
    family: str = "sd1"
    options: dict[str, Any] = field(default_factory=dict)
    """Of ``load_base``, for ours."""

    def on(self, side: str, backend: str = "torch", fast: int | dict[str, Any] | None = None) -> Job:
        """The same generation by another side; a fast level has its own steps where this one has the usual 20."""
        steps = None if fast is not None and self.steps == STEPS else self.steps
        return replace(self, side=side, backend=backend, fast=fast, steps=steps)

    def dumps(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def loads(line: str) -> Job:
        """What :meth:`dumps` wrote."""
        told = json.loads(line)
        return Job(**{**told, "controls": tuple(told["controls"]), "size": tuple(told["size"])})
