"""The picture of a Recipe, made again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from glob import escape
from pathlib import Path
from typing import Any

import torch

from hackamore.bases.hub import is_hub_name
from hackamore.controls.recorded import restore
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Size
from hackamore.core.recipe import Recipe, extract
from hackamore.generate.result import Progress, Result
from hackamore.generate.run import generate
from hackamore.sampling.tiles import Tile
from hackamore.sampling.upscale import Upscale


def replay(recipe: Recipe, *, find: Path | str = ".", progress: Callable[[Progress], None] | None = None) -> Result:
    """Make the picture of a Recipe again, with the weights that its names stand for now.

    Names that no catalogue knows are looked for in the folder ``find`` and in its folders. Thread count, dtype and
    backend are as recorded where the machine has them; compare the new Recipe with :meth:`Recipe.differences` to learn
    what was not.
    """
    from hackamore.backends.choose import is_usable
    from hackamore.bases.catalog import BASES, best_device, load_base

    device, _, runner = recipe.machine.backend.partition(", ")
    place = device if device in ("cpu", best_device().type) else None
    backend = "openvino" if runner.startswith("openvino") and is_usable() else "torch"
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.machine.threads)
    try:
        options = {name: _found_option(name, value, find) for name, value in recipe.base_options.items()}
        dtype = getattr(torch, recipe.machine.dtype)
        base = load_base(_found(recipe.base, BASES, find), device=place, dtype=dtype, backend=backend, **options)
        upscale, tile = recipe.upscale, None
        if recipe.tile is not None:
            tile = Tile(recipe.tile, recipe.tile_overlap)
        return generate(
            base,
            recipe.prompt,
            controls=_controls(recipe, base, find),
            negative=recipe.negative,
            seed=recipe.seed,
            size=recipe.size,
            steps=recipe.steps,
            guidance=recipe.guidance,
            scheduler=recipe.scheduler,
            init=None if recipe.init is None else extract(recipe.init),
            strength=recipe.strength,
            mask=None if recipe.mask is None else extract(recipe.mask),
            upscale=None
            if upscale is None
            else Upscale(upscale.size, strength=upscale.strength, steps=upscale.steps, through=upscale.through),
            tile=tile,
            fast=recipe.fast,
            progress=progress,
        )
    finally:
        torch.set_num_threads(threads)


def _controls(recipe: Recipe, base: Any, find: Path | str) -> Callable[[Size], list[Unit]]:
    """The units of each pass, by its size; each control is loaded once."""
    from hackamore.controls.catalog import ALONE, embedded, load_control

    passes = {recipe.size: recipe.units}
    if recipe.upscale is not None:
        passes[recipe.upscale.size] = recipe.upscale.units
    names = dict.fromkeys(unit.control for units in passes.values() for unit in units)
    loaded = {name: load_control(_found(name, {*embedded(), *ALONE}, find), base) for name in names}
    return lambda size: [
        restore(unit, loaded[unit.control], lambda name: _near(name, find) or Path(name)) for unit in passes[size]
    ]


def _found(name: str, known: Collection[str], find: Path | str) -> str | Path:
    """``name`` itself where it is known or a hub's, else its file or folder in ``find`` or one of its folders."""
    if name in known:
        return name
    if (path := _near(name, find)) is not None:
        return path
    if is_hub_name(name):
        return name
    raise HackamoreError(
        f"{name}, which the recipe names, is neither embedded nor in {Path(find).resolve()}",
        remedy="--find FOLDER, where it lies",
    )


def _near(name: str, find: Path | str) -> Path | None:
    """The file or folder called ``name`` in ``find`` or one of its folders."""
    near = [Path(find) / name, *sorted(Path(find).glob(f"*/{escape(name)}"))]
    return next((path for path in near if path.exists()), None)


def _found_option(option: str, value: Any, find: Path | str) -> Any:
    """An option of the base as it is loaded: files, which the recipe names, by their paths."""
    if option == "loras":
        return [(_found(name, (), find), scale) for name, scale in value]
    if option in ("embeddings", "parts") and not isinstance(value, str):
        return [_found(name, (), find) for name in value]
    return _found(value, (), find) if option in ("vae", "tokenizer", "parts") else value
