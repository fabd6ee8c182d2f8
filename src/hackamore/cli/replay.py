"""``hackamore replay``: the same picture again, from the Recipe inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hackamore.cli.options import free_paths, make_folders
from hackamore.cli.show import note, progress_bar


def run(
    image: Annotated[Path, typer.Argument(help="A PNG that hackamore wrote.")],
    out: Annotated[Path | None, typer.Option(help="Where to write it; beside the original when absent.")] = None,
    find: Annotated[Path, typer.Option(help="Folder with the bases and controls that are not embedded.")] = Path(),
    overwrite: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
) -> None:
    """Make the picture again from the Recipe inside it, and say what differs."""
    from hackamore.core.recipe import read_recipe

    recipe = read_recipe(image)
    (path,) = free_paths(out, 1, str(image.with_name(f"{image.stem}-replay.png")), overwrite)

    import numpy as np

    from hackamore.core.image import load_picture
    from hackamore.generate import replay

    original = image.read_bytes()
    make_folders([path])
    with progress_bar("replaying", 100) as show:
        result = replay(recipe, find=find, progress=lambda told: show(round(100 * told.share)))
    made = result.images[0]
    for difference in recipe.differences(made.recipe):
        note(f"notice: {difference}; the picture may differ")
    if np.array_equal(made.pixels, load_picture(image)):
        told = zip(made.recipe.units, recipe.units, strict=True)  # figures of the same picture are the same figures
        units = tuple(unit.model_copy(update={"fidelity": before.fidelity}) for unit, before in told)
        made.recipe = made.recipe.model_copy(update={"units": units})
    made.save(path)
    same = path.read_bytes() == original
    print(f"{path}: {'the same bytes' if same else 'not the same bytes'}")
