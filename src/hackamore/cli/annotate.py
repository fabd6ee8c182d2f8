"""``hackamore annotate``: a picture → a hint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from hackamore.cli.options import free_paths, parse_size
from hackamore.core.errors import HackamoreError, unknown_name
from hackamore.core.files import written_whole

if TYPE_CHECKING:
    from hackamore.core.image import Picture, Size


def run(
    context: typer.Context,
    kind: Annotated[str | None, typer.Argument(help="Which annotator; see --list.")] = None,
    image: Annotated[Path | None, typer.Argument(help="The picture; for a pose also an OpenPose JSON file.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where the hint goes (.png).")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT of the hint.")] = None,
    resize: Annotated[str, typer.Option(help="crop, fill, stretch or none.")] = "crop",
    keypoints: Annotated[
        Path | None, typer.Option("--json", help="Of a pose: write the key points too, as OpenPose JSON.")
    ] = None,
    legend: Annotated[
        str | None,
        typer.Option(help="Write the legend of a palette (worlds, ade20k); after seg IMAGE, of the classes in it."),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the annotators and their parameters.")] = False,
) -> None:
    """Make a hint of IMAGE with the annotator KIND; its parameters are options, such as --density 0.1; see --list."""
    if context.args and (list_ or legend is not None):
        raise HackamoreError("the parameters are not understood", received=" ".join(context.args))
    if list_:
        list_annotators()
        return
    if legend is not None:
        write_legend(legend, kind, image, out, overwrite)
        return
    if kind is None or image is None or out is None:
        raise HackamoreError(
            "something is missing",
            expected="hackamore annotate KIND IMAGE -o HINT.png",
            remedy="hackamore annotate --list",
        )
    from hackamore.annotators.catalog import kind_for, make_annotator
    from hackamore.core.image import ResizeMode, png

    parameters = parse_parameters(context.args)
    make_annotator(kind_for(kind, image), **parameters)
    (path,) = free_paths(out, 1, "", overwrite)
    if keypoints is not None and keypoints.exists() and not overwrite:
        raise HackamoreError(f"{keypoints} exists already", remedy="another --json, or --overwrite")
    if keypoints is not None and keypoints.is_dir():
        raise HackamoreError(f"{keypoints} is a folder", expected="a file for the key points")
    if keypoints is not None and keypoints.resolve() == path.resolve():
        raise HackamoreError("-o and --json name the same file", received=keypoints)
    if resize not in get_args(ResizeMode):
        raise HackamoreError("unknown resize mode", received=resize, expected=", ".join(get_args(ResizeMode)))
    hint = make_hint(kind, image, parse_size(size) if size else None, resize, parameters, keypoints)
    with written_whole(path) as temporary:
        temporary.write_bytes(png(hint))
    print(path)


def make_hint(
    kind: str, image: Path, size: Size | None, mode: str, parameters: dict[str, str], keypoints: Path | None
) -> Picture:
    """The hint of a file; of a pose the key points are written to ``keypoints`` where that is given."""
    from hackamore.annotators.catalog import annotate, find_people, kind_for, make_annotator
    from hackamore.annotators.pose import PeopleAnnotator
    from hackamore.core.skeleton import to_openpose

    if keypoints is None:
        return annotate(kind, image, size=size, mode=mode, **parameters)
    annotator = make_annotator(kind_for(kind, image), **parameters)
    if not isinstance(annotator, PeopleAnnotator):
        raise HackamoreError(f"{kind} finds no key points", expected="--json with an annotator of poses")
    people = find_people(kind, image, size=size, mode=mode, **parameters)
    drawn = annotator.draw(people)
    with written_whole(keypoints) as temporary:
        temporary.write_text(json.dumps(to_openpose([people])), encoding="utf-8")
    return drawn


def list_annotators() -> None:
    """Print every annotator with its parameters, then the field's other names."""
    from hackamore.annotators.catalog import ALIASES, ANNOTATORS, annotator_class

    for name in ANNOTATORS:
        chosen = annotator_class(name)
        print(f"{name:17} {(chosen.__doc__ or '').splitlines()[0]}")
        for parameter, described in chosen.model_fields.items():
            default = "(required) " if described.is_required() else f"{described.default} "
            default = "" if described.default is None else default
            print(f"{'':17} --{parameter.replace('_', '-')} {default} {described.description or ''}")
    also = ", ".join(f"{alias} = {name}" for alias, name in ALIASES.items() if name in ANNOTATORS)
    print(f"other names: {also}")


def write_legend(name: str, kind: str | None, image: Path | None, out: Path | None, overwrite: bool) -> None:
    """Write a palette's legend: all of its classes, or those in a palette picture."""
    from hackamore.annotators.legend import legend
    from hackamore.core.image import load_picture, png
    from hackamore.core.palette import PALETTES

    if name not in PALETTES:
        raise unknown_name("palette", name, list(PALETTES))
    if out is None or (kind is not None and (kind != "seg" or image is None)):
        expected = "hackamore annotate [seg IMAGE] --legend PALETTE -o LEGEND.png"
        raise HackamoreError("the legend is not understood", expected=expected)
    (path,) = free_paths(out, 1, "", overwrite)
    classes = None if image is None else PALETTES[name].read(load_picture(image))
    drawn = legend(PALETTES[name], classes)
    with written_whole(path) as temporary:
        temporary.write_bytes(png(drawn))
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
