"""The routes of the WebUI's ControlNet extension: lists, hints of pictures, drawings of poses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size
from hackamore.core.recipe import embed
from hackamore.core.skeleton import from_openpose, to_openpose
from hackamore.serving.http.a1111_body import Number, refuse_others
from hackamore.serving.http.a1111_desk import Desk
from hackamore.serving.http.a1111_modules import (
    AS_IT_IS,
    INVERT,
    MODULES,
    NONE,
    Module,
    Slider,
    module_named,
    parameters_of,
    usable_modules,
)
from hackamore.serving.http.a1111_names import ALONE, Offered, controls_of, kind_of, kind_told
from hackamore.serving.http.a1111_paint import read_mask
from hackamore.serving.http.a1111_unit import LEAST_RESOLUTION
from hackamore.serving.http.replies import errors
from hackamore.serving.http.waiting import Narrow
from hackamore.serving.pictures import read_picture
from hackamore.serving.settings import ServeSettings

VERSION = 3
RESOLUTION = 512
MOST_RESOLUTION = 2048
_AT_ONCE = 2
"""Pictures that are looked at at the same time."""


class Detect(BaseModel):
    """Pictures to make hints of; ``controlnet_images`` is an old name of the pictures."""

    model_config = ConfigDict(extra="allow")

    controlnet_module: Annotated[str, Field(max_length=300)] = NONE
    controlnet_input_images: list[str] = []
    controlnet_images: list[str] = []
    controlnet_masks: list[str] = []
    controlnet_processor_res: Number = -1
    controlnet_threshold_a: Number = -1
    controlnet_threshold_b: Number = -1
    low_vram: bool = False


def control_routes(routes: APIRouter, offers: Callable[[], list[Offered]], settings: ServeSettings, desk: Desk) -> None:
    """Add the routes under ``/controlnet``."""
    narrow = Narrow(_AT_ONCE, settings.limits.queue)

    @routes.get("/controlnet/version")
    async def version() -> dict[str, int]:
        """The version of the extension's API that is spoken."""
        return {"version": VERSION}

    @routes.get("/controlnet/model_list")
    async def model_list() -> dict[str, list[str]]:
        """The controls for the base that is chosen."""
        return {"model_list": [one.title for one in _controls(offers(), desk.base)]}

    @routes.get("/controlnet/module_list")
    async def module_list() -> dict[str, Any]:
        """The preprocessors that work on this server, and what each can be told."""
        names = usable_modules()
        return {"module_list": names, "module_detail": {name: _detail(MODULES[name]) for name in names}}

    @routes.get("/controlnet/control_types")
    async def control_types() -> dict[str, Any]:
        """Preprocessors and controls by type."""
        return {"control_types": _types(_controls(offers(), desk.base))}

    @routes.get("/controlnet/settings")
    async def unit_count() -> dict[str, int]:
        """How many units one request may have."""
        return {"control_net_unit_count": settings.limits.units}

    @routes.post("/controlnet/detect", responses=errors(429))
    async def detect(body: Detect) -> dict[str, Any]:
        """The hints of pictures; of poses the key points too."""
        return await narrow.run(partial(_detect, body, settings))

    @routes.post("/controlnet/render_openpose_json", responses=errors(429))
    async def render_openpose_json(poses: list[dict[str, Any]]) -> dict[str, Any]:
        """Drawings of key points."""
        return await narrow.run(partial(_render, poses, settings))


def _controls(all_offers: list[Offered], base: str) -> list[Offered]:
    return [one for one in controls_of(base, all_offers) if one.kind != ALONE]


def _detail(module: Module) -> dict[str, Any]:
    sliders = [one for one in (module.a, module.b) if one is not None]
    return {"model_free": module.kind == ALONE, "sliders": [_slider(one) for one in sliders if one.parameter]}


def _slider(slider: Slider) -> dict[str, Any]:
    step = 1 if slider.whole else 0.01
    return {"name": slider.label, "value": slider.default, "min": slider.low, "max": slider.high, "step": step}


def _types(controls: list[Offered]) -> dict[str, Any]:
    names = usable_modules()
    tags = sorted({tag for module in MODULES.values() for tag in module.tags})
    everything = {
        "module_list": names,
        "model_list": ["None", *(one.title for one in controls)],
        "default_option": NONE,
        "default_model": "None",
    }
    told = {"All": everything}
    for tag in tags:
        modules = [name for name in names if tag in MODULES[name].tags]
        kinds = {kind_told(module.kind) or module.kind for module in MODULES.values() if tag in module.tags}
        titles = [one.title for one in controls if kind_of(one) in kinds - {"invert"}]
        told[tag] = {
            "module_list": [NONE, *modules],
            "model_list": ["None", *titles],
            "default_option": next((name for name in modules if name != INVERT), NONE),
            "default_model": titles[0] if titles else "None",
        }
    return told


def _detect(body: Detect, settings: ServeSettings) -> dict[str, Any]:
    label, module = module_named(body.controlnet_module)
    texts = _pictures(body, label, module, settings.limits.pictures)
    told, notices = parameters_of(label, module, body.controlnet_threshold_a, body.controlnet_threshold_b)
    if body.controlnet_processor_res > 0 and not LEAST_RESOLUTION <= body.controlnet_processor_res <= MOST_RESOLUTION:
        fit = f"{LEAST_RESOLUTION} to {MOST_RESOLUTION}"
        notices += (f"controlnet_processor_res is out of range ({fit}); {RESOLUTION} is taken, as by the extension",)
    pixels = settings.limits.source_pixels
    images, poses, made = [], [], 0
    for number, text in enumerate(texts):
        picture = read_picture(text, pixels, f"picture {number}")
        size = _size(module, picture, body.controlnet_processor_res)
        made = _bounded(made, size or (picture.shape[1], picture.shape[0]), pixels)
        if module.kind == "inpaint":
            mask = read_mask(body.controlnet_masks[number], pixels, f"mask {number}")
            told = {**told, "mask": mask[..., None].repeat(3, axis=2)}
        hint, people = _hint(module, picture, size, told)
        images.append(embed(hint))
        poses += [] if people is None else to_openpose([people])
    reply: dict[str, Any] = {"images": images, "info": "Success", "hackamore": {"notices": list(notices)}}
    return reply | ({"poses": poses} if poses else {})


def _pictures(body: Detect, label: str, module: Module, most: int) -> list[str]:
    """The pictures to make hints of; raises :class:`HackamoreError` for too many, and for what would not be read."""
    refuse_others(body, "")
    if module.kind in AS_IT_IS:
        raise HackamoreError(f"{label} makes no hint: the picture itself is it")
    texts = body.controlnet_input_images or body.controlnet_images
    if not 1 <= len(texts) <= most:
        raise HackamoreError(
            "the number of controlnet_input_images is out of range", received=len(texts), expected=f"1 to {most}"
        )
    masks = body.controlnet_masks if module.kind == "inpaint" else [one for one in body.controlnet_masks if one]
    if len(masks) != (len(texts) if module.kind == "inpaint" else 0):
        expected = "one for each picture" if module.kind == "inpaint" else f"none: {label} reads no mask"
        raise HackamoreError("the number of controlnet_masks is wrong", received=len(masks), expected=expected)
    return texts


def _bounded(made: int, size: Size, most: int) -> int:
    """Pixels with those of one picture more; all that a call makes are held at once, and bounded together."""
    made += size[0] * size[1]
    if made > most:
        raise HackamoreError(
            "the pictures that one call makes are too large together",
            received=f"{made:,} pixels or more",
            expected=f"at most {most:,}",
            remedy="fewer or smaller pictures, or a lower resolution",
        )
    return made


def _hint(module: Module, picture: Picture, size: Size | None, told: dict[str, Any]) -> tuple[Picture, Any]:
    from hackamore.annotators.hinting import hint_for

    if module.kind == "none":
        return picture, None
    hinted = hint_for(module.kind, picture, size=size, mode="stretch", **told)
    return hinted.picture, hinted.people


def _size(module: Module, picture: Picture, resolution: float) -> Size | None:
    """The hint's: the shorter side is the resolution, where the preprocessor works at one."""
    if module.kind in ("none", "invert", "inpaint", "recolor") or resolution == 0:
        return None
    if not LEAST_RESOLUTION <= resolution <= MOST_RESOLUTION:
        resolution = RESOLUTION
    height, width = picture.shape[:2]
    factor = resolution / min(width, height)
    return max(8, round(width * factor)), max(8, round(height * factor))


def _render(poses: list[dict[str, Any]], settings: ServeSettings) -> dict[str, Any]:
    from hackamore.annotators.pose import draw_people

    if not poses:
        return {"info": "No pose data detected."}
    most, pixels = settings.limits.pictures, settings.limits.source_pixels
    if len(poses) > most:
        raise HackamoreError("too many poses", received=len(poses), expected=f"at most {most}")
    people, made = from_openpose(poses), 0
    for one in people:
        made = _bounded(made, one.size, pixels)
    return {"images": [embed(draw_people(one)) for one in people], "info": "Success"}
