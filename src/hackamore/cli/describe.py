"""What a file or a folder is, in words."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from hackamore.core.errors import HackamoreError


def describe(path: Path) -> dict[str, object]:
    """Name → value of what ``path`` is: a picture of ours, a base, a control of any format, or what else of weights.

    Of weights only the header is read, not the tensors. Raises :class:`HackamoreError` for what is none of these.
    """
    from hackamore.cli.weights import base_folder, control
    from hackamore.core.weights import SUFFIXES

    if not path.exists():
        raise HackamoreError(f"no such file: {path}")
    if path.is_dir() and any((path / part).is_dir() for part in ("unet", "transformer")):
        return base_folder(path)
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        return control(path)
    return _picture(path)


def _picture(path: Path) -> dict[str, object]:
    from hackamore.core.recipe import read_recipe

    recipe = read_recipe(path)
    told: dict[str, object] = {"kind": "a picture with its recipe"}
    told |= recipe.model_dump(exclude={"units", "machine", "base_sha256", "version"})
    told["size"] = f"{recipe.size[0]}×{recipe.size[1]}"
    for number, unit in enumerate(recipe.units):
        told[f"control {number}"] = ", ".join(
            f"{key} {value}"
            for key, value in unit.model_dump(exclude={"hint", "mask", "sha256", "fidelity"}).items()
            if value is not None
        )
        if unit.fidelity:
            told[f"fidelity {number}"] = ", ".join(f"{name} {figure:g}" for name, figure in unit.fidelity.items())
    told["made by"] = f"hackamore {recipe.machine.hackamore}, torch {recipe.machine.torch}, {recipe.machine.backend}"
    told["again"] = f"hackamore replay {quote(str(path))}"
    return told
