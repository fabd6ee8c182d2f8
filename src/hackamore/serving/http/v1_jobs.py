"""The routes of jobs: ask, look, follow, stop, fetch, forget."""

from __future__ import annotations

from pathlib import Path as File
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from hackamore.core.errors import WorkFailed
from hackamore.core.recipe import Recipe, read_recipe
from hackamore.serving.http.errors import Refused
from hackamore.serving.http.events import stream
from hackamore.serving.http.ora import layered
from hackamore.serving.http.replies import errors
from hackamore.serving.http.results import there
from hackamore.serving.job import Job
from hackamore.serving.request import Request

if TYPE_CHECKING:
    from hackamore.serving.engine import Engine

EXAMPLES: dict[str, Any] = {
    "text": {"summary": "A picture from words", "value": {"prompt": "mountains above a lake at dawn", "steps": 20}},
    "reproducible": {
        "summary": "Two pictures that can be made again",
        "value": {"prompt": "a meadow in autumn", "seed": 7, "num": 2, "size": [128, 128], "guidance": 3.0},
    },
}
KEPT = {"Cache-Control": "private, max-age=31536000, immutable"}
"""A finished picture never changes."""
PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
}
FORMATS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the picture: PNG, layered OpenRaster, or the Recipe that makes it again",
        "content": {
            "image/png": {"schema": {"type": "string", "format": "binary"}},
            "image/openraster": {"schema": {"type": "string", "format": "binary"}},
        },
        "model": Recipe,
    }
}
Id = Annotated[str, Path(description="the job's id", examples=["0123456789abcdef0123456789abcdef"])]
Index = Annotated[int, Path(description="which one, from 0", ge=0, le=10_000)]


def router(engine: Engine) -> APIRouter:
    """The routes under ``/v1/jobs``."""
    routes = APIRouter(prefix="/v1/jobs", tags=["jobs"])
    _asking(routes, engine)
    _looking(routes, engine)
    _fetching(routes, engine)
    return routes


def _asking(routes: APIRouter, engine: Engine) -> None:
    @routes.post(
        "",
        summary="Ask for pictures",
        status_code=202,
        responses={200: {"model": Job, "description": "the job, over (wait=true)"}, **errors(429, 503)},
    )
    async def submit(
        request: Annotated[Request, Body(openapi_examples=EXAMPLES)],
        response: Response,
        wait: Annotated[bool, Query(description="answer when the job is over")] = False,
    ) -> Job:
        """The accepted job (202), or with ``wait=true`` the job when it is over (200), however it ended.

        Who hangs up while waiting cancels nothing.
        """
        job = await run_in_threadpool(engine.submit, request)
        response.headers["Location"] = f"jobs/{job.id}"  # beside this route, whatever prefix a proxy puts before it
        if not wait:
            return job
        try:
            job = await engine.wait(job.id)
        except WorkFailed as error:
            raise Refused(503, error.what, received=f"job {job.id}", remedy=error.remedy) from error
        response.status_code = 200
        return job

    @routes.post("/{job_id}/cancel", summary="Stop a job")
    def cancel(job_id: Id) -> Job:
        """Stop it: at once where it waits, between two steps where it is worked on; an over one stays as it is."""
        return engine.cancel(job_id)

    @routes.delete(
        "/{job_id}", summary="Remove a job that is over, and its files", status_code=204, responses=errors(409)
    )
    def delete(job_id: Id) -> None:
        """Its pictures are gone for good."""
        if not (job := engine.job(job_id)).over:
            raise Refused(
                409,
                "only a job that is over can be removed",
                received=job.state,
                remedy=f"POST /v1/jobs/{job_id}/cancel",
            )
        engine.delete(job_id)


def _looking(routes: APIRouter, engine: Engine) -> None:
    @routes.get("", summary="Jobs, the newest first")
    def jobs(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[float | None, Query(allow_inf_nan=False, description="only those created before")] = None,
    ) -> list[Job]:
        """The next page begins before the ``created`` of this one's last."""
        return engine.jobs(limit, before)

    @routes.get("/{job_id}", summary="A job as it is now")
    def job(job_id: Id) -> Job:
        """Its state, progress, and when it is over its pictures with the units that were applied, or its error."""
        return engine.job(job_id)

    @routes.get("/{job_id}/request", summary="What was asked for")
    def request(job_id: Id) -> Request:
        """The request as it was accepted, with seed and defaults filled in: sent again it makes the same pictures."""
        return engine.request(job_id)

    @routes.get(
        "/{job_id}/events",
        summary="Follow a job",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "events `progress`, `preview` and `over`; data: `{job, preview}`, a rough PNG in base64",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            }
        },
    )
    async def events(job_id: Id) -> StreamingResponse:
        """The present state at once, then whatever happens, to the end. Who reads slowly skips to the newest."""
        await run_in_threadpool(engine.job, job_id)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream(engine.events(job_id)), media_type="text/event-stream", headers=headers)


def _fetching(routes: APIRouter, engine: Engine) -> None:
    @routes.get("/{job_id}/images/{k}", summary="A finished picture", response_class=Response, responses=FORMATS)
    def image(job_id: Id, k: Index, format: Literal["png", "ora", "recipe"] = "png") -> Response:  # noqa: A002
        """A PNG with its Recipe inside; the picture above its hints and start picture, in layers; or the Recipe."""
        path = engine.picture(job_id, k)
        if format == "recipe":
            return Response(there(read_recipe, path).model_dump_json(), media_type="application/json", headers=KEPT)
        name = f"hackamore-{job_id[:8]}-{k}.{format}"
        headers = {**KEPT, "Content-Disposition": f'inline; filename="{name}"'}
        if format == "ora":
            return Response(there(layered, path), media_type="image/openraster", headers=headers)
        return Response(there(File.read_bytes, path), media_type="image/png", headers=headers)

    @routes.get("/{job_id}/hints/{k}", summary="The hint of a unit", response_class=Response, responses=PNG)
    def hint(job_id: Id, k: Index) -> Response:
        """The very hint that control number ``k`` received: PNG."""
        return Response(there(File.read_bytes, engine.hint(job_id, k)), media_type="image/png", headers=KEPT)
