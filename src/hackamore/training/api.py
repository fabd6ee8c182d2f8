"""Training from Python, in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hackamore.controls.branch import Branch
from hackamore.core.errors import HackamoreError
from hackamore.training.settings import RunSettings
from hackamore.training.stages import control_task
from hackamore.training.trainer import train as run_training


def train(
    control: Branch,
    data: Path | str,
    output: Path | str,
    *,
    kind: str | None = None,
    prompt_dropout: float = 0.3,
    timesteps: str = "cubic",
    zero_scale: float = 3.0,
    resume: bool = True,
    **run: Any,
) -> Path:
    """Train ``control`` on the pairs in the folder ``data`` and write it to ``output``, going on where it was stopped.

    ``kind`` says which hint (its own condition when absent): ``canny`` is made from the pictures, others are read.
    ``run`` are the fields of :class:`RunSettings` (``steps``, ``batch_size``, ``lr`` …).
    Raises :class:`HackamoreError` for settings out of range and for data that cannot be read.
    """
    from pydantic import ValidationError

    chosen = kind or control.condition
    if chosen is None:
        raise HackamoreError("what the control is trained on is not told", remedy="kind='canny', or another hint")
    control.condition = chosen
    try:
        settings = RunSettings(**{"steps": 4000, "lr": 3e-4, **run})
    except ValidationError as error:
        first = error.errors()[0]
        raise HackamoreError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}", received=first.get("input")
        ) from error
    task = control_task(
        control,
        Path(data),
        control.base.size,
        chosen,
        prompt_dropout=prompt_dropout,
        timesteps=timesteps,
        zero_scale=zero_scale,
    )
    return run_training(task, settings, output, resume=resume)
