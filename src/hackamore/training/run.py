"""A stage, run: the one way from settings to finished weights, for the command and for Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hackamore.training.control_stage import ControlStage
from hackamore.training.trainer import Task, train
from hackamore.training.watcher import Watcher


def run_stage(
    stage: Any, *, task: Task | None = None, resume: bool = True, quiet: bool = False, watchers: Sequence[Watcher] = ()
) -> Path:
    """Train what ``stage`` describes and return its output folder; ``task``: what it trains, where that is made.

    ``watchers`` are told beside the stage's own.
    """
    told = [*stage.watchers(quiet), *watchers]
    made = stage.task() if task is None else task
    probe = stage.probe if isinstance(stage, ControlStage) and stage.probe.every else None
    return train(made, stage.run, stage.output, resume=resume, watchers=told, probe=probe, settings=settings_of(stage))


def settings_of(stage: Any) -> Mapping[str, Any]:
    """Everything that a stage was told, fit for JSON."""
    settings: Mapping[str, Any] = stage.model_dump(mode="json")
    return settings
