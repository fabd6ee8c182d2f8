"""``hackamore circles``: draw the tutorial's training data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hackamore.cli.options import parse_size
from hackamore.cli.show import progress_bar


def run(
    out: Annotated[Path, typer.Option(help="Folder of the pairs.")],
    count: Annotated[int, typer.Option(help="How many circles.")] = 1000,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT, or one number for a square.")] = "128",
    seed: Annotated[int, typer.Option(help="Number of the first circle.")] = 0,
) -> None:
    """Draw filled circles with their outlines and captions, in both data layouts; goes on where it was stopped."""
    from hackamore.data.circles import write_circles

    with progress_bar("drawing", count) as show:
        write_circles(out, count, parse_size(size), seed, lambda done, _: show(done))
    print(f"{out}: {count} circles")
