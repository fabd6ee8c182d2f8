"""Units of the WebUI's ControlNet extension → ours; one that cannot be applied is an error, never left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hackamore.core.errors import HackamoreError
from hackamore.core.recipe import embed
from hackamore.serving.http.a1111_body import refuse_others, shown
from hackamore.serving.http.a1111_modules import AS_IT_IS, INVERT, NONE, Module, module_named, parameters_of
from hackamore.serving.http.a1111_names import Match, control_named, controls_of, kind_of, kind_told
from hackamore.serving.http.a1111_unit import Surroundings, UnitBody, pictures_of, resolution_of, shown_to, told_or
from hackamore.serving.pictures import read_picture
from hackamore.serving.request import UnitRequest

_RENAMED = {
    "input_image": "image", "mask_image": "mask", "guidance": "guidance_end",
    "guessmode": "guess_mode", "lowvram": "low_vram",
}  # fmt: skip
"""Old names of fields."""
_IGNORED = ("is_ui", "low_vram", "hr_option", "pulid_mode", "output_dir")
_RESIZE = {
    "0": "stretch", "just resize": "stretch",
    "1": "crop", "crop and resize": "crop", "inner fit (scale to fit)": "crop", "scale to fit (inner fit)": "crop",
    "2": "fill", "resize and fill": "fill", "outer fit (shrink to fit)": "fill", "envelope (outer fit)": "fill",
}  # fmt: skip
_MODES = {
    "0": "balanced", "balanced": "balanced", "1": "prompt", "my prompt is more important": "prompt",
    "2": "control", "controlnet is more important": "control",
}  # fmt: skip
_TYPES = {
    "openpose": "pose", "depth": "depth", "soft edge": "softedge", "hard edge": "canny", "normal map": "normal",
    "segmentation": "seg", "tile": "tile", "inpaint": "inpaint",
}  # fmt: skip
MOST_UNITS = 64
"""Elements of ``args`` that are looked at, those that are switched off among them."""


@dataclass(frozen=True)
class UnitAsked:
    """A unit, whether its hint is sent back with the pictures, and in words what was understood in another way."""

    unit: UnitRequest
    show: bool
    notices: tuple[str, ...] = ()


def units_asked(args: Any, around: Surroundings) -> list[UnitAsked]:
    """The units of ``alwayson_scripts.controlnet``, those that are switched off left out."""
    if not isinstance(args, list):
        raise HackamoreError("alwayson_scripts.controlnet has no list args", expected="{args: [unit, …]}")
    if len(args) > MOST_UNITS:
        raise HackamoreError("too many units", received=len(args), expected=f"at most {MOST_UNITS}")
    asked = []
    for number, told in enumerate(args):
        if told in (None, False, {}):
            continue
        if not isinstance(told, dict):
            expected = "an object with module, model, image …"
            raise HackamoreError(f"unit {number} is no object", received=type(told).__name__, expected=expected)
        body = _body(told, number)
        pictures = pictures_of(body, number)
        if _is_on(body, pictures):
            try:
                asked.append(_unit(body, pictures, around))
            except HackamoreError as error:
                raise _of_unit(number, error) from error
            except ValidationError as error:
                raise _unfit(number, error) from error
    return asked


def _is_on(body: UnitBody, pictures: tuple[str | None, str | None]) -> bool:
    """Whether a unit counts: as it says itself, else if it tells any of what it would do."""
    if body.enabled is not None:
        return body.enabled
    told = body.module or NONE, body.model or "None"
    return any(pictures) or any(name.strip().lower() not in ("none", "") for name in told)


def _of_unit(number: int, error: HackamoreError) -> HackamoreError:
    return HackamoreError(
        f"unit {number}: {error.what}", received=error.received, expected=error.expected, remedy=error.remedy
    )


def _unfit(number: int, error: ValidationError) -> HackamoreError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    return HackamoreError(f"unit {number}: {name}: {first['msg']}", received=shown(first.get("input")))


def _body(told: dict[str, Any], number: int) -> UnitBody:
    values = dict(told)
    for old, new in _RENAMED.items():
        if old in values:
            value = values.pop(old)
            if values.get(new) not in (None, "") and value not in (None, "", values[new]):
                raise HackamoreError(f"unit {number} has both {new} and {old}", expected=new)
            values[new] = value if values.get(new) in (None, "") else values[new]
    try:
        body = UnitBody.model_validate(values)
    except ValidationError as error:
        raise _unfit(number, error) from error
    refuse_others(body, f"unit {number}: ", _IGNORED)
    return body


def _unit(body: UnitBody, pictures: tuple[str | None, str | None], around: Surroundings) -> UnitAsked:
    if (body.input_mode or "simple").lower() != "simple":
        raise HackamoreError("input_mode is not done here", received=body.input_mode, expected="simple")
    start, end = told_or(body.guidance_start, 0.0), told_or(body.guidance_end, 1.0)
    if start > end:
        raise HackamoreError("guidance_start is above guidance_end", received=f"{start:g} and {end:g}")
    label, module = module_named(body.module or NONE)
    model = (body.model or "None").strip()
    match = None if model.lower() in ("none", "") else control_named(model, around.base, around.offers)
    type_ = _chosen("union_control_type", body.union_control_type or "Unknown", _TYPES | {"unknown": ""}) or None
    kind = _kind(label, module, match, type_)
    match = match or _own(kind, around)
    resizing = _chosen("resize_mode", told_or(body.resize_mode, 1), _RESIZE)
    seen = shown_to(body, pictures, kind, resizing, around)
    parameters, told = parameters_of(label, module, told_or(body.threshold_a, -1), told_or(body.threshold_b, -1))
    unit = UnitRequest(
        kind=kind,
        image=_inverted(seen.image, around) if label == INVERT else seen.image,
        model=None if match is None else match.offer.name,
        hint="exact" if label in (NONE, INVERT) and kind not in AS_IT_IS else False,
        scale=told_or(body.weight, 1.0),
        start=start,
        end=end,
        mask=seen.mask,
        mode="control" if body.guess_mode else _chosen("control_mode", told_or(body.control_mode, 0), _MODES),
        weights=None if body.advanced_weighting is None else tuple(body.advanced_weighting),
        type=type_,
        resize=resizing,
        parameters=parameters | resolution_of(module, body, seen.image, resizing, around),
    )
    notices = told if match is None or match.notice is None else (match.notice, *told)
    return UnitAsked(unit, body.save_detected_map is not False, notices)


def _inverted(image: str, around: Surroundings) -> str:
    return embed(255 - read_picture(image, around.limits.source_pixels, "the picture"))


def _kind(label: str, module: Module, match: Match | None, type_: str | None) -> str:
    """What the picture is read as: the preprocessor's, or of a finished hint the control's."""
    if module.kind == "reference" and match is not None:
        raise HackamoreError(f"{label} takes no model", received=match.offer.name, expected="None")
    if module.kind == "ip-adapter" and match is None:
        raise HackamoreError(f"{label} needs a model", received="None", expected="an IP-Adapter that is offered")
    if label not in (NONE, INVERT):
        return module.kind
    if match is None:
        expected = "a model, or a preprocessor that tells what the picture is"
        raise HackamoreError("neither model nor module is told", received="None", expected=expected)
    kind = type_ or kind_of(match.offer)
    if kind is None:
        raise HackamoreError(f"the model {match.offer.name} does not tell its kind", expected="a module, or the type")
    return kind


def _own(kind: str, around: Surroundings) -> Match | None:
    """The one control that is offered for hints like these; None where there is none, or a choice."""
    alike = [one for one in controls_of(around.base, around.offers) if kind_of(one) in (kind, kind_told(kind))]
    if len(alike) != 1 or kind in AS_IT_IS:
        return None
    return Match(alike[0], f"no model was told; {alike[0].name} was taken, this server's own of its kind")


def _chosen(name: str, value: Any, known: dict[str, Any]) -> Any:
    found = known.get(str(value).strip().lower())
    if found is None:
        raise HackamoreError(f"unknown {name}", received=str(value)[:60], expected=", ".join(known))
    return found
