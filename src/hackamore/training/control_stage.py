"""The training of a control: everything it may be told, and the task that it makes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt, field_validator, model_validator

from hackamore.core.errors import HackamoreError
from hackamore.core.section import Section
from hackamore.data.settings import DataSettings
from hackamore.training.settings import (
    ControlSettings,
    MemorySettings,
    ObjectiveSettings,
    ProbeSettings,
    RewardSettings,
    RunSettings,
    TrackSettings,
)
from hackamore.training.trainer import Task
from hackamore.training.watcher import Watcher

USUAL: dict[str, Any] = {"steps": 1500, "ema": 0.995, "warmup": 50, "flat": 0.2, "checkpoint_every": 250}
"""Of the run, where nothing else is told: what suits a control."""


def usual_lr(base: Any) -> float:
    """The learning rate for a base where none is told: 0.032 ÷ its width, the channels of its first features.

    That is 5e-4 for Meadow, where it was measured, 1e-4 for Stable Diffusion's U-Nets and 1e-5 for FLUX: with Adam the
    best rate falls as the width grows (Yang et al. 2021, Tensor Programs V, table 3).
    """
    return float(f"{0.032 / (base.sites.width or base.sites.skips[0]):.3g}")


def usual_precision() -> str:
    """``bf16`` on a GPU or CPU that computes in it by itself, else ``no``."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "no"


class ControlStage(Section):
    """A control on a finished base."""

    stage: Literal["control"] = "control"
    base: str = "meadow"
    kind: str | tuple[str, ...] = Field(description="which hint; several for a union")
    data: DataSettings
    output: Path
    size: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="width and height; by default the base's own"
    )
    control: ControlSettings = ControlSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    reward: RewardSettings = RewardSettings()
    memory: MemorySettings = MemorySettings()
    probe: ProbeSettings = ProbeSettings()
    track: TrackSettings = TrackSettings()
    run: RunSettings

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, told: Any) -> Any:
        """A bare path is the data's; the run has the usual settings where it is told nothing else."""
        if isinstance(told, dict):
            data, run, size = told.get("data"), told.get("run", {}), told.get("size")
            told = {**told, "data": {"path": str(data)}} if isinstance(data, (str, Path)) else dict(told)
            if isinstance(size, int):
                told["size"] = (size, size)
            elif isinstance(size, str) and re.fullmatch(r"\d+x\d+", size):
                told["size"] = tuple(int(side) for side in size.split("x"))
            told["run"] = {**USUAL, "precision": usual_precision(), **run} if isinstance(run, dict) else run
        return told

    @field_validator("kind")
    @classmethod
    def _named(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """Finished files are called by it."""
        if any(not re.fullmatch(r"[\w-]+", kind) for kind in ((value,) if isinstance(value, str) else value)):
            raise ValueError("a kind is named by letters, digits, - and _ alone")
        return value

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of hints, one or several."""
        return (self.kind,) if isinstance(self.kind, str) else self.kind

    def check(self) -> None:
        """Raise :class:`HackamoreError` for settings that contradict one another."""
        if Path(self.data.path).resolve() == self.output.resolve():
            raise HackamoreError("the control would be written among its own data", received=self.output)
        if (len(self.kinds) > 1) != (self.control.form == "union"):
            raise HackamoreError(
                "the kinds of hints do not fit the form of the control",
                received=f"{self.control.form} and {', '.join(self.kinds)}",
                expected="several kinds for a union, one for every other form",
            )

    def settled(self, base: Any) -> ControlStage:
        """The same with the learning rate that suits ``base``, where none was told."""
        if "lr" in self.run.model_fields_set:
            return self
        return self.model_copy(update={"run": self.run.model_copy(update={"lr": usual_lr(base)})})

    def task(self) -> Task:
        """What it trains, with its data loaded."""
        from hackamore.bases.catalog import load_base
        from hackamore.training.build import build
        from hackamore.training.forms import make_form
        from hackamore.training.processes import own_device

        self.check()
        base = load_base(self.base, device=own_device(), dtype=self.memory.base_dtype, backend="torch")
        torch.manual_seed(self.run.seed)
        form = make_form(base, self.control, self.kinds)
        return build(base, lambda: form, self.settled(base))

    def watchers(self, quiet: bool = False) -> list[Watcher]:
        """Who is told how it goes."""
        from hackamore.training.watch.catalog import watchers_of

        return watchers_of(self.track, self.output, quiet)
