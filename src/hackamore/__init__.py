"""Hackamore steers text-to-image diffusion models without touching their weights.

    import hackamore as hk

    base = hk.load_base("meadow")
    edges = hk.load_control("meadow/canny", base)
    hint = hk.annotate("canny", "photo.jpg", size=base.size)
    result = hk.generate(base, "mountains with a lake at sunset", controls=[edges.unit(hint)], seed=7)
    result.images[0].save("lake.png")

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hackamore.annotators.catalog import annotate as annotate
    from hackamore.annotators.hinting import hint_for as hint_for
    from hackamore.bases.catalog import load_base as load_base
    from hackamore.controls.branch import new_control as new_control
    from hackamore.controls.catalog import load_control as load_control
    from hackamore.controls.unit import Unit as Unit
    from hackamore.core.effort import Fast as Fast
    from hackamore.core.errors import HackamoreError as HackamoreError
    from hackamore.core.image import load_picture as load_picture
    from hackamore.core.recipe import Recipe as Recipe
    from hackamore.core.recipe import read_recipe as read_recipe
    from hackamore.core.residuals import Residuals as Residuals
    from hackamore.evaluation.verify import Judge as Judge
    from hackamore.evaluation.verify import best_of as best_of
    from hackamore.evaluation.verify import reach as reach
    from hackamore.evaluation.verify import verify as verify
    from hackamore.generate import generate as generate
    from hackamore.generate import replay as replay
    from hackamore.sampling.tiles import Tile as Tile
    from hackamore.sampling.upscale import Upscale as Upscale
    from hackamore.training.api import train as train
    from hackamore.worlds import render as render_world  # noqa: F401

_HOMES = {
    "Fast": "core.effort",
    "HackamoreError": "core.errors",
    "Judge": "evaluation.verify",
    "Recipe": "core.recipe",
    "Residuals": "core.residuals",
    "Tile": "sampling.tiles",
    "Unit": "controls.unit",
    "Upscale": "sampling.upscale",
    "annotate": "annotators.catalog",
    "best_of": "evaluation.verify",
    "generate": "generate",
    "hint_for": "annotators.hinting",
    "load_base": "bases.catalog",
    "load_control": "controls.catalog",
    "load_picture": "core.image",
    "new_control": "controls.branch",
    "reach": "evaluation.verify",
    "read_recipe": "core.recipe",
    "render_world": "worlds",
    "replay": "generate",
    "train": "training.api",
    "verify": "evaluation.verify",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hackamore' has no attribute {name!r}")
    home = import_module(f"hackamore.{_HOMES[name]}")
    return getattr(home, "render" if name == "render_world" else name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """This package: ``hackamore.generate`` is the function, also after its module of the same name was imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
