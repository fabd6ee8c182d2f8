"""``hackamore annotate``: a picture → a hint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hackamore.cli.options import free_paths, parse_size
from hackamore.core.errors import HackamoreError


def run(
    kind: Annotated[str | None, typer.Argument(help="Which annotator; see --list.")] = None,
    image: Annotated[Path | None, typer.Argument(help="The picture.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where the hint goes (.png).")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT of the hint.")] = None,
    resize: Annotated[str, typer.Option(help="crop, fill, stretch or none.")] = "crop",
    set_: Annotated[list[str] | None, typer.Option("--set", help="A parameter, name=value. Repeatable.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the annotators and their parameters.")] = False,
) -> None:
    """Make a hint of IMAGE with the annotator KIND."""
    from hackamore.annotators.catalog import ANNOTATORS, annotate, annotator_class

    if list_:
        for name in ANNOTATORS:
            chosen = annotator_class(name)
            print(f"{name:8} {(chosen.__doc__ or '').splitlines()[0]}")
            for parameter, described in chosen.model_fields.items():
                print(f"         {parameter}={described.default}  {described.description or ''}")
        return
    if kind is None or image is None or out is None:
        raise HackamoreError(
            "something is missing",
            expected="hackamore annotate KIND IMAGE -o HINT.png",
            remedy="hackamore annotate --list",
        )
    parameters = dict(_pair(text) for text in set_ or [])
    annotator_class(kind)
    (path,) = free_paths(out, 1, "", overwrite)
    chosen_size = parse_size(size) if size else None
    hint = annotate(kind, image, size=chosen_size, mode=resize, **parameters)

    from hackamore.core.files import written_whole
    from hackamore.core.image import png

    with written_whole(path) as temporary:
        temporary.write_bytes(png(hint))
    print(path)


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise HackamoreError("a parameter is not name=value", received=text)
    return name, value
