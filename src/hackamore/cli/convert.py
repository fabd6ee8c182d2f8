"""``hackamore convert``: a ControlNet from one layout to the other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    source: Annotated[Path, typer.Argument(help="A ControlNet: a folder or a file of weights.")],
    target: Annotated[Path, typer.Argument(help="A .safetensors file; for diffusers a folder, too.")],
    to: Annotated[str, typer.Option(help="cldm (the original layout) or diffusers.")],
    dtype: Annotated[str | None, typer.Option(help="fp32, fp16 or bf16; as it is when absent.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace existing files.")] = False,
) -> None:
    """Write the ControlNet SOURCE to TARGET in another layout, every number as it is."""
    from hackamore.controls.formats.convert import convert

    print(convert(source, target, to, dtype=dtype, overwrite=overwrite))
