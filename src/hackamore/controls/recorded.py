"""Units as a Recipe holds them, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.controls.place import kind_of
from hackamore.controls.schedule import Schedule
from hackamore.controls.unit import Unit
from hackamore.core.image import from_hint
from hackamore.core.recipe import UnitRecipe, embed, extract

FILE = "file"
"""How an option that is a file is marked."""


def record(unit: Unit, k: int) -> UnitRecipe:
    """Everything of a unit that determines picture number ``k``."""
    strength = unit.strength
    told: dict[str, Any] = (
        {"schedule": str(strength)}
        if isinstance(strength, Schedule)
        else {"scale": strength.scale, "start": strength.start, "end": strength.end}
    )
    hints = unit.pictures
    return UnitRecipe(
        control=unit.control.name,
        kind=kind_of(unit),
        hint=embed(hints[k if len(hints) > 1 else 0]),
        mask=embed_mask(unit.mask, k),
        hidden=embed_mask(unit.options.get("hidden"), k),
        mode=unit.mode,
        weights=unit.weights,
        prompt=unit.prompt,
        options={name: _plain(value) for name, value in unit.options.items() if name != "hidden"},
        sha256=unit.control.sha256,
        **told,
    )


def restore(recipe: UnitRecipe, control: Any, found: Callable[[str], Path]) -> Unit:
    """The unit of a Recipe, bound to ``control``; ``found`` gives the file or folder of a name."""
    told: Mapping[str, Any] = (
        {"schedule": recipe.schedule} if recipe.schedule else recipe.model_dump(include={"scale", "start", "end"})
    )
    if "type" not in getattr(control, "options", ()):  # published files do not tell their condition
        control.condition = control.condition or recipe.kind
    if recipe.hidden is not None:
        told = {**told, "hidden": extract(recipe.hidden)}
    unit: Unit = control.unit(
        extract(recipe.hint),
        mask=None if recipe.mask is None else extract(recipe.mask),
        mode=recipe.mode,
        weights=recipe.weights,
        prompt=recipe.prompt,
        **{name: _whole(value, found) for name, value in recipe.options.items()},
        **told,
    )
    return unit


def embed_mask(mask: Tensor | None, k: int) -> str | None:
    """The mask of picture ``k`` as base64 PNG."""
    if mask is None:
        return None
    masks = from_hint(mask.expand(-1, 3, -1, -1))
    return embed(masks[k if len(masks) > 1 else 0])


def _plain(value: Any) -> Any:
    """An option as JSON holds it; of a file its name alone."""
    if isinstance(value, Path):
        return {FILE: value.name}
    if isinstance(value, torch.Tensor):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _whole(value: Any, found: Callable[[str], Path]) -> Any:
    """What :func:`_plain` gave, as an option; a named file is looked for."""
    return found(value[FILE]) if isinstance(value, dict) and FILE in value else value
