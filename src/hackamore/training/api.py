"""Training from Python, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hackamore.core.errors import HackamoreError
from hackamore.training.settings import RunSettings
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
    **settings: Any,
) -> Path:
    """Train ``control`` on the pairs in ``data`` and write it to ``output``, going on where it was stopped.

    ``control``: what :func:`hackamore.new_control` and its like or :func:`hackamore.load_control` gave. ``data``: a
    folder of pairs or pictures, shards, or ``datasets:NAME``. ``kind``: which hint, its own condition when absent;
    several for a union. ``base``: where the control does not know its own (ControlNet-XS). ``settings``: fields of
    :class:`RunSettings` (``steps``, ``batch_size``, ``lr`` …), or whole
    tables of the configuration (``objective={"min_snr": 5}``, ``probe={"every": 0}`` …), see docs/train.md.
    ``watchers`` are told how it goes. Raises :class:`HackamoreError` for settings out of range and for data that
    cannot be read.
    """
    from hackamore.training.build import build
    from hackamore.training.config import stage_from
    from hackamore.training.forms.given import form_of
    from hackamore.training.run import run_stage

    chosen = kind or getattr(control, "types", None) or control.condition
    if not chosen:
        raise HackamoreError("what the control is trained on is not told", remedy="kind='canny', or another hint")
    kinds = (chosen,) if isinstance(chosen, str) else tuple(chosen)
    base = base or getattr(control, "base", None)
    if base is None:
        raise HackamoreError("which base the control is trained on is not told", remedy="base=…")
    run = {name: settings.pop(name) for name in list(settings) if name in RunSettings.model_fields}
    told: dict[str, Any] = {
        "base": base.name,
        "kind": kinds[0] if len(kinds) == 1 else kinds,
        "data": {"path": str(data), **settings.pop("data_settings", {})},
        "output": Path(output),
        **settings,
        "run": {**settings.get("run", {}), **run},
    }
    form = form_of(base, control, kinds, settings.get("control", {}))
    stage = stage_from({**told, "control": form.settings.model_dump()}, "the settings")
    return run_stage(stage, task=build(form, stage), resume=resume, quiet=quiet, watchers=watchers)
