"""From ``--control`` to units: what the picture is read as, and the control it is bound to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hackamore.cli.options import ControlSpec
from hackamore.core.errors import HackamoreError


def read_hint(spec: ControlSpec, base: str) -> Callable[[tuple[int, int]], Any]:
    """Read and check a control's picture and parameters before anything slow happens: a function size → Hinted."""
    from hackamore.annotators.catalog import annotator_class, kind_for, load_source, make_annotator
    from hackamore.annotators.hinting import hint_for
    from hackamore.controls.catalog import embedded

    given = spec.unit.get("hint", False)
    if base != "meadow" and "model" not in spec.unit:
        raise HackamoreError(
            f"the control {spec.kind} names no model, and {base} has none of its own",
            remedy=f"--control {spec.kind}={spec.image},model=FOLDER",
        )
    parameters = dict(spec.parameters)
    if spec.kind == "inpaint" and "mask" in spec.unit:
        parameters["mask"] = spec.unit["mask"]  # of the picture: what is hidden, not where the control acts
    if base == "meadow" and "model" not in spec.unit and f"meadow/{spec.kind}" not in embedded():
        annotator_class(spec.kind)
        own = ", ".join(name.partition("/")[2] for name in embedded())
        raise HackamoreError(
            f"Meadow has no control {spec.kind} of its own",
            expected=own,
            remedy=f"--control {spec.kind}={spec.image},model=FOLDER",
        )
    if given:
        make_annotator("none", **spec.parameters)
    else:
        make_annotator(kind_for(spec.kind, spec.image), **parameters)
    source, mode = load_source(spec.kind, spec.image), spec.unit.get("resize", "crop")

    def at(size: tuple[int, int]) -> Any:
        return hint_for(spec.kind, source, size=size, mode=mode, given=given, **parameters)

    return at


def make_unit(spec: ControlSpec, hint: Any, base: str, loaded: Any) -> Any:
    """The unit that a control spec describes."""
    from hackamore.annotators.catalog import ALIASES
    from hackamore.controls.catalog import load_control
    from hackamore.core.image import load_picture

    name = spec.unit.get("model") or f"{base}/{spec.kind}"
    settings: dict[str, Any] = {
        key: spec.unit[key] for key in ("scale", "start", "end", "schedule") if key in spec.unit
    }
    if "mask" in spec.unit and spec.kind != "inpaint":
        size = (hint.shape[1], hint.shape[0])
        settings["mask"] = load_picture(spec.unit["mask"], size=size, mode=spec.unit.get("resize", "crop"))
    control = load_control(name, loaded)
    control.condition = control.condition or ALIASES.get(spec.kind, spec.kind)  # published files do not tell
    return control.unit(hint, **settings)
