"""From ``--control`` to units: pictures and folders of the user's own machine, and the controls they are bound to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hackamore.cli.batch import each_of
from hackamore.cli.show import note
from hackamore.controls.spec import ControlSpec
from hackamore.core.errors import HackamoreError

Size = tuple[int, int]


class Units:
    """The controls of one command: their pictures read first, each file loaded once, hints made at any size."""

    def __init__(self, specs: Sequence[ControlSpec], base: str) -> None:
        from hackamore.generate.asked import check_settings

        self.specs, self.base = [_opened(spec) for spec in specs], base
        for spec in self.specs:
            check_settings(spec)
        self.readers = [[read_hint(replace(spec, image=image), base) for image in spec.image] for spec in self.specs]
        self.controls: list[Any] = []
        self._made: dict[Size, tuple[list[Any], list[list[Any]]]] = {}

    def load(self, loaded: Any) -> None:
        """Load the controls for a base, each file once, and check what they are told beyond the annotators' own."""
        from hackamore.controls.catalog import load_control
        from hackamore.generate.asked import check_kind, check_options, plain_kind

        known: dict[str, Any] = {}
        for spec in self.specs:
            name = control_name(spec, self.base)
            if name not in known:
                known[name] = load_control(name, loaded)
            control = known[name]
            check_options(spec, control)
            if (notice := check_kind(spec, control)) is not None:
                note(f"notice: {notice}")
            if "type" not in getattr(control, "options", ()):  # a union's hints are of many kinds
                control.condition = control.condition or plain_kind(spec.kind)  # published files do not tell
            self.controls.append(control)

    def at(self, size: Size) -> list[Any]:
        """The units of a picture of ``size``, made once."""
        return self._at(size)[0]

    def hinted(self, size: Size) -> list[list[Any]]:
        """For each control what its hints are, with their notices."""
        return self._at(size)[1]

    def _at(self, size: Size) -> tuple[list[Any], list[list[Any]]]:
        from hackamore.generate.asked import hinted, make_unit

        if size not in self._made:
            hints = [
                hinted(readers, control, size) for control, readers in zip(self.controls, self.readers, strict=True)
            ]
            units = [
                make_unit(spec, [one.picture for one in hints_of], control, size)
                for spec, hints_of, control in zip(self.specs, hints, self.controls, strict=True)
            ]
            self._made[size] = units, hints
        return self._made[size]


def read_hint(spec: ControlSpec, base: str) -> Callable[[Size | None], Any]:
    """Read and check a control's picture and parameters before anything slow happens: a function size → Hinted.

    Without a size the hint is of the picture's own.
    """
    from hackamore.annotators.catalog import annotator_class
    from hackamore.controls.catalog import ALONE, own_controls
    from hackamore.generate.asked import reader, taken_as_it_is

    if base != "meadow" and "model" not in spec.unit and spec.kind not in ALONE:
        raise HackamoreError(
            f"the control {spec.kind} names no model, and {base} has none of its own",
            remedy=f"--control {spec.kind}={spec.image},model=FILE",
        )
    own = {*own_controls("meadow"), *ALONE}
    if base == "meadow" and "model" not in spec.unit and spec.kind not in own:
        if not taken_as_it_is(spec):
            annotator_class(spec.kind)
        raise HackamoreError(
            f"Meadow has no control {spec.kind} of its own",
            expected=", ".join(sorted(own)),
            remedy=f"--control {spec.kind}={spec.image},model=FILE",
        )
    return reader(spec, spec.image)


def annotator_parameters(spec: ControlSpec) -> dict[str, Any]:
    """Those of a control's keys that its annotator knows; what remains may be the control's own."""
    from hackamore.generate.asked import annotator_parameters as known

    return known(spec)


def control_name(spec: ControlSpec, base: str) -> str:
    """What the control of a spec is loaded by."""
    from hackamore.controls.catalog import ALONE, own_controls

    if "model" in spec.unit:
        return str(spec.unit["model"])
    return spec.kind if spec.kind in ALONE else own_controls(base).get(spec.kind, f"{base}/{spec.kind}")


def _opened(spec: ControlSpec) -> ControlSpec:
    """The spec with folders as lists of their files, and options of the control's own that name files as paths."""
    from hackamore.core.image import exists
    from hackamore.generate.asked import own_options

    unit, parameters = dict(spec.unit), dict(spec.parameters)
    if spec.kind != "inpaint":
        if "mask" in unit:
            unit["mask"] = each_of(Path(unit["mask"]))
        if "hidden" in parameters:
            parameters["hidden"] = each_of(Path(parameters["hidden"]))
    for name, value in own_options(spec).items():
        if name != "hidden" and isinstance(value, str) and exists(Path(value)):
            parameters[name] = Path(value)  # so that the Recipe holds its name alone
    return replace(spec, image=each_of(spec.image), unit=unit, parameters=parameters)
