"""What is computed at each step of a generation, and what is spared: the policies of the fast mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from hackamore.core.errors import HackamoreError
from hackamore.core.section import Section

STEPS = 20
"""Steps of a generation that is told none."""
Share = Annotated[float, Field(ge=0, le=1)]
Every = Annotated[int, Field(ge=1, le=10)]


@dataclass(frozen=True)
class Effort:
    """What is computed at one step.

    ``guided``: the negative prompt's half of guidance too, where there is one. ``controls``: ``run``, or ``carry`` on
    from what they said at earlier steps, or ``none``. ``halves``: the controls run for both halves; else what they say
    to the prompt's half is said to both. ``deep``: the whole base, else what lies deep in it is kept from an earlier
    step.
    """

    guided: bool = True
    controls: Literal["run", "carry", "none"] = "run"
    halves: bool = True
    deep: bool = True


EXACT = Effort()


class Fast(Section):
    """Which work is spared; each field is a policy by itself, and by default none is in force.

    ``steps`` and ``scheduler``: what a generation takes that is told neither.
    ``guidance_start``, ``guidance_end``: guidance at steps i of N with start ≤ i/N < end; at others the prompt alone
    (Kynkäänniemi et al. 2024, §3). ``control_every``: controls run at every k-th step; between, what they said is
    carried on; those inside the base run at all steps. ``control_end``: all controls end at that share of the steps.
    ``control_halves``: False runs controls on the prompt's half of guidance alone and adds what they say to both.
    ``deep_every``: the whole base, and the controls, at every k-th step; between, only the last ``deep_layers`` layers
    of its decoder (as many as its first level has at most), on top of deep features that are carried on (Ma et al.
    2023, §3.2). ``carry``: how, along the "line" through the last two, or unchanged ("hold"). ``bf16``: networks
    compute in it, where the backend can.
    """

    steps: int | None = Field(None, ge=1, le=1000)
    scheduler: str | None = None
    guidance_start: Share = 0.0
    guidance_end: Share = 1.0
    control_every: Every = 1
    carry: Literal["line", "hold"] = "line"
    control_end: Share = 1.0
    control_halves: bool = True
    deep_every: Every = 1
    deep_layers: int = Field(1, ge=1, le=10)
    bf16: bool = False

    def at(self, index: int, total: int) -> Effort:
        """What is computed at step ``index`` of ``total``."""
        deep = index % self.deep_every == 0
        fresh = deep and index % self.control_every == 0  # above kept features hardly any of what it says is heard
        ended = (index + 1) / total > self.control_end
        return Effort(
            guided=self.guidance_start <= index / total < self.guidance_end,
            controls="none" if ended else "run" if fresh else "carry",
            halves=self.control_halves,
            deep=deep,
        )


_SPARED = {"scheduler": "dpm++_2m", "control_halves": False, "bf16": True}
LEVELS = {
    1: Fast(steps=10, **_SPARED),
    2: Fast(steps=8, **_SPARED),
    3: Fast(steps=8, guidance_start=0.1, guidance_end=0.8, deep_every=2, **_SPARED),
}
"""The levels of the fast mode, chosen by what they were measured to cost (docs/performance.md)."""
USUAL_LEVEL = 2


def usual_steps(fast: Fast | None = None) -> int:
    """How many steps a generation has that is told none."""
    return fast.steps if fast is not None and fast.steps is not None else STEPS


def fast_of(told: Fast | int | None) -> Fast | None:
    """A level by its number, or policies as they are; None is the exact mode."""
    if told is None or isinstance(told, Fast):
        return told
    if told not in LEVELS:
        expected = ", ".join(map(str, LEVELS))
        raise HackamoreError("there is no such level of the fast mode", received=told, expected=expected)
    return LEVELS[told]
