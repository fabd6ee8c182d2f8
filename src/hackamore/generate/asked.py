"""From a control as it is asked for to its unit: what the pictures are read as, and the control they are bound to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hackamore.annotators.catalog import (
    ALIASES,
    ANNOTATORS,
    annotator_class,
    kind_for,
    load_source,
    make_annotator,
)
from hackamore.annotators.hinting import Hinted, fit_hint, hint_for
from hackamore.annotators.inpaint import Inpaint
from hackamore.annotators.recognise import family
from hackamore.controls.modes import check_mode
from hackamore.controls.place import is_spatial
from hackamore.controls.schedule import parse_schedule, window
from hackamore.controls.spec import ControlSpec
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size, check_resize, load_picture, to_hint

AS_IT_IS = ("ip-adapter", "ip2p", "reference")
"""Kinds that no annotator makes: the picture itself is the hint."""
TOLD = ("scale", "start", "end", "schedule", "mode", "weights", "prompt", "type")
"""Keys of a control that its unit is told as they are."""


def each(value: Any) -> list[Any]:
    """The pictures of a list, or the one that serves all."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def reader(spec: ControlSpec, image: Any) -> Callable[[Size | None], Hinted]:
    """Read and check a picture and its annotator's parameters before anything slow happens: a function size → Hinted.

    Without a size the hint is of the picture's own.
    """
    mode = spec.unit.get("resize", "crop")
    if taken_as_it_is(spec):
        picture = load_picture(image)
        return lambda size: Hinted(fit_hint(picture, spec.kind, size, mode))
    given = spec.unit.get("hint", False)
    source = load_source(spec.kind, image)
    parameters = annotator_parameters(spec)
    make_annotator("none" if given else kind_for(spec.kind, image), **parameters)
    return lambda size: hint_for(spec.kind, source, size=size, mode=mode, given=given, **parameters)


def hinted(readers: Sequence[Callable[[Size | None], Hinted]], control: Any, size: Size) -> list[Hinted]:
    """The hints of a picture of ``size``; one that does not say where things are keeps its own size."""
    own = not is_spatial(control) and len(readers) == 1
    return [read(None if own else size) for read in readers]


def taken_as_it_is(spec: ControlSpec) -> bool:
    """Whether no annotator has a say: the picture itself is the hint, or the hint of a condition of the user's own."""
    known = spec.kind in ANNOTATORS or spec.kind in ALIASES
    return spec.kind in AS_IT_IS or (not known and "model" in spec.unit and bool(spec.unit.get("hint", False)))


def check_settings(spec: ControlSpec) -> None:
    """Raise for what a unit is told that can be seen to be wrong before anything is loaded."""
    told = spec.unit
    window(**{name: told[name] for name in ("scale", "start", "end") if name in told})
    if "schedule" in told:
        parse_schedule(told["schedule"])
    check_mode(told.get("mode", "balanced"))
    check_resize(told.get("resize", "crop"))
    for mask in each(told["mask"]) if "mask" in told else ():
        load_picture(mask)
    if "weights" in own_options(spec):
        expected = "numbers with slashes between, such as 1/0.8/0.5"
        raise HackamoreError(
            "the layer weights are not numbers", received=spec.parameters["weights"], expected=expected
        )


def annotator_parameters(spec: ControlSpec) -> dict[str, Any]:
    """Those of a control's keys that its annotator knows; what remains may be the control's own."""
    if taken_as_it_is(spec):
        return {}
    known = annotator_class(kind_for(spec.kind, each(spec.image)[0])).model_fields
    parameters = {name: value for name, value in spec.parameters.items() if name in known}
    hidden = spec.unit.get("mask", spec.parameters.get("hidden"))
    if spec.kind == "inpaint" and hidden is not None:
        parameters["mask"] = hidden  # of the picture: what is hidden, not where the control acts
    return parameters


def own_options(spec: ControlSpec) -> dict[str, Any]:
    """Those of a control's keys that its annotator does not know."""
    known = annotator_parameters(spec)
    return {name: value for name, value in spec.parameters.items() if name not in known}


def make_unit(spec: ControlSpec, hints: Sequence[Picture], control: Any, size: Size) -> Unit:
    """The unit that a control spec describes, with a hint for each picture or one for all."""
    settings: dict[str, Any] = {key: spec.unit[key] for key in TOLD if key in spec.unit}
    settings |= {name: value for name, value in own_options(spec).items() if name != "hidden"}
    known = getattr(control, "options", ())
    if "type" in known:
        settings.setdefault("type", spec.kind)
    mode = spec.unit.get("resize", "crop")
    if spec.kind == "inpaint":
        if "hidden" in known:
            settings["hidden"] = to_hint([_hidden(spec, image, size, mode) for image in each(spec.image)])[:, :1]
    elif "hidden" in spec.parameters:
        hidden = [load_picture(mask, size=size, mode=mode) for mask in each(spec.parameters["hidden"])]
        settings["hidden"] = to_hint(hidden).amax(1, keepdim=True)
    if "mask" in spec.unit and spec.kind != "inpaint":
        masks = [load_picture(mask, size=size, mode=mode) for mask in each(spec.unit["mask"])]
        settings["mask"] = to_hint(masks).mean(1, keepdim=True)
    unit: Unit = control.unit(to_hint(list(hints)), **settings)
    return unit


def check_options(spec: ControlSpec, control: Any) -> None:
    """Raise for a key that neither the annotator nor the control knows."""
    known = getattr(control, "options", ())
    for name in own_options(spec):
        if name not in known:
            raise HackamoreError(
                f"the control {spec.kind} does not know {name!r}",
                received=f"{name}={spec.parameters[name]}",
                expected=f"{_annotator_words(spec)}options of {control.name}: {', '.join(known) or 'none'}",
            )


def check_kind(spec: ControlSpec, control: Any) -> str | None:
    """Raise where the picture is read as one thing and the control takes another; a notice where its file tells so."""
    whole = not is_spatial(control)  # takes the picture itself
    if spec.kind not in AS_IT_IS if whole else spec.kind in ("ip-adapter", "reference"):
        raise HackamoreError(
            f"the control {control.name} does not take {spec.kind}",
            received=spec.kind,
            expected="ip-adapter or reference" if whole else "the kind of hint that it was trained on",
        )
    own = control.condition
    alike = whole or not own or family(own) == family(plain_kind(spec.kind))
    if not alike and "type" not in getattr(control, "options", ()):
        return f"the control {control.name} was trained on {own}, and is given {spec.kind}"
    return None


def plain_kind(kind: str) -> str:
    """The kind by the name that the catalogue has for it."""
    return ALIASES.get(kind, kind)


def _annotator_words(spec: ControlSpec) -> str:
    if taken_as_it_is(spec):
        return ""
    fields = annotator_class(kind_for(spec.kind, each(spec.image)[0])).model_fields
    return f"parameters of {spec.kind}: {', '.join(fields) or 'none'}; "


def _hidden(spec: ControlSpec, image: Any, size: Size, mode: str) -> Picture:
    """What an inpainting control is told to be hidden, cut like its hint."""
    picture = load_picture(image)
    mask = Inpaint(**annotator_parameters(spec)).mask_for(size, mode, (picture.shape[1], picture.shape[0]))
    return mask[..., None].repeat(3, axis=2)
