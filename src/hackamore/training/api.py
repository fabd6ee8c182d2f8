"""Training from Python, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from hackamore.core.errors import HackamoreError
from hackamore.training.settings import RunSettings
from hackamore.training.task import Task
from hackamore.training.watcher import Watcher


def train(
    control: Any,
    data: Path | str,
    output: Path | str,
    *,
    kind: str | Sequence[str] | None = None,
    base: Any = None,
    resume: bool = True,
    quiet: bool = False,
    watchers: Sequence[Watcher] = (),
    data_settings: Mapping[str, Any] = MappingProxyType({}),
    control_settings: Mapping[str, Any] = MappingProxyType({}),
    **settings: Any,
) -> Path:
    """Train ``control`` on the pairs in ``data`` and write it to ``output``, going on where it was stopped.

    ``control``: what :func:`hackamore.new_control` and its like or :func:`hackamore.load_control` gave. ``data``: a
    folder of pairs or pictures, shards, or ``datasets:NAME``. ``kind``: which hint, its own condition when absent;
    several for a union. ``base``: where the control does not know its own (ControlNet-XS). ``settings``: fields of
    :class:`RunSettings` (``steps``, ``batch_size``, ``lr`` …), or whole
    tables of the configuration (``objective={"min_snr": 5}``, ``probe={"every": 0}`` …), see docs/train.md; the tables
    of data and control are ``data_settings`` (``{"flip": True}``) and ``control_settings`` (``{"unlocked": True}``),
    of which a control that is there takes ``unlocked``, ``unlocked_lr``, ``zero_scale``, ``only_mid``, ``hint_start``
    and ``eight_bits``. ``watchers`` are told how it goes. The control is trained in fp32, whatever its type was.
    Raises :class:`HackamoreError` for settings out of range and for data that cannot be read; the control is as it was
    then.
    """
    from hackamore.training.build import build
    from hackamore.training.config import stage_from
    from hackamore.training.forms.given import check_given, form_name, form_of
    from hackamore.training.run import run_stage

    form = form_name(control)
    chosen = kind or getattr(control, "types", None) or control.condition
    if not chosen:
        raise HackamoreError("what the control is trained on is not told", remedy="kind='canny', or another hint")
    kinds = (chosen,) if isinstance(chosen, str) else tuple(chosen)
    base = base or getattr(control, "base", None)
    if base is None:
        raise HackamoreError("which base the control is trained on is not told", remedy="base=…")
    run = {name: settings.pop(name) for name in list(settings) if name in RunSettings.model_fields}
    table = settings.get("run", {})
    told: dict[str, Any] = {
        "base": base.name,
        "kind": kinds[0] if len(kinds) == 1 else kinds,
        "data": {"path": str(data), **data_settings},
        "control": {"form": form, **control_settings},
        "output": Path(output),
        **settings,
        "run": {**table, **run} if isinstance(table, Mapping) else table,
    }
    stage = stage_from(told, "the settings")
    stage.check()
    check_given(base, control, kinds, stage.control)
    stage = _in_its_type(stage.settled(base), base)

    def task() -> Task:
        return build(base, lambda: form_of(base, control, kinds, stage.control, stage.run.seed), stage)

    return run_stage(stage, task=task, resume=resume, quiet=quiet, watchers=watchers)


def _in_its_type(stage: Any, base: Any) -> Any:
    """``stage`` with the type that a base that is there has; another one cannot be asked for."""
    own = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}.get(base.dtype)
    if "base_dtype" in stage.memory.model_fields_set and stage.memory.base_dtype != own:
        raise HackamoreError(
            "memory.base_dtype is not the type of the base that is there",
            received=stage.memory.base_dtype,
            expected=str(own or base.dtype),
            remedy="load_base(…, dtype=…)",
        )
    told = {"base_dtype": own} if own else {}
    return stage.model_copy(update={"memory": stage.memory.model_copy(update=told)})
