"""What clients of OpenAI's images API send → a request of ours; what cannot be done is refused by name."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size
from hackamore.core.recipe import embed
from hackamore.serving.http.a1111_body import is_off, shown
from hackamore.serving.http.a1111_names import Offered, base_named
from hackamore.serving.http.bodies import check_json
from hackamore.serving.pictures import read_layers
from hackamore.serving.request import Name, Prompt, Request, UnitRequest
from hackamore.serving.settings import Limits

STEPS = {"low": 10, "auto": 20, "standard": 20, "medium": 20, "high": 40, "hd": 40}
"""Steps of a quality."""
MULTIPLE = 8
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
_OFF: dict[str, tuple[Any, ...]] = {
    "background": ("auto", "opaque"),
    "moderation": ("auto", "low"),
    "stream": (False, "false"),
    "partial_images": (0, "0"),
    "complexity": ("medium",),
    "input_fidelity": ("low",),
}
"""Fields that are taken where they hold nothing, or one of these."""
_REMEDIES = {"style": "write the style into the prompt", "stream": "/v1/jobs and its events"}


class Wanted(BaseModel):
    """What all three routes read. The fields from ``controls`` on are this server's own (``extra_body``)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    prompt: Prompt
    model: Name | None = Field(None, description="a base that the server offers; by default its first")
    n: int | None = Field(1, ge=1, le=10)
    size: Annotated[str, Field(max_length=20)] | None = Field("auto", description="auto, or WIDTHxHEIGHT")
    quality: Literal["low", "medium", "high", "auto", "standard", "hd"] | None = Field(
        "auto", description="how many steps: 10, 20 or 40"
    )
    response_format: Literal["b64_json", "url"] | None = Field("b64_json", description="url: of this server, its token")
    output_format: Literal["png", "jpeg", "webp"] | None = Field("png", description="only a PNG holds its Recipe")
    output_compression: int | None = Field(100, ge=0, le=100, description="quality of a JPEG or WebP")
    user: Annotated[str, Field(max_length=500)] | None = Field(None, description="not kept")
    safety_identifier: Annotated[str, Field(max_length=500)] | None = Field(None, description="not kept")
    controls: tuple[UnitRequest, ...] = Field((), description="as of /v1/jobs; in a form, JSON in a text")
    negative: Prompt = ""
    seed: int | None = Field(None, ge=0, lt=2**62)
    steps: int | None = Field(None, ge=1, description="instead of quality")
    guidance: float | None = Field(None, ge=0, le=100, allow_inf_nan=False)
    scheduler: Name | None = None
    strength: float | None = Field(None, gt=0, le=1, description="of an edit: share of the steps that run")

    @field_validator("controls", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        """Forms have no lists of objects: there it is JSON in a text."""
        if not isinstance(value, str):
            return value
        try:
            check_json(value.encode("utf-8", "surrogatepass"))  # nobody did, as the body of a form is no JSON
            return json.loads(value)
        except (HackamoreError, ValueError) as error:
            raise ValueError(f"the text cannot be read: {getattr(error, 'what', error)}") from error


class Edited(Wanted):
    """What ``/images/edits`` reads, the files as base64."""

    image: str
    mask: str | None = None


class Varied(Edited):
    """What ``/images/variations`` reads."""

    prompt: Prompt = ""


def asked(body: Wanted, offers: list[Offered], base: str, limits: Limits) -> Request:
    """The request that a body means; raises :class:`HackamoreError` for what would be left out."""
    for name, value in (body.model_extra or {}).items():
        if not is_off(value, (None, "", *_OFF.get(name, ()))):
            raise HackamoreError(
                f"{name[:100]} is not done by this server", received=shown(value),
                expected=" or ".join(dict.fromkeys(str(one).lower() for one in _OFF.get(name, ("no such field",)))),
                remedy=_REMEDIES.get(name),
            )  # fmt: skip
    if body.output_format in (None, "png") and body.output_compression not in (None, 100):
        raise HackamoreError("a PNG is not compressed with losses", received=body.output_compression, expected="100")
    if body.response_format == "url" and body.output_format not in (None, "png"):
        raise HackamoreError("an address is that of a PNG", received=body.output_format, expected="png, or b64_json")
    size = _size(body.size)
    begun = _begun(body, size, limits) if isinstance(body, Edited) else {"size": size}
    return Request(
        base=base if body.model is None else base_named(body.model, offers).name,
        prompt=body.prompt,
        negative=body.negative,
        num=1 if body.n is None else body.n,
        steps=body.steps or STEPS[body.quality or "auto"],
        seed=body.seed,
        guidance=body.guidance,
        scheduler=body.scheduler,
        controls=body.controls,
        **begun,
    )


def _size(told: str | None) -> Size | None:
    if told in (None, "", "auto"):
        return None
    found = _SIZE.fullmatch(told or "")
    if found is None:
        raise HackamoreError("the size is not understood", received=told, expected="auto, or WIDTHxHEIGHT")
    return int(found[1]), int(found[2])


def _begun(body: Edited, size: Size | None, limits: Limits) -> dict[str, Any]:
    """The parts of a request that tell what an edit begins from.

    Painted anew is what the mask, or without one the picture itself, leaves transparent; without transparency the
    whole picture is where it begins. By default the result has the picture's own size where the server makes such.
    """
    picture, opacity = read_layers(body.image, limits.source_pixels, "the image")
    height, width = picture.shape[:2]
    if size is None and not (width % MULTIPLE or height % MULTIPLE) and width * height <= limits.pixels:
        size = width, height
    if body.mask:
        hole = _holes(read_layers(body.mask, limits.source_pixels, "the mask")[1])
        if hole is None or not hole.any():
            raise HackamoreError(
                "the mask is transparent nowhere",
                expected="a PNG, transparent where to paint anew",
                remedy="black and white are not read; make the white part transparent",
            )
        if hole.shape != (height, width):
            received, expected = f"{hole.shape[1]}×{hole.shape[0]}", f"{width}×{height}"
            raise HackamoreError("the mask has another size than the image", received=received, expected=expected)
    else:
        hole = _holes(opacity)
    mask = None if hole is None or not hole.any() else embed(hole[..., None].repeat(3, axis=2))
    return {"init": embed(picture), "mask": mask, "strength": body.strength, "size": size}


def _holes(opacity: Picture | None) -> Picture | None:
    """H×W uint8, 255 where a picture is transparent; None where it cannot be."""
    return None if opacity is None else np.where(opacity < 128, np.uint8(255), np.uint8(0))
