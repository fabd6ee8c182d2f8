"""Annotators by name, imported when asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from hackamore.annotators.annotator import Annotator
from hackamore.core.errors import HackamoreError, unknown_name
from hackamore.core.image import Picture, Size, load_picture, resize

ANNOTATORS: dict[str, str] = {
    "canny": "canny:Canny",
    "seg": "seg:Seg",
    "pose_json": "pose:PoseJson",
    "none": "plain:Plain",
    "invert": "plain:Invert",
}


def annotator_class(kind: str) -> type[Annotator]:
    """The annotator called ``kind``; an unknown one is an error that lists the near ones."""
    if kind not in ANNOTATORS:
        raise unknown_name("annotator", kind, list(ANNOTATORS))
    module, name = ANNOTATORS[kind].split(":")
    return cast(type[Annotator], getattr(import_module(f"hackamore.annotators.{module}"), name))


def make_annotator(kind: str, **parameters: Any) -> Annotator:
    """An annotator with checked parameters; a wrong one is an error that names it and what is allowed."""
    chosen = annotator_class(kind)
    try:
        return chosen(**parameters)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        known = ", ".join(chosen.model_fields) or "no parameters"
        raise HackamoreError(
            f"annotator {kind}: {name + ': ' if name else ''}{first['msg']}",
            received=first.get("input"),
            expected=f"parameters of {kind}: {known}",
        ) from error


def annotate(
    kind: str,
    picture: Path | str | bytes | Picture,
    *,
    size: Size | None = None,
    mode: str = "crop",
    **parameters: Any,
) -> Picture:
    """The hint of a picture, H×W×3 uint8, at ``size`` = (width, height) where given.

    Edge-like annotators work on the resized picture, so that their lines stay one pixel thin;
    categorical hints are resized to the nearest pixel.
    """
    annotator = make_annotator(kind, **parameters)
    loaded = load_picture(picture)
    if size is not None and annotator.sized:
        return annotator(resize(loaded, size, mode))
    hint = annotator(loaded)
    return hint if size is None else resize(hint, size, mode, categorical=annotator.categorical)
