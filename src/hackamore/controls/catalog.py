"""Controls by name, loaded when asked for."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from hackamore.bases.catalog import MEADOW
from hackamore.core.errors import HackamoreError, unknown_name

ALONE: dict[str, str] = {"reference": "reference:reference_control"}
"""Controls that are in no file: name → what makes them for a base."""


def embedded() -> dict[str, Path]:
    """Name → folder of the controls that come with the package: ``meadow/canny`` and the like."""
    return {f"meadow/{folder.name}": folder for folder in sorted((MEADOW / "controls").glob("*/")) if folder.is_dir()}


@cache
def _types(folder: Path) -> tuple[str, ...]:
    """The types of hints that a control's file tells by name, as our unions do."""
    from hackamore.controls.formats.file import open_control
    from hackamore.controls.formats.union import TYPES

    return tuple(filter(None, open_control(folder).metadata.get(TYPES, "").split(",")))


def own_controls(base: str) -> dict[str, str]:
    """Kind of hint → name of the control of its own that a base from the catalogue has for it.

    Each folder is called by its kind; a union serves every type of hint that has no control of its own.
    """
    mine = {name.partition("/")[2]: name for name in embedded() if name.partition("/")[0] == base}
    unions = {kind: _types(embedded()[name]) for kind, name in mine.items()}
    served = {one: mine[kind] for kind, types in unions.items() for one in types}
    return {**served, **{kind: name for kind, name in mine.items() if not unions[kind]}}


def load_control(name: str | Path, base: Any, **options: Any) -> Any:
    """A control from a catalogue name (``meadow/canny``, ``reference``), a folder or a file of any known format.

    ``options`` are the format's own: ``pools`` (ControlNets: average the residuals over the picture, as shuffle
    controls do) … The formats stand in :data:`hackamore.controls.formats.table.FORMATS`.
    Raises :class:`HackamoreError` for an unknown name, a damaged or unknown file, one that holds code (which is never
    run), or a control of another family or width than ``base``.
    """
    from hackamore.controls.formats.file import open_control
    from hackamore.controls.formats.table import read_control

    if str(name) in ALONE:
        if options:
            raise HackamoreError(f"{name} is loaded without options", received=", ".join(options))
        module, made_by = ALONE[str(name)].split(":")
        return getattr(import_module(f"hackamore.controls.{module}"), made_by)(base)
    known = embedded()
    path = known.get(str(name), Path(name))
    if str(name) not in known and not path.exists():
        raise unknown_name("control", str(name), [*known, *ALONE])
    control = read_control(open_control(path), base, **options)
    control.name = str(name) if str(name) in known else path.resolve().name
    return control
