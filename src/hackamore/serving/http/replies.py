"""What the routes of ``/v1`` answer, and which errors they may answer instead."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from hackamore.core.section import Section
from hackamore.serving.http.errors import ErrorReply
from hackamore.serving.request import Encoded, Name
from hackamore.serving.settings import Limits

WORDS = {
    400: "the request cannot be done, in words",
    401: "the token is missing or wrong",
    403: "not from this site, or not by this name",
    404: "there is no such thing",
    405: "this route has no such method",
    408: "the body did not arrive in time",
    409: "not in this state",
    413: "the body is too long",
    422: "the request is not of the described form",
    429: "the queue is full; Retry-After tells when to come again",
    500: "the work failed",
    503: "not now: the server is stopping or busy",
    507: "the server's disk takes no more",
}
ALWAYS = (400, 401, 403, 404, 408, 413, 422, 500, 503, 507)
"""What any route may answer."""


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Errors of a route, for its description."""
    return {status: {"model": ErrorReply, "description": WORDS[status]} for status in statuses}


class AnnotateRequest(Section):
    """A hint that is asked for without a generation; meanings are :class:`UnitRequest`'s."""

    kind: Name = Field(description="which annotator, such as canny; /v1/annotators lists them")
    image: Encoded | None = Field(None, description="the picture; base64")
    people: dict[str, Any] | None = Field(None, description="of a pose: OpenPose key points instead of a picture")
    parameters: dict[str, bool | int | float | str] = Field({}, max_length=40, description="the annotator's own")
    size: tuple[int, int] | None = Field(None, description="width and height of the hint; the picture's own if absent")
    resize: Literal["crop", "fill", "stretch", "none"] = "crop"
    hint: Literal[False, True, "exact"] = Field(False, description="whether the picture is a hint already")


class AnnotateReply(BaseModel):
    """The very hint that a control would receive."""

    image: str = Field(description="PNG, base64")
    width: int
    height: int
    notices: list[str]
    people: dict[str, Any] | None = Field(description="of a pose: OpenPose key points in the hint's pixels")


class ParameterReply(BaseModel):
    """A parameter of an annotator."""

    name: str
    type: Literal["boolean", "integer", "number", "text", "choice"]
    default: bool | int | float | str | None
    minimum: float | None = None
    maximum: float | None = None
    choices: list[bool | int | float | str] | None = None
    optional: bool = Field(False, description="whether null means: chosen automatically")
    meaning: str


class AnnotatorReply(BaseModel):
    """An annotator; ``usable``: whether it works on this server, else ``reason`` says why not."""

    kind: str
    meaning: str
    usable: bool
    reason: str | None = None
    people: bool = Field(description="whether it draws people, and takes key points too")
    parameters: list[ParameterReply]


class ModelReply(BaseModel):
    """A base or a control that clients may name; the first four are what OpenAI's clients read."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "hackamore"
    type: Literal["base", "control"]
    kind: str | None
    base: str | None
    loaded: bool
    mib: float | None
    sha256: dict[str, str] | None = None


class ModelList(BaseModel):
    """Everything on offer, in the form of OpenAI's list of models."""

    object: Literal["list"] = "list"
    data: list[ModelReply]


class BaseInfo(BaseModel):
    """A base; what is null is known once it is loaded."""

    name: str
    loaded: bool
    size: tuple[int, int] | None
    multiple: int | None = Field(description="of which width and height are multiples")
    steps: int
    guidance: float | None
    scheduler: str | None
    schedulers: list[str]


class ControlInfo(BaseModel):
    """A control of a base."""

    name: str
    kind: str | None
    loaded: bool


class Swatch(BaseModel):
    """A class of a segmentation, or a joint of a skeleton, and its colour (red, green, blue; 0 to 255)."""

    name: str
    colour: tuple[int, int, int]


class Limb(BaseModel):
    """A limb between two joints, told by their numbers."""

    joints: tuple[int, int]
    colour: tuple[int, int, int]


class PoseInfo(BaseModel):
    """OpenPose's skeleton: joints in order, limbs in the order of drawing, and which joints a mirror exchanges."""

    joints: list[Swatch]
    limbs: list[Limb]
    mirrored: list[int]


class FastInfo(BaseModel):
    """What a level of the fast mode takes where a request tells neither."""

    steps: int | None
    scheduler: str | None


class Info(BaseModel):
    """What a page or a program needs to know about the server."""

    version: str
    limits: Limits
    bases: list[BaseInfo]
    controls: dict[str, list[ControlInfo]] = Field(description="by base")
    palette: list[Swatch] = Field(description="classes of Meadow's segmentation")
    palettes: dict[str, list[Swatch]]
    pose: PoseInfo
    modes: list[str]
    fast: dict[int, FastInfo] = Field(description="levels of the fast mode")
    resizes: list[str]
    devices: list[str]
    memory: dict[str, Any]
    jobs: dict[str, int] = Field(description="how many are kept, by state")
