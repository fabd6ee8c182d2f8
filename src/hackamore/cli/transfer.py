"""``hackamore transfer``: a ControlNet moved to another base of its family."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    control: Annotated[Path, typer.Argument(help="A ControlNet: a folder or a file of weights.")],
    target: Annotated[Path, typer.Argument(help="Where the new one goes, in the same layout.")],
    start: Annotated[str, typer.Option("--from", help="The base that it was trained on.")],
    end: Annotated[str, typer.Option("--to", help="The base that it is to steer.")],
    overwrite: Annotated[bool, typer.Option(help="Replace existing files.")] = False,
) -> None:
    """Add to CONTROL what sets two bases of its family apart, so that it steers the other one."""
    from hackamore.controls.formats.transfer import transfer

    print(transfer(control, target, start, end, overwrite=overwrite))
