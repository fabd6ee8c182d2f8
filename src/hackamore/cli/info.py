"""``hackamore info``: what a file is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(file: Annotated[Path, typer.Argument(help="A picture of ours, a control, a base, or other weights.")]) -> None:
    """Say what FILE is: a picture with its Recipe, a control of any format, a base, or other weights."""
    from hackamore.cli.describe import describe

    for name, value in describe(file).items():
        print(f"{name}: {value}")
