"""The WebUI's API: pictures from text and pictures, progress, interrupt, options; with it the routes of ControlNet."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from hackamore.core.errors import HackamoreError
from hackamore.serving.engine import Engine
from hackamore.serving.http.a1111_body import Body, ImageBody, refuse_settings
from hackamore.serving.http.a1111_control import control_routes
from hackamore.serving.http.a1111_desk import Desk
from hackamore.serving.http.a1111_lists import list_routes
from hackamore.serving.http.a1111_names import Offered, base_named, offered
from hackamore.serving.http.a1111_reply import Generated, generated
from hackamore.serving.http.a1111_request import Asked, asked
from hackamore.serving.http.replies import ALWAYS, errors
from hackamore.serving.http.waiting import refuse_unmade, until_over
from hackamore.serving.settings import ServeSettings

if TYPE_CHECKING:
    from hackamore.serving.models import Models


def router(engine: Engine, models: Models, settings: ServeSettings) -> APIRouter:
    """The routes under ``/sdapi/v1`` and ``/controlnet``."""
    routes = APIRouter(tags=["WebUI"], responses=errors(*ALWAYS))
    desk = Desk(engine, settings.bases[0].name)
    offers = _offers(models)
    _generating(routes, engine, desk, offers, settings)
    _steering(routes, desk)
    _options(routes, desk, offers)
    list_routes(routes, models, offers)
    control_routes(routes, offers, settings, desk)
    return routes


def _offers(models: Models) -> Callable[[], list[Offered]]:
    return lambda: offered(models.offers())


def _generating(
    routes: APIRouter, engine: Engine, desk: Desk, offers: Callable[[], list[Offered]], settings: ServeSettings
) -> None:
    async def make(body: Body, gone: Callable[[], Awaitable[bool]]) -> Generated:
        def submit() -> tuple[Asked, str]:
            understood = asked(body, offers(), desk.base, settings.limits)
            if body.override_settings_restore_afterwards is False and understood.request.base is not None:
                desk.base = understood.request.base
            return understood, engine.submit(understood.request).id

        understood, job_id = await run_in_threadpool(submit)
        async with desk.going(job_id, understood.request.steps, understood.request.num):
            job = await until_over(engine, job_id, gone)
        refuse_unmade(job)
        return await run_in_threadpool(generated, engine, job, understood, body)

    @routes.post("/sdapi/v1/txt2img", responses=errors(409, 429, 503))
    async def txt2img(body: Body, request: Request) -> Generated:
        """Make pictures from text, steered by ControlNet units; answers when they are there."""
        return await make(body, request.is_disconnected)

    @routes.post("/sdapi/v1/img2img", responses=errors(409, 429, 503))
    async def img2img(body: ImageBody, request: Request) -> Generated:
        """Make pictures that begin from a picture, all of it or what a mask shows."""
        return await make(body, request.is_disconnected)

    for name in ("txt2img", "img2img"):
        _moved(routes, name)


def _moved(routes: APIRouter, name: str) -> None:
    @routes.post(f"/controlnet/{name}", name=f"controlnet_{name}")
    async def moved() -> Response:
        """An old route; says which one took its place."""
        raise HackamoreError(
            f"/controlnet/{name} is the extension's old route",
            expected=f"/sdapi/v1/{name} with alwayson_scripts: {{controlnet: {{args: [unit]}}}}",
        )


def _steering(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/sdapi/v1/progress")
    async def progress(skip_current_image: Annotated[bool, Query()] = False) -> dict[str, Any]:
        """How far the oldest generation is that came in through this API, with a rough picture."""
        return await run_in_threadpool(desk.progress, time.time(), not skip_current_image)

    @routes.post("/sdapi/v1/interrupt")
    async def interrupt() -> dict[str, Any]:
        """Stop the generation that `/progress` tells of; whoever waits for it is answered 409."""
        await run_in_threadpool(desk.stop)
        return {}

    @routes.post("/sdapi/v1/skip")
    async def skip() -> None:
        """Stop the generation that `/progress` tells of, if it is of one picture; one of several is refused."""
        current = await run_in_threadpool(desk.current)
        if current is not None and current[0].pictures > 1:
            raise HackamoreError(
                "one picture of several cannot be skipped",
                received=f"a generation of {current[0].pictures} pictures",
                remedy="/sdapi/v1/interrupt, which stops all of them",
            )
        await run_in_threadpool(desk.stop)


def _options(routes: APIRouter, desk: Desk, offers: Callable[[], list[Offered]]) -> None:
    @routes.get("/sdapi/v1/options")
    async def options() -> dict[str, Any]:
        """The options that are followed; the base that is taken where a request names none."""
        chosen = base_named(desk.base, offers())
        return {
            "sd_model_checkpoint": chosen.title,
            "sd_checkpoint_hash": chosen.sha256 or "",
            "sd_vae": "Automatic",
            "CLIP_stop_at_last_layers": 1,
            "eta_noise_seed_delta": 0,
            "samples_format": "png",
            "randn_source": "CPU",
        }

    @routes.post("/sdapi/v1/options")
    async def set_options(options: dict[str, Any]) -> None:
        """Choose the base, `sd_model_checkpoint`; options that are not followed are refused by name."""
        refuse_settings(options)
        if checkpoint := options.get("sd_model_checkpoint") or options.get("sd_checkpoint_hash"):
            desk.base = base_named(str(checkpoint), offers()).name
