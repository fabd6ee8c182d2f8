"""Annotators by name, imported when asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import ValidationError

from hackamore.annotators.annotator import Annotator
from hackamore.annotators.pose import PeopleAnnotator, fit_people, is_seen
from hackamore.core.errors import HackamoreError, unknown_name
from hackamore.core.image import Picture, Size, load_picture, resize
from hackamore.core.skeleton import People, read_people

ANNOTATORS: dict[str, str] = {
    "canny": "canny:Canny",
    "softedge": "softedge:SoftEdge",
    "scribble": "scribble:Scribble",
    "scribble_drawing": "scribble:ScribbleDrawing",
    "lineart": "lineart:LineArt",
    "mlsd": "mlsd:Mlsd",
    "seg": "seg:Seg",
    "inpaint": "inpaint:Inpaint",
    "normal_depth": "normal_depth:NormalDepth",
    "seg_ade20k": "semantic:SegAde20k",
    "seg_meadow": "semantic:SegMeadow",
    "depth": "depth:Depth",
    "depth_midas": "auxiliary:DepthMidas",
    "depth_leres": "auxiliary:DepthLeres",
    "depth_zoe": "auxiliary:DepthZoe",
    "normal": "normal:Normal",
    "normal_bae": "auxiliary:NormalBae",
    "softedge_hed": "hed:SoftEdgeHed",
    "softedge_pidi": "auxiliary:SoftEdgePidi",
    "softedge_teed": "auxiliary:SoftEdgeTeed",
    "scribble_hed": "hed:ScribbleHed",
    "scribble_pidi": "auxiliary:ScribblePidi",
    "lineart_real": "auxiliary:LineArtReal",
    "lineart_coarse": "auxiliary:LineArtCoarse",
    "lineart_anime": "auxiliary:LineArtAnime",
    "mlsd_network": "auxiliary:MlsdNetwork",
    "pose": "people:Pose",
    "pose_json": "pose:PoseJson",
    "shuffle": "shuffle:Shuffle",
    "tile": "tile:Tile",
    "blur": "tile:Blur",
    "color": "color:Color",
    "recolor": "color:Recolor",
    "threshold": "threshold:Threshold",
    "none": "plain:Plain",
    "invert": "plain:Invert",
}

ALIASES: dict[str, str] = {
    "lineart_standard": "lineart",
    "sketch": "scribble_drawing",
    "tile_resample": "tile",
    "blur_gaussian": "blur",
    "t2ia_color_grid": "color",
    "recolor_luminance": "recolor",
    "openpose": "pose",
}
"""The field's other names for the same thing."""

Source = Path | str | bytes | Picture | People


def annotator_class(kind: str) -> type[Annotator]:
    """The annotator called ``kind``; an unknown one is an error that lists the near ones."""
    name = ALIASES.get(kind, kind)
    if name not in ANNOTATORS:
        raise unknown_name("annotator", kind, list(ANNOTATORS))
    module, class_name = ANNOTATORS[name].split(":")
    return cast(type[Annotator], getattr(import_module(f"hackamore.annotators.{module}"), class_name))


def make_annotator(kind: str, **parameters: Any) -> Annotator:
    """An annotator with checked parameters; a wrong one is an error that names it and what is allowed."""
    chosen = annotator_class(kind)
    try:
        return chosen(**parameters)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise HackamoreError(
                f"annotator {kind} needs {name}", expected=chosen.model_fields[name].description or name
            ) from error
        known = ", ".join(chosen.model_fields) or "no parameters"
        raise HackamoreError(
            f"annotator {kind}: {name + ': ' if name else ''}{first['msg'].removeprefix('Value error, ')}",
            received=first.get("input"),
            expected=f"parameters of {kind}: {known}",
        ) from error


def kind_for(kind: str, source: Source) -> str:
    """The annotator that ``kind`` means for a source: a pose is drawn from key points where these are given."""
    told = isinstance(source, People) or (isinstance(source, (str, Path)) and str(source).lower().endswith(".json"))
    return "pose_json" if told and ALIASES.get(kind, kind) == "pose" else kind


def load_source(kind: str, source: Source) -> Picture | People:
    """Read what the annotator ``kind`` reads: a picture, or people from an OpenPose JSON file (its first picture).

    Raises :class:`HackamoreError` for what cannot be read, so that a command fails before slow work begins.
    """
    if isinstance(source, People):
        return source
    if kind_for(kind, source) != "pose_json" or isinstance(source, (bytes, np.ndarray)):
        return load_picture(source)
    pictures = read_people(source)
    if not pictures or not pictures[0].people:
        raise HackamoreError(f"{source} holds no people", expected="at least one person with key points")
    return pictures[0]


def annotate(kind: str, source: Source, *, size: Size | None = None, mode: str = "crop", **parameters: Any) -> Picture:
    """The hint of a picture, H×W×3 uint8, at ``size`` = (width, height) where given.

    Edge-like annotators work on the resized picture, so that their lines stay one pixel thin; categorical hints are
    resized to the nearest pixel; poses are drawn at the final size. A pose may be given as an OpenPose JSON file.
    An annotator that finds nothing is an error: no hint is blank in silence.
    """
    kind = kind_for(kind, source)
    annotator = make_annotator(kind, **parameters)
    loaded = load_source(kind, source)
    if isinstance(annotator, PeopleAnnotator):
        return annotator.draw(_people(annotator, loaded, size, mode))
    if isinstance(loaded, People):
        raise HackamoreError(f"{kind} reads a picture, not key points", remedy="annotator pose_json")
    if size is not None and annotator.sized:
        hint = annotator(resize(loaded, size, mode))
    else:
        hint = annotator(loaded)
        hint = hint if size is None else resize(hint, size, mode, categorical=annotator.categorical)
    if annotator.seeks is not None and hint.min() == hint.max():
        found, remedy = annotator.seeks
        raise _nothing(kind, found, loaded, remedy)
    return hint


def find_people(
    kind: str, source: Source, *, size: Size | None = None, mode: str = "crop", **parameters: Any
) -> People:
    """The people that a pose annotator draws, in the pixels of a hint of ``size``; nobody is an error."""
    kind = kind_for(kind, source)
    annotator = make_annotator(kind, **parameters)
    if not isinstance(annotator, PeopleAnnotator):
        raise HackamoreError(f"annotator {kind} finds no people", expected="an annotator of poses, such as pose_json")
    return _people(annotator, load_source(kind, source), size, mode)


def _people(annotator: PeopleAnnotator, loaded: Picture | People, size: Size | None, mode: str) -> People:
    people = loaded if isinstance(loaded, People) else annotator.find(loaded)
    people = people if size is None else fit_people(people, size, mode)
    if not any(is_seen(person, people.size) for person in people.people):
        found, remedy = annotator.seeks or ("people", None)
        raise _nothing(annotator.kind, f"{found} with a visible joint", loaded, remedy)
    return people


def _nothing(kind: str, found: str, loaded: Picture | People, remedy: str | None) -> HackamoreError:
    if isinstance(loaded, People):
        received = f"{len(loaded.people)} people on a canvas of {loaded.size[0]}×{loaded.size[1]}"
    elif (loaded == loaded[0, 0]).all():
        received = "a picture of one colour, #" + "".join(f"{int(c):02x}" for c in loaded[0, 0])
    else:
        received = f"a picture of {loaded.shape[1]}×{loaded.shape[0]}"
    where = "key points" if isinstance(loaded, People) else "picture"
    return HackamoreError(f"{kind} finds no {found} in the {where}", received=received, remedy=remedy)
