"""Controls by name, loaded when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hackamore.bases.catalog import MEADOW
from hackamore.core.errors import HackamoreError, unknown_name


def embedded() -> dict[str, Path]:
    """Name → folder of the controls that come with the package: ``meadow/canny`` and the like."""
    return {f"meadow/{folder.name}": folder for folder in sorted((MEADOW / "controls").glob("*/")) if folder.is_dir()}


def load_control(name: str | Path, base: Any) -> Any:
    """A control from a catalogue name (``meadow/canny``) or a folder in diffusers' layout, checked against ``base``.

    Raises :class:`HackamoreError` for an unknown name, a damaged file, or a control of another family or width.
    """
    from hackamore.controls.formats.diffusers import read_branch

    known = embedded()
    folder = known.get(str(name), Path(name))
    if folder.is_dir():
        branch = read_branch(folder, base)
        branch.name = str(name) if str(name) in known else folder.resolve().name
        return branch
    if folder.exists():
        raise HackamoreError(f"{name} is a file", expected="a ControlNet folder in diffusers' layout")
    raise unknown_name("control", str(name), list(known))
