"""A unit of the WebUI's ControlNet extension: its fields, and the pictures and masks that it brings or lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hackamore.core.errors import HackamoreError
from hackamore.core.image import Size, resize
from hackamore.core.recipe import embed
from hackamore.serving.http.a1111_body import Name, Number
from hackamore.serving.http.a1111_modules import NONE, Module
from hackamore.serving.http.a1111_names import Offered
from hackamore.serving.http.a1111_paint import Region, grey, read_mask
from hackamore.serving.pictures import read_picture
from hackamore.serving.settings import Limits

LEAST_RESOLUTION = 64


class UnitBody(BaseModel):
    """One element of ``alwayson_scripts.controlnet.args``; null is a field's default."""

    model_config = ConfigDict(extra="allow", frozen=True)

    enabled: bool | None = Field(
        None, description="where it is not told, true for a unit that has a picture, module or model"
    )
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
    limits: Limits
    size: Size | None = None
    init: str | None = None
    mask: str | None = None
    region: Region | None = None


def pictures_of(body: UnitBody, number: int) -> tuple[str | None, str | None]:
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


@dataclass(frozen=True)
class Shown:
    """What a unit looks at: its picture, and our one mask: of inpainting what is hidden, else where it acts."""

    image: str
    mask: str | None


def shown_to(
    body: UnitBody, told: tuple[str | None, str | None], kind: str, resizing: str, around: Surroundings
) -> Shown:
    """The picture and mask of a unit that brings ``told``; what it lacks is the request's start picture and mask.

    Where a part of the start picture alone is worked on, the same part of a unit's own picture is taken.
    """
    image, mask = told
    own, own_mask = image is not None, mask is not None
    image = image or around.init
    if image is None:
        raise HackamoreError(
            "there is no picture",
            received="no image",
            expected="a picture, base64",
            remedy="enabled: false, to leave it out",
        )
    cut = around.region if own and body.inpaint_crop_input_image is not False else None
    if cut is not None:
        image = _cut(image, cut, resizing, kind in ("seg", "none"), around.limits)
    if kind == "inpaint":
        return Shown(image, _hidden(body, mask or around.mask, cut if own_mask else None, around.limits))
    return Shown(image, _acting(body, mask, kind, around))


def _hidden(body: UnitBody, mask: str | None, cut: Region | None, limits: Limits) -> str:
    """What is hidden from an inpainting unit."""
    if body.effective_region_mask:
        raise HackamoreError("an inpainting unit has an effective_region_mask", expected="its mask alone")
    if mask is None:
        raise HackamoreError("inpainting needs a mask", expected="mask: white where the picture is hidden")
    hole = read_mask(mask, limits.source_pixels, "the unit's mask")
    return embed(grey(hole) if cut is None else cut.cut_mask(hole))


def _acting(body: UnitBody, mask: str | None, kind: str, around: Surroundings) -> str | None:
    """Where a unit acts; a mask that is not black is none of that, and an error."""
    pixels = around.limits.source_pixels
    if mask is not None and read_mask(mask, pixels, "the unit's mask").any():
        raise HackamoreError(
            f"a unit of {kind} reads no mask", expected="none, or one for inpainting", remedy="effective_region_mask"
        )
    region = body.effective_region_mask or None
    if region is None or around.region is None:
        return region
    return embed(around.region.cut_mask(read_mask(region, pixels, "effective_region_mask")))


def resolution_of(module: Module, body: UnitBody, image: str, resizing: str, around: Surroundings) -> dict[str, Any]:
    """The resolution of a preprocessor that has one; ours of edges always work at the picture's own."""
    from hackamore.annotators.catalog import ANNOTATORS, annotator_class

    if module.kind not in ANNOTATORS or "resolution" not in annotator_class(module.kind).model_fields:
        return {}
    if body.pixel_perfect and around.size is not None:
        height, width = read_picture(image, around.limits.source_pixels, "the picture").shape[:2]
        factors = around.size[0] / width, around.size[1] / height
        chosen = min(factors) if resizing == "fill" else max(factors)
        return {"resolution": max(LEAST_RESOLUTION, round(chosen * min(width, height)))}
    told = told_or(body.processor_res, -1)
    return {"resolution": int(told)} if told >= LEAST_RESOLUTION else {}


def _cut(image: str, region: Region, resizing: str, categorical: bool, limits: Limits) -> str:
    """The part of a unit's picture that alone is worked on."""
    picture = read_picture(image, limits.source_pixels, "the picture")
    size = region.original.shape[1], region.original.shape[0]
    return embed(region.cut(resize(picture, size, resizing, categorical=categorical)))


def told_or(value: Any, default: Any) -> Any:
    """``value``, or the default of what was not told."""
    return default if value is None else value
