"""OpenAI's images API: generations, edits and variations, with its errors, and controls as an extension."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from PIL import Image
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from hackamore.serving.engine import Engine
from hackamore.serving.http.a1111_names import offered
from hackamore.serving.http.errors import Refused, reply, unfit_error
from hackamore.serving.http.openai_body import Edited, Varied, Wanted, asked
from hackamore.serving.http.openai_form import read_form
from hackamore.serving.http.replies import ALWAYS, errors
from hackamore.serving.http.results import there
from hackamore.serving.http.waiting import refuse_unmade, until_over
from hackamore.serving.job import Job
from hackamore.serving.pictures import encoded
from hackamore.serving.settings import ServeSettings

if TYPE_CHECKING:
    from hackamore.serving.models import Models


class OneImage(BaseModel):
    """A picture, as base64 or as an address of this server."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: None = None


class Images(BaseModel):
    """OpenAI's answer; ``hackamore`` tells the job, the units that were applied, and notices."""

    created: int
    data: list[OneImage]
    background: Literal["opaque"] = "opaque"
    output_format: Literal["png", "jpeg", "webp"]
    size: str
    hackamore: dict[str, Any]


class Route(APIRoute):
    """A route whose wrong fields are answered 400, as OpenAI's are."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """FastAPI's handler, with another status."""
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                response: Response = await handle(request)
            except RequestValidationError as error:
                return _unfit(error.errors())
            return response

        return answered


def router(engine: Engine, models: Models, settings: ServeSettings) -> APIRouter:
    """``/v1/images/generations``, ``/v1/images/edits`` and ``/v1/images/variations``."""
    routes = APIRouter(
        prefix="/v1/images", tags=["OpenAI images"], route_class=Route, responses=errors(*ALWAYS, 409, 429, 503)
    )

    async def make(body: Wanted, request: Request) -> Images:
        def submit() -> str:
            told = asked(body, offered(models.offers()), settings.bases[0].name, settings.limits)
            return engine.submit(told).id

        job_id = await run_in_threadpool(submit)
        job = await until_over(engine, job_id, request.is_disconnected)
        refuse_unmade(job)
        return await run_in_threadpool(_images, engine, job, body, str(request.base_url))

    @routes.post("/generations")
    async def generations(body: Wanted, request: Request) -> Images:
        """Make pictures from text; `controls` steers them."""
        return await make(body, request)

    async def from_form(kind: type[Edited], request: Request) -> Response | Images:
        try:
            body = kind.model_validate(await read_form(request, int(settings.limits.body_mib * 2**20)))
        except ValidationError as error:
            return _unfit(error.errors())
        return await make(body, request)

    @routes.post("/edits", response_model=Images, openapi_extra=_form_of(Edited))
    async def edits(request: Request) -> Response | Images:
        """Paint anew what is transparent in the mask, or in the picture; without either, begin from the picture."""
        return await from_form(Edited, request)

    @routes.post("/variations", response_model=Images, openapi_extra=_form_of(Varied))
    async def variations(request: Request) -> Response | Images:
        """Make pictures that begin from a picture."""
        return await from_form(Varied, request)

    return routes


def _unfit(problems: Any) -> Response:
    """The answer for a field of the wrong type or range; ``param`` names it."""
    found = unfit_error(problems)
    place = ".".join(str(part) for part in problems[0]["loc"] if part != "body")
    return reply(Refused(400, found.what, received=found.received, expected=found.expected), param=place or None)


def _form_of(kind: type[Edited]) -> dict[str, Any]:
    """The description of a form: the fields, of which two are files."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    for name in ("image", "mask"):
        schema["properties"][name] = {"type": "string", "format": "binary"}
    schema["properties"]["controls"] = {"type": "string", "description": "JSON: a list of controls as of /v1/jobs"}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _images(engine: Engine, job: Job, body: Wanted, address: str) -> Images:
    """The answer for a job that is done."""
    format_ = body.output_format or "png"
    if body.response_format == "url":
        data = [OneImage(url=f"{address}v1/jobs/{job.id}/images/{one.index}") for one in job.pictures]
    else:
        files = [engine.picture(job.id, one.index) for one in job.pictures]
        read = partial(_file, format_=format_, quality=body.output_compression)
        data = [OneImage(b64_json=encoded(there(read, path))) for path in files]
    first = job.pictures[0]
    return Images(
        created=int(job.finished or time.time()),
        data=data,
        output_format=format_,
        size=f"{first.width}x{first.height}",
        hackamore={
            "job": job.id,
            "units": [unit.model_dump() for unit in first.units],
            "pictures": [one.model_dump() for one in job.pictures],
            "notices": list(job.notices),
        },
    )


def _file(path: Path, format_: str, quality: int | None) -> bytes:
    """A finished picture in the format that is wanted."""
    if format_ == "png":
        return path.read_bytes()
    buffer = BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(buffer, format=format_.upper(), quality=100 if quality is None else quality)
    return buffer.getvalue()
