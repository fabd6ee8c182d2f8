"""``hackamore world``: render paired training data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hackamore.cli.options import parse_size
from hackamore.cli.show import progress_bar


def run(
    out: Annotated[Path, typer.Option(help="Folder of the pairs.")],
    count: Annotated[int, typer.Option(help="How many worlds.")] = 1000,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT, or one number for a square.")] = "128",
    seed: Annotated[int, typer.Option(help="Seed of the first; evaluation uses 9000000 and above.")] = 0,
    hint: Annotated[
        list[str] | None, typer.Option(help="seg, depth, normal or pose; the first is the one in the index.")
    ] = None,
    people: Annotated[float, typer.Option(help="How many of the worlds have people, 0 to 1.")] = 0.0,
    sights: Annotated[
        float,
        typer.Option(help="How many have a hut, a village, a bridge, a waterfall or are inside a forest, 0 to 1."),
    ] = 0.0,
    styles: Annotated[float, typer.Option(help="How many are watercolours, pixel art or ink drawings, 0 to 1.")] = 0.0,
    workers: Annotated[int | None, typer.Option(help="Processes; all cores when absent.")] = None,
) -> None:
    """Render worlds with their hints and captions, in both data layouts; goes on where it was stopped."""
    from hackamore.core.extras import require

    require("numba", "worlds", "rendering worlds")

    from hackamore.data.worlds import write_worlds

    hints = tuple(hint or ["seg"])
    with progress_bar("rendering", count) as show:
        write_worlds(
            out, count, parse_size(size), seed, hints, workers, lambda done, _: show(done), people, sights, styles
        )
    print(f"{out}: {count} worlds")
