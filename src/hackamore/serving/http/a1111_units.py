"""Units of the WebUI's ControlNet extension → ours; one that cannot be applied is an error, never left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size, resize
from hackamore.core.recipe import embed
from hackamore.serving.http.a1111_body import Name, Number, is_off, shown
from hackamore.serving.http.a1111_modules import AS_IT_IS, INVERT, NONE, Module, module_named, parameters_of
from hackamore.serving.http.a1111_names import Match, Offered, control_named, kind_of, kind_told
from hackamore.serving.http.a1111_paint import Region, read_mask
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
LEAST_RESOLUTION = 64


class UnitBody(BaseModel):
    """One element of ``alwayson_scripts.controlnet.args``; null is a field's default."""

    model_config = ConfigDict(extra="allow", frozen=True)

    enabled: bool | None = Field(None, description="true for a unit with a picture, where it is not told")
    module: Name | None = NONE
    model: Name | None = "None"
    weight: Number | None = Field(1.0, ge=0, le=2)
    image: Any = None
    mask: str | None = None
    resize_mode: str | int | None = "Crop and Resize"
    processor_res: Number | None = -1
    threshold_a: Number | None = -1
    threshold_b: Number | None = -1
    guidance_start: Number | None = Field(0.0, ge=0, le=1)
    guidance_end: Number | None = Field(1.0, ge=0, le=1)
    pixel_perfect: bool | None = False
    control_mode: str | int | None = "Balanced"
    guess_mode: bool | None = None
    save_detected_map: bool | None = True
    inpaint_crop_input_image: bool | None = True
    advanced_weighting: list[Number] | None = None
    effective_region_mask: str | None = None
    union_control_type: str | None = None
    input_mode: str | None = None


@dataclass(frozen=True)
class Surroundings:
    """What a unit's meaning depends on beside itself."""

    offers: Sequence[Offered]
    base: str
    most_pixels: int
    size: Size | None = None
    init: str | None = None
    mask: str | None = None
    region: Region | None = None


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
    asked = []
    for number, told in enumerate(args):
        if told in (None, False, {}):
            continue
        if not isinstance(told, dict):
            expected = "an object with module, model, image …"
            raise HackamoreError(f"unit {number} is no object", received=type(told).__name__, expected=expected)
        body = _body(told, number)
        image, mask = _pictures(body, number)
        if body.enabled or (body.enabled is None and image is not None):
            try:
                asked.append(_unit(body, image, mask, around))
            except HackamoreError as error:
                raise _of_unit(number, error) from error
    return asked


def _of_unit(number: int, error: HackamoreError) -> HackamoreError:
    return HackamoreError(
        f"unit {number}: {error.what}", received=error.received, expected=error.expected, remedy=error.remedy
    )


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
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise HackamoreError(
            f"unit {number}: {name}: {first['msg']}", received=shown(first.get("input")), expected="see /docs"
        ) from error
    for name, value in (body.model_extra or {}).items():
        if name not in _IGNORED and not is_off(value, (None, "", False, 0, [], {}, "None")):
            raise HackamoreError(
                f"unit {number}: the field {name[:100]} is not known here", received=shown(value),
                expected=", ".join(UnitBody.model_fields),
            )  # fmt: skip
    return body


def _pictures(body: UnitBody, number: int) -> tuple[str | None, str | None]:
    """(the picture, the mask) of a unit, in any of the forms that the extension reads."""
    image: Any = body.image
    mask: Any = body.mask
    if isinstance(image, list) and image and isinstance(image[0], dict):
        if len(image) > 1:
            raise HackamoreError(f"unit {number} has several pictures", received=len(image), expected="one a unit")
        image = image[0]
    if isinstance(image, list) and len(image) == 2:
        image = {"image": image[0], "mask": image[1]}
    if isinstance(image, dict):
        mask = mask or image.get("mask")
        image = image.get("image")
    for name, value in (("image", image), ("mask", mask)):
        if not (value is None or isinstance(value, str)):
            received = type(value).__name__
            raise HackamoreError(f"unit {number}: its {name} is no text", received=received, expected="base64")
    return image or None, mask or None


def _unit(body: UnitBody, image: str | None, mask: str | None, around: Surroundings) -> UnitAsked:
    if (body.input_mode or "simple").lower() != "simple":
        raise HackamoreError("input_mode is not done here", received=body.input_mode, expected="simple")
    label, module = module_named(body.module or NONE)
    model = (body.model or "None").strip()
    match = None if model.lower() in ("none", "") else control_named(model, around.base, around.offers)
    type_ = _chosen("union_control_type", body.union_control_type or "Unknown", _TYPES | {"unknown": ""}) or None
    kind = _kind(label, module, match, type_)
    if match is None:
        match = _own(kind, around)
    own = image is None
    image, mask = _or_start(image, mask, kind, around)
    parameters, told = parameters_of(label, module, _or(body.threshold_a, -1), _or(body.threshold_b, -1))
    mode = "control" if body.guess_mode else _chosen("control_mode", str(_or(body.control_mode, 0)), _MODES)
    resizing = _chosen("resize_mode", str(_or(body.resize_mode, 1)), _RESIZE)
    parameters |= _resolution(module, body, image, resizing, around)
    if around.region is not None and not own and body.inpaint_crop_input_image is not False:
        image = _cut(image, around.region, resizing, around.most_pixels, module)
    if label == INVERT:
        image = embed(255 - read_picture(image, around.most_pixels, "the picture"))
    unit = UnitRequest(
        kind=kind,
        image=image,
        model=None if match is None else match.offer.name,
        hint="exact" if label in (NONE, INVERT) and kind not in AS_IT_IS else False,
        scale=_or(body.weight, 1.0),
        start=_or(body.guidance_start, 0.0),
        end=_or(body.guidance_end, 1.0),
        mask=_acting(body, mask, kind, around.most_pixels),
        mode=mode,
        weights=None if body.advanced_weighting is None else tuple(body.advanced_weighting),
        type=type_,
        resize=resizing,
        parameters=parameters,
    )
    notices = told if match is None or match.notice is None else (match.notice, *told)
    return UnitAsked(unit, body.save_detected_map is not False, notices)


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
    alike = [
        one
        for one in around.offers
        if not one.is_base and one.base in (None, around.base) and kind_of(one) in (kind, kind_told(kind))
    ]
    if len(alike) != 1 or kind in AS_IT_IS:
        return None
    return Match(alike[0], f"no model was told; {alike[0].name} was taken, this server's own of its kind")


def _or_start(image: str | None, mask: str | None, kind: str, around: Surroundings) -> tuple[str, str | None]:
    """A unit's picture and mask: where it has none, the request's start picture, and for inpainting its mask."""
    if image is None:
        image = around.init
        mask = mask or (around.mask if kind == "inpaint" else None)
    if image is None:
        raise HackamoreError("there is no picture", received="no image", expected="a picture, base64")
    if kind == "inpaint" and mask is None:
        raise HackamoreError("inpainting needs a mask", expected="mask: white where the picture is hidden")
    return image, mask


def _acting(body: UnitBody, mask: str | None, kind: str, most_pixels: int) -> str | None:
    """Our one mask: of inpainting what is hidden, of others where the control acts."""
    region = body.effective_region_mask or None
    if kind == "inpaint":
        if region is not None:
            raise HackamoreError("an inpainting unit has an effective_region_mask", expected="its mask alone")
        return mask
    if mask is not None and read_mask(mask, most_pixels, "the unit's mask").any():
        raise HackamoreError(
            f"a unit of {kind} reads no mask", expected="none, or one for inpainting", remedy="effective_region_mask"
        )
    return region


def _resolution(module: Module, body: UnitBody, image: str, resizing: str, around: Surroundings) -> dict[str, Any]:
    """The resolution of a preprocessor that has one; ours of edges always work at the picture's own."""
    from hackamore.annotators.catalog import ANNOTATORS, annotator_class

    if module.kind not in ANNOTATORS or "resolution" not in annotator_class(module.kind).model_fields:
        return {}
    if body.pixel_perfect and around.size is not None:
        height, width = read_picture(image, around.most_pixels, "the picture").shape[:2]
        factors = around.size[0] / width, around.size[1] / height
        chosen = min(factors) if resizing == "fill" else max(factors)
        return {"resolution": max(LEAST_RESOLUTION, round(chosen * min(width, height)))}
    told = _or(body.processor_res, -1)
    return {"resolution": int(told)} if told >= LEAST_RESOLUTION else {}


def _cut(image: str, region: Region, resizing: str, most_pixels: int, module: Module) -> str:
    """The part of a unit's picture that alone is worked on."""
    picture = read_picture(image, most_pixels, "the picture")
    size = region.original.shape[1], region.original.shape[0]
    kept: Picture = region.cut(resize(picture, size, resizing, categorical=module.kind in ("seg", "none")))
    return embed(np.ascontiguousarray(kept))


def _chosen(name: str, value: str, known: dict[str, str]) -> str:
    found = known.get(value.strip().lower())
    if found is None:
        raise HackamoreError(f"unknown {name}", received=value[:60], expected=", ".join(known))
    return found


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
