"""What a client asks for: one value, whatever protocol it came in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from hackamore.core.effort import LEVELS, STEPS, usual_steps
from hackamore.core.section import Section

LONGEST_PROMPT = 8_000
"""Characters."""
Priority = Literal["live", "normal", "low"]
Encoded = Annotated[str, StringConstraints(min_length=1)]
"""A picture's file (PNG, JPEG, WebP …) in base64, with or without a ``data:`` prefix; never a path, never a URL."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Share = Annotated[float, Field(ge=0, le=1)]
Prompt = Annotated[str, StringConstraints(max_length=LONGEST_PROMPT)]


class UnitRequest(Section):
    """One control: which, on what picture, how strongly, when and where. Meanings are :class:`Unit`'s."""

    kind: Name = Field(description="what the picture is read as: canny, seg, pose …")
    image: Encoded | None = Field(None, description="the picture, or the hint itself; base64")
    people: dict[str, Any] | None = Field(None, description="of a pose: OpenPose key points instead of a picture")
    model: Name | None = Field(None, description="a control that the server offers; by default the base's own")
    hint: Literal[False, True, "exact"] = Field(False, description="whether the picture is a hint already")
    scale: float | None = Field(None, ge=0, le=10, allow_inf_nan=False)
    start: Share | None = None
    end: Share | None = None
    schedule: Annotated[str, StringConstraints(max_length=400)] | None = Field(
        None, description="strength@place points instead of scale, start and end, such as 0.2@0.1/0.5@0.3/0@0.7"
    )
    mask: Encoded | None = Field(None, description="white where it acts; base64")
    mode: Literal["balanced", "prompt", "control", "guess"] = "balanced"
    weights: tuple[float, ...] | None = Field(None, max_length=100, description="free layer weights")
    prompt: Prompt | None = Field(None, description="what the control itself reads instead of the prompt")
    type: Name | None = Field(None, description="of a union: which of its conditions the hint is")
    resize: Literal["crop", "fill", "stretch", "none"] = "crop"
    parameters: dict[str, bool | int | float | str] = Field({}, max_length=40, description="the annotator's own")

    @field_validator("parameters")
    @classmethod
    def _short(cls, value: dict[str, bool | int | float | str]) -> dict[str, bool | int | float | str]:
        if any(len(name) > 100 or (isinstance(one, str) and len(one) > 200) for name, one in value.items()):
            raise ValueError("a parameter is longer than 200 characters")
        return value


class Request(Section):
    """A generation. Meanings and defaults are those of :func:`hackamore.generate.generate`.

    ``verify``: tell the control fidelity of each picture. ``preview``: so often, in steps, a rough picture is told; 0
    is never. ``live``: a canvas's own word; of requests with the same word only the newest is worked on. ``deadline``:
    seconds after which nobody wants it any more.
    """

    base: Name | None = Field(None, description="a base that the server offers; by default its first")
    prompt: Prompt
    negative: Prompt = ""
    seed: int | None = Field(None, ge=0, lt=2**62, description="drawn by the server where none is told")
    num: int = Field(1, ge=1)
    size: tuple[int, int] | None = Field(None, description="width and height")
    steps: int = Field(STEPS, ge=1, description="by default 20, or those of the fast level")
    guidance: float | None = Field(None, ge=0, le=100, allow_inf_nan=False)
    scheduler: Name | None = None
    fast: Literal[1, 2, 3] | None = Field(
        None, description="a level of the fast mode, which spares work; it has steps and a scheduler of its own"
    )
    init: Encoded | None = Field(None, description="the picture to begin from; base64")
    strength: float | None = Field(None, gt=0, le=1)
    mask: Encoded | None = Field(None, description="white where the start picture is painted anew; base64")
    resize: Literal["crop", "fill", "stretch", "none"] = Field("crop", description="of start picture and mask")
    controls: tuple[UnitRequest, ...] = ()
    verify: bool = True
    preview: int = Field(0, ge=0)
    priority: Priority = "normal"
    live: Name | None = None
    deadline: float | None = Field(None, gt=0, le=86_400)

    @model_validator(mode="before")
    @classmethod
    def _paced(cls, told: Any) -> Any:
        """A fast level has steps of its own."""
        if not isinstance(told, dict) or "steps" in told:
            return told
        level = told.get("fast")  # of any type still, and checked after this
        return told | {"steps": usual_steps(LEVELS.get(level))} if isinstance(level, int) else told
