"""From ``--control`` to units: what the pictures are read as, and the controls they are bound to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hackamore.cli.batch import each_of
from hackamore.cli.options import ControlSpec
from hackamore.cli.show import note
from hackamore.core.errors import HackamoreError

AS_IT_IS = ("ip-adapter", "ip2p", "reference")
"""Kinds that no annotator makes: the picture itself is the hint."""
TOLD = ("scale", "start", "end", "schedule", "mode", "weights", "prompt", "type")
"""Keys of a control that its unit is told as they are."""

Size = tuple[int, int]


class Units:
    """The controls of one command: their pictures read first, each file loaded once, hints made at any size."""

    def __init__(self, specs: Sequence[ControlSpec], base: str) -> None:
        self.specs, self.base = list(specs), base
        for spec in specs:
            check_settings(spec)
        self.readers = [
            [read_hint(replace(spec, image=image), base) for image in each_of(spec.image)] for spec in specs
        ]
        self.controls: list[Any] = []
        self._made: dict[Size, tuple[list[Any], list[list[Any]]]] = {}

    def load(self, loaded: Any) -> None:
        """Load the controls for a base, each file once, and check what they are told beyond the annotators' own."""
        from hackamore.controls.catalog import load_control

        known: dict[str, Any] = {}
        for spec in self.specs:
            name = control_name(spec, self.base)
            if name not in known:
                known[name] = load_control(name, loaded)
            control = known[name]
            _check_options(spec, control)
            _check_kind(spec, control)
            if "type" not in getattr(control, "options", ()):  # a union's hints are of many kinds
                control.condition = control.condition or _kind(spec.kind)  # published files do not tell
            self.controls.append(control)

    def at(self, size: Size) -> list[Any]:
        """The units of a picture of ``size``, made once."""
        return self._at(size)[0]

    def hinted(self, size: Size) -> list[list[Any]]:
        """For each control what its hints are, with their notices."""
        return self._at(size)[1]

    def _at(self, size: Size) -> tuple[list[Any], list[list[Any]]]:
        if size not in self._made:
            hinted = [
                [read(size if getattr(control, "spatial", True) or len(readers) > 1 else None) for read in readers]
                for control, readers in zip(self.controls, self.readers, strict=True)
            ]
            units = [
                make_unit(spec, [one.picture for one in hints], control, size)
                for spec, hints, control in zip(self.specs, hinted, self.controls, strict=True)
            ]
            self._made[size] = units, hinted
        return self._made[size]


def read_hint(spec: ControlSpec, base: str) -> Callable[[Size | None], Any]:
    """Read and check a control's picture and parameters before anything slow happens: a function size → Hinted.

    Without a size the hint is of the picture's own.
    """
    from hackamore.annotators.catalog import annotator_class, kind_for, load_source, make_annotator
    from hackamore.annotators.hinting import Hinted, fit_hint, hint_for
    from hackamore.controls.catalog import ALONE, embedded
    from hackamore.core.image import load_picture

    given = spec.unit.get("hint", False)
    if base != "meadow" and "model" not in spec.unit and spec.kind not in ALONE:
        raise HackamoreError(
            f"the control {spec.kind} names no model, and {base} has none of its own",
            remedy=f"--control {spec.kind}={spec.image},model=FILE",
        )
    own = {*embedded(), *(f"meadow/{kind}" for kind in ALONE)}
    if base == "meadow" and "model" not in spec.unit and f"meadow/{spec.kind}" not in own:
        if not taken_as_it_is(spec):
            annotator_class(spec.kind)
        raise HackamoreError(
            f"Meadow has no control {spec.kind} of its own",
            expected=", ".join(sorted(name.partition("/")[2] for name in own)),
            remedy=f"--control {spec.kind}={spec.image},model=FILE",
        )
    mode = spec.unit.get("resize", "crop")
    if taken_as_it_is(spec):
        picture = load_picture(spec.image)
        return lambda size: Hinted(fit_hint(picture, spec.kind, size, mode))
    source = load_source(spec.kind, spec.image)
    parameters = annotator_parameters(spec)
    make_annotator("none" if given else kind_for(spec.kind, spec.image), **parameters)

    def at(size: Size | None) -> Any:
        return hint_for(spec.kind, source, size=size, mode=mode, given=given, **parameters)

    return at


def taken_as_it_is(spec: ControlSpec) -> bool:
    """Whether no annotator has a say: the picture itself is the hint, or the hint of a condition of the user's own."""
    from hackamore.annotators.catalog import ALIASES, ANNOTATORS

    known = spec.kind in ANNOTATORS or spec.kind in ALIASES
    return spec.kind in AS_IT_IS or (not known and "model" in spec.unit and bool(spec.unit.get("hint", False)))


def check_settings(spec: ControlSpec) -> None:
    """Raise for what a unit is told that can be seen to be wrong before anything is loaded."""
    from hackamore.controls.modes import check_mode
    from hackamore.controls.schedule import parse_schedule, window
    from hackamore.core.image import check_resize, load_picture

    told = spec.unit
    window(**{name: told[name] for name in ("scale", "start", "end") if name in told})
    if "schedule" in told:
        parse_schedule(told["schedule"])
    check_mode(told.get("mode", "balanced"))
    check_resize(told.get("resize", "crop"))
    for mask in each_of(Path(told["mask"])) if "mask" in told else ():
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
    from hackamore.annotators.catalog import annotator_class, kind_for

    known = annotator_class(kind_for(spec.kind, spec.image)).model_fields
    parameters = {name: value for name, value in spec.parameters.items() if name in known}
    hidden = spec.unit.get("mask", spec.parameters.get("hidden"))
    if spec.kind == "inpaint" and hidden is not None:
        parameters["mask"] = hidden  # of the picture: what is hidden, not where the control acts
    return parameters


def control_name(spec: ControlSpec, base: str) -> str:
    """What the control of a spec is loaded by."""
    from hackamore.controls.catalog import ALONE

    if "model" in spec.unit:
        return str(spec.unit["model"])
    return spec.kind if spec.kind in ALONE else f"{base}/{spec.kind}"


def make_unit(spec: ControlSpec, hints: Sequence[Any], control: Any, size: Size) -> Any:
    """The unit that a control spec describes, with a hint for each picture or one for all."""
    from hackamore.core.image import load_picture, to_hint

    settings: dict[str, Any] = {key: spec.unit[key] for key in TOLD if key in spec.unit}
    settings |= {name: _file_or(value) for name, value in own_options(spec).items() if name != "hidden"}
    known = getattr(control, "options", ())
    if "type" in known:
        settings.setdefault("type", spec.kind)
    mode = spec.unit.get("resize", "crop")
    if spec.kind == "inpaint":
        if "hidden" in known:
            settings["hidden"] = to_hint([_hidden(spec, image, size, mode) for image in each_of(spec.image)])[:, :1]
    elif "hidden" in spec.parameters:
        hidden = [load_picture(mask, size=size, mode=mode) for mask in each_of(Path(spec.parameters["hidden"]))]
        settings["hidden"] = to_hint(hidden).amax(1, keepdim=True)
    if "mask" in spec.unit and spec.kind != "inpaint":
        masks = [load_picture(mask, size=size, mode=mode) for mask in each_of(Path(spec.unit["mask"]))]
        settings["mask"] = to_hint(masks).mean(1, keepdim=True)
    return control.unit(to_hint(list(hints)), **settings)


def own_options(spec: ControlSpec) -> dict[str, Any]:
    """Those of a control's keys that its annotator does not know."""
    known = annotator_parameters(spec)
    return {name: value for name, value in spec.parameters.items() if name not in known}


def _check_options(spec: ControlSpec, control: Any) -> None:
    """Raise for a key that neither the annotator nor the control knows."""
    known = getattr(control, "options", ())
    for name in own_options(spec):
        if name not in known:
            raise HackamoreError(
                f"the control {spec.kind} does not know {name!r}",
                received=f"{name}={spec.parameters[name]}",
                expected=f"{_annotator_words(spec)}options of {control.name}: {', '.join(known) or 'none'}",
            )


def _check_kind(spec: ControlSpec, control: Any) -> None:
    """Raise where the picture is read as one thing and the control takes another; say where its file tells so."""
    whole = not getattr(control, "spatial", True)  # takes the picture itself
    if spec.kind not in AS_IT_IS if whole else spec.kind in ("ip-adapter", "reference"):
        expected = "ip-adapter=IMAGE or reference=IMAGE" if whole else "the kind of hint that it was trained on"
        raise HackamoreError(
            f"the control {control.name} does not take {spec.kind}", received=str(spec.image), expected=expected
        )
    own = control.condition
    if own and "type" not in getattr(control, "options", ()) and not whole and own != _kind(spec.kind):
        note(f"notice: the control {control.name} was trained on {own}, and is given {spec.kind}")


def _annotator_words(spec: ControlSpec) -> str:
    from hackamore.annotators.catalog import annotator_class, kind_for

    if taken_as_it_is(spec):
        return ""
    fields = annotator_class(kind_for(spec.kind, spec.image)).model_fields
    return f"parameters of {spec.kind}: {', '.join(fields) or 'none'}; "


def _hidden(spec: ControlSpec, image: Path, size: Size, mode: str) -> Any:
    """What an inpainting control is told to be hidden, cut like its hint."""
    from hackamore.annotators.inpaint import Inpaint
    from hackamore.core.image import load_picture

    picture = load_picture(image)
    mask: Any = Inpaint(**annotator_parameters(spec)).mask_for(size, mode, (picture.shape[1], picture.shape[0]))
    return mask[..., None].repeat(3, axis=2)


def _kind(kind: str) -> str:
    from hackamore.annotators.catalog import ALIASES

    return ALIASES.get(kind, kind)


def _file_or(value: Any) -> Any:
    """An option that names a folder or file, as its path, so that the Recipe holds its name alone."""
    from hackamore.core.image import exists

    return Path(value) if isinstance(value, str) and exists(Path(value)) else value
