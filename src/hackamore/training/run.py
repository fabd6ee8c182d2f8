"""A stage, run: the one way from settings to finished weights, for the command and for Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hackamore.training.control import ControlTask
from hackamore.training.control_stage import ControlStage
from hackamore.training.trainer import Task, train
from hackamore.training.watch.push import Push
from hackamore.training.watcher import Watcher


def run_stage(
    stage: Any,
    *,
    task: Callable[[], Task] | None = None,
    resume: bool = True,
    quiet: bool = False,
    watchers: Sequence[Watcher] = (),
) -> Path:
    """Train what ``stage`` describes and return its output folder; ``task`` makes what it trains, else the stage does.

    That is made last, once everybody who is told how it goes is there: making it lays parts of the base aside.
    ``watchers`` are told beside the stage's own. Afterwards the base is as it was. Raises :class:`WorkFailed`, beside
    what :func:`train` raises, where the finished control could not be uploaded; it is in the output folder then.
    """
    told = [*stage.watchers(quiet), *watchers]
    probe = stage.probe if isinstance(stage, ControlStage) and stage.probe.every else None
    made = stage.task() if task is None else task()
    stage = stage.settled(made.form.base) if isinstance(made, ControlTask) else stage
    try:
        out = train(
            made, stage.run, stage.output, resume=resume, watchers=told, probe=probe, settings=settings_of(stage, made)
        )
    finally:
        if isinstance(made, ControlTask):
            made.restore()
    failed = next((one.failed for one in told if isinstance(one, Push) and one.failed is not None), None)
    if failed is not None:
        raise failed
    return out


def settings_of(stage: Any, task: Task) -> Mapping[str, Any]:
    """Everything that a stage was told, and the facts of what it trains on, fit for JSON."""
    settings: dict[str, Any] = stage.model_dump(mode="json")
    return settings | ({"facts": task.facts} if isinstance(task, ControlTask) else {})
