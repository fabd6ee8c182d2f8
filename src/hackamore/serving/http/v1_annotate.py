"""The routes of annotators: which there are, and a hint without a generation."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body

from hackamore.annotators.catalog import annotator_class
from hackamore.annotators.hinting import Hinted, hint_for
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size, resize
from hackamore.core.recipe import embed
from hackamore.core.skeleton import People, to_openpose
from hackamore.serving.http.annotators import Listing
from hackamore.serving.http.replies import AnnotateReply, AnnotateRequest, AnnotatorReply, errors
from hackamore.serving.http.waiting import Narrow
from hackamore.serving.parameters import check_parameters, check_usable
from hackamore.serving.pictures import read_people, read_picture

if TYPE_CHECKING:
    from hackamore.serving.settings import Limits, ServeSettings

AT_ONCE = 2
"""Pictures that are annotated at the same time."""
EXAMPLES: dict[str, Any] = {
    "edges": {"summary": "Edges of a picture", "value": {"kind": "canny", "image": "iVBORw0KGgo…", "size": [128, 128]}}
}


def router(settings: ServeSettings) -> APIRouter:
    """``/v1/annotators`` and ``/v1/annotate``."""
    routes = APIRouter(prefix="/v1", tags=["annotators"])
    listing, narrow = Listing(), Narrow(AT_ONCE, settings.limits.queue)

    @routes.get("/annotators", summary="Annotators, their parameters, and which work here")
    def annotators() -> list[AnnotatorReply]:
        """In the order in which they are documented."""
        return listing()

    @routes.post("/annotate", summary="Make a hint of a picture", responses=errors(429))
    async def annotate(
        request: Annotated[AnnotateRequest, Body(openapi_examples=EXAMPLES)],
    ) -> AnnotateReply:
        """The very hint that a unit with these words would receive, and what was done beyond what was asked."""
        return await narrow.run(partial(hint, request, settings.limits))

    return routes


def hint(request: AnnotateRequest, limits: Limits) -> AnnotateReply:
    """The hint that is asked for; raises :class:`HackamoreError` for what cannot be done."""
    annotator_class(request.kind)
    check_parameters(request.kind, request.parameters)
    check_usable(request.kind, bool(request.hint) or request.people is not None)
    if request.size is not None:
        _check_size(request.size, limits)
    if (request.image is None) == (request.people is None):
        raise HackamoreError("a hint is made of a picture or of people", expected="either image or people")
    size, notices = request.size, []
    source: Picture | People
    if request.people is not None:
        source = read_people(request.people)
        if size is None:
            _check_size(source.size, limits)
    else:
        source = read_picture(str(request.image), limits.source_pixels)
        if size is None and source.shape[0] * source.shape[1] > limits.pixels:
            size = _fitting(source, limits.pixels)
            source = resize(source, size, "stretch")
            notices = [f"the picture was scaled to {size[0]}×{size[1]}"]
    made = hint_for(request.kind, source, size=size, mode=request.resize, given=request.hint, **request.parameters)
    return _reply(made, notices)


def _check_size(size: Size, limits: Limits) -> None:
    if min(size) < 8 or size[0] * size[1] > limits.pixels:
        received = f"{size[0]}×{size[1]}"
        raise HackamoreError(
            "the size is out of range", received=received, expected=f"8 pixels a side to {limits.pixels:,} in all"
        )


def _fitting(picture: Picture, pixels: int) -> Size:
    height, width = picture.shape[:2]
    factor = math.sqrt(pixels / (width * height))
    return max(8, math.floor(width * factor)), max(8, math.floor(height * factor))


def _reply(made: Hinted, notices: list[str]) -> AnnotateReply:
    height, width = made.picture.shape[:2]
    return AnnotateReply(
        image=embed(made.picture),
        width=width,
        height=height,
        notices=[*notices, *made.notices],
        people=None if made.people is None else to_openpose([made.people])[0],
    )
