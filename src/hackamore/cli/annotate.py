"""``hackamore annotate``: a picture → a hint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hackamore.cli.options import free_paths, parse_size
from hackamore.core.errors import HackamoreError


def run(
    context: typer.Context,
    kind: Annotated[str | None, typer.Argument(help="Which annotator; see --list.")] = None,
    image: Annotated[Path | None, typer.Argument(help="The picture.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where the hint goes (.png).")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT of the hint.")] = None,
    resize: Annotated[str, typer.Option(help="crop, fill, stretch or none.")] = "crop",
    overwrite: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the annotators and their parameters.")] = False,
) -> None:
    """Make a hint of IMAGE with the annotator KIND; its parameters are options, such as --density 0.1; see --list."""
    from hackamore.annotators.catalog import ANNOTATORS, annotate, annotator_class, make_annotator

    if list_:
        for name in ANNOTATORS:
            chosen = annotator_class(name)
            print(f"{name:8} {(chosen.__doc__ or '').splitlines()[0]}")
            for parameter, described in chosen.model_fields.items():
                print(f"         --{parameter.replace('_', '-')} {described.default}  {described.description or ''}")
        return
    if kind is None or image is None or out is None:
        raise HackamoreError(
            "something is missing",
            expected="hackamore annotate KIND IMAGE -o HINT.png",
            remedy="hackamore annotate --list",
        )
    parameters = parse_parameters(context.args)
    make_annotator(kind, **parameters)
    (path,) = free_paths(out, 1, "", overwrite)
    chosen_size = parse_size(size) if size else None
    hint = annotate(kind, image, size=chosen_size, mode=resize, **parameters)

    from hackamore.core.files import written_whole
    from hackamore.core.image import png

    with written_whole(path) as temporary:
        temporary.write_bytes(png(hint))
    print(path)


def parse_parameters(words: list[str]) -> dict[str, str]:
    """``--name value`` pairs that are no options of the command → the annotator's parameters."""
    parameters: dict[str, str] = {}
    rest = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    for name, value in zip(rest[::2], rest[1::2], strict=False):
        parameters[name.removeprefix("--").replace("-", "_")] = value
    if len(rest) % 2 or not all(name.startswith("--") for name in rest[::2]):
        raise HackamoreError("the parameters are not understood", received=" ".join(words), expected="--name value")
    return parameters
