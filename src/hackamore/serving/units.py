"""From what a client asks of a control to its unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hackamore.annotators.catalog import kind_for
from hackamore.annotators.hinting import Hinted
from hackamore.annotators.recognise import family
from hackamore.controls.place import is_spatial, kind_of
from hackamore.controls.schedule import parse_schedule, window
from hackamore.controls.spec import ControlSpec
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError
from hackamore.core.image import LEAST_SIDE, Size, resize
from hackamore.core.skeleton import People
from hackamore.generate.asked import (
    annotator_parameters,
    check_kind,
    check_options,
    check_settings,
    hinted,
    make_unit,
    plain_kind,
    reader,
    taken_as_it_is,
)
from hackamore.serving.parameters import check_parameters, check_usable
from hackamore.serving.pictures import read_people, read_picture
from hackamore.serving.request import UnitRequest
from hackamore.serving.settings import Limits

if TYPE_CHECKING:
    from hackamore.serving.offers import Catalogue, Known


@dataclass(frozen=True)
class Ready:
    """A unit that can be sampled with, what it was made from, and the name by which clients know its control."""

    unit: Unit
    name: str
    hinted: Hinted
    parameters: Mapping[str, Any]
    notices: tuple[str, ...]


def spec_of(told: UnitRequest, limits: Limits) -> ControlSpec:
    """The control as it is asked for, its pictures decoded; raises :class:`HackamoreError` for what is wrong with it.

    Nothing is loaded.
    """
    if (told.image is None) == (told.people is None):
        received = "neither" if told.image is None else "both"
        raise HackamoreError(
            f"the unit {told.kind} needs a picture or people", received=received, expected="one of both"
        )
    unit = {
        name: value
        for name in ("scale", "start", "end", "schedule", "weights", "prompt", "type", "model")
        if (value := getattr(told, name)) is not None
    }
    unit |= {"mode": told.mode, "resize": told.resize, "hint": told.hint}
    if told.mask is not None:
        unit["mask"] = read_picture(told.mask, limits.source_pixels, f"the mask of {told.kind}")
    image: Any
    if told.people is not None:
        image = read_people(told.people)
    else:
        image = read_picture(str(told.image), limits.source_pixels, f"the picture of {told.kind}")
    spec = ControlSpec(told.kind, image, unit, dict(told.parameters))
    _check(spec)
    return spec


def known_control(told: UnitRequest, base: str, known: Catalogue) -> Known:
    """The control on offer that a unit means: the one it names, else the base's own of its kind."""
    if told.model is not None:
        return known.control(told.model, base)
    kind = plain_kind(told.kind)
    kinds = {one.kind for one in known.of_base(base)}
    return known.of_kind(kind if kind in kinds else family(kind), base)


def check_heard(told: UnitRequest, steps: int) -> None:
    """Raise :class:`HackamoreError` for a unit that says nothing at any of ``steps`` steps: none is without effect."""
    given = {name: value for name in ("scale", "start", "end") if (value := getattr(told, name)) is not None}
    if told.schedule is not None and given:
        raise HackamoreError(
            f"the unit {told.kind} has a schedule and {', '.join(given)}",
            expected="a schedule, or scale, start and end",
        )
    strength = window(**given) if told.schedule is None else parse_schedule(told.schedule)
    if not any(strength.at(index, steps) for index in range(steps)):
        words = [f"{name} {value:g}" for name, value in given.items()]
        raise HackamoreError(
            f"the unit {told.kind} is silent at all of the {steps} steps",
            received=told.schedule or ", ".join(words),
            expected="a scale above 0 in a window that holds a step",
            remedy="leave the unit out, or more steps",
        )


def ready_unit(told: UnitRequest, spec: ControlSpec, control: Any, name: str, size: Size, limits: Limits) -> Ready:
    """The unit of a picture of ``size``, its hint made; raises :class:`HackamoreError` where it cannot be applied."""
    check_options(spec, control)
    notices = [] if (notice := check_kind(spec, control)) is None else [notice]
    if not is_spatial(control):
        spec, scaled = _bounded(spec, limits.pixels)
        notices += scaled
    (made,) = hinted([reader(spec, spec.image)], control, size)
    unit = make_unit(spec, [made.picture], control, size)
    judged = annotator_parameters(spec) if kind_of(unit) == spec.kind and not told.hint else {}
    return Ready(unit, name, made, judged, (*made.notices, *notices))


def _check(spec: ControlSpec) -> None:
    """Raise for what can be seen to be wrong before a control is loaded."""
    if isinstance(spec.image, People) and plain_kind(spec.kind) not in ("pose", "pose_json"):
        raise HackamoreError(f"{spec.kind} reads a picture, not key points", expected="image instead of people")
    if taken_as_it_is(spec):
        check_parameters(spec.kind, spec.parameters, options=True)
        return
    kind = kind_for(spec.kind, spec.image)
    check_parameters(kind, spec.parameters, options=True)
    if spec.kind == "inpaint" and "mask" not in spec.unit:
        raise HackamoreError("inpaint needs a mask", expected="mask, white where the picture is painted anew")
    check_usable(kind, bool(spec.unit["hint"]))
    check_settings(spec)
    reader(spec, spec.image)


def _bounded(spec: ControlSpec, pixels: int) -> tuple[ControlSpec, list[str]]:
    """The spec of a control that takes the picture as it is, no larger than so many pixels: the Recipe holds it."""
    height, width = spec.image.shape[:2]
    if height * width <= pixels:
        return spec, []
    factor = math.sqrt(pixels / (height * width))
    size = max(LEAST_SIDE, int(width * factor)), max(LEAST_SIDE, int(height * factor))
    notice = f"the picture of {spec.kind} was scaled to {size[0]}×{size[1]}"
    return replace(spec, image=resize(spec.image, size, "stretch")), [notice]
