"""From what a user gives to the very hint a control receives: annotated or as it is, resized, the right way round."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from hackamore.annotators.catalog import (
    ALIASES,
    ANNOTATORS,
    Source,
    annotate,
    annotator_class,
    find_people,
    kind_for,
    load_source,
    make_annotator,
)
from hackamore.annotators.pose import PeopleAnnotator
from hackamore.annotators.recognise import THIN, family, recognise
from hackamore.annotators.thinning import thin
from hackamore.core.image import Picture, Size, resize
from hackamore.core.skeleton import People

Given = Literal[False, True, "exact"]


@dataclass(frozen=True)
class Hinted:
    """A hint H×W×3 uint8, and in words what was done to it beyond what was asked.

    ``people``: whom a pose shows, in the hint's pixels, where they are known and not only drawn.
    """

    picture: Picture
    notices: tuple[str, ...] = ()
    people: People | None = None


def hint_for(
    kind: str,
    source: Source,
    *,
    size: Size | None = None,
    mode: str = "crop",
    given: Given = False,
    **parameters: Any,
) -> Hinted:
    """The hint of ``kind`` that ``source`` gives, at ``size`` = (width, height).

    ``given`` False: the source is annotated, unless it can hardly be anything but a hint of this kind already.
    True: it is a hint; black lines on white and red and blue exchanged are put right, and what does not look like such
    a hint at all is annotated, each with a notice. ``"exact"``: it is taken as it is, resized only.
    """
    kind = ALIASES.get(kind, kind)
    loaded = load_source(kind, source)
    if isinstance(loaded, People):
        return _made(kind, loaded, size, mode, (), parameters)
    if given == "exact":
        return Hinted(fit_hint(loaded, kind, size, mode))
    seen = recognise(loaded, kind)
    if given and seen.is_hint:
        return Hinted(fit_hint(seen.picture, kind, size, mode), seen.notices)
    if not given and seen.is_hint and seen.certain and not parameters and kind not in ("seg", "scribble_drawing"):
        already = f"the picture is a {kind} hint already and was taken as one"
        return Hinted(fit_hint(seen.picture, kind, size, mode), (already, *seen.notices))
    # a painted segmentation is its own annotation, in the colour order that its colours tell
    picture, notices = (seen.picture, seen.notices) if kind == "seg" else (loaded, ())
    if kind == "depth" and seen.is_hint:
        notices = ("the picture looks like a depth map; hint=true takes it as one",)
    if given:
        notices = (f"the picture does not look like a {kind} hint; it was annotated (hint=exact takes it as it is)",)
    return _made(kind, picture, size, mode, notices, parameters)


def _made(
    kind: str,
    source: Picture | People,
    size: Size | None,
    mode: str,
    notices: tuple[str, ...],
    parameters: dict[str, Any],
) -> Hinted:
    """The source annotated; of a pose the people are kept beside their drawing."""
    if kind in ANNOTATORS and issubclass(annotator_class(kind_for(kind, source)), PeopleAnnotator):
        people = find_people(kind, source, size=size, mode=mode, **parameters)
        annotator = make_annotator(kind_for(kind, source), **parameters)
        assert isinstance(annotator, PeopleAnnotator)
        return Hinted(annotator.draw(people), notices, people)
    return Hinted(annotate(kind, source, size=size, mode=mode, **parameters), notices)


def fit_hint(hint: Picture, kind: str, size: Size | None, mode: str = "crop") -> Picture:
    """A finished hint at ``size``: classes by the nearest pixel, thin lines kept thin and whole, others by area."""
    if size is None or (hint.shape[1], hint.shape[0]) == size:
        return hint
    categorical = kind in ANNOTATORS and annotator_class(kind).categorical
    alike = family(ALIASES.get(kind, kind))
    if alike not in THIN:
        return resize(hint, size, mode, categorical=categorical)
    factors = hint.shape[1] / size[0], hint.shape[0] / size[1]
    shrink = {"crop": min(factors), "fill": max(factors)}.get(mode, (factors[0] * factors[1]) ** 0.5)
    if shrink <= 1:
        return np.where(resize(hint, size, mode) > 127, np.uint8(255), np.uint8(0))
    side = math.ceil(shrink)
    whole = resize(np.asarray(cv2.dilate(hint, np.ones((side, side), np.uint8)), np.uint8), size, mode)
    lines = whole.max(axis=2) > 127
    if alike in ("canny", "mlsd"):
        lines = thin(lines)
    return np.repeat(np.where(lines, np.uint8(255), np.uint8(0))[..., None], 3, axis=2)
