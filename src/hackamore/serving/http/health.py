"""Whether the server is well: what load balancers and containers ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from hackamore.core.errors import HackamoreError

if TYPE_CHECKING:
    from hackamore.serving.engine import Engine


class Health(BaseModel):
    """How the server is: ``ok`` while all its workers run, ``degraded`` while some do. The numbers are jobs'."""

    status: Literal["ok", "degraded", "stopped"]
    version: str
    workers: int
    waiting: int
    running: int


def router(engine: Engine) -> APIRouter:
    """The route; it needs no token and tells nothing about anybody."""
    from importlib.metadata import version

    routes = APIRouter(tags=["server"])
    installed = version("hackamore")

    @routes.head("/healthz", include_in_schema=False)
    @routes.get(
        "/healthz",
        summary="Whether the server is well",
        responses={503: {"model": Health, "description": "no worker runs"}},
    )
    def health(response: Response) -> Health:
        """200 while a worker runs, else 503."""
        run = list(engine.workers().values())
        try:
            counts = engine.counts()
        except HackamoreError:  # it has stopped, or its disk has failed
            counts, run = {}, []
        response.status_code = 200 if any(run) else 503
        return Health(
            status="ok" if run and all(run) else "degraded" if any(run) else "stopped",
            version=installed,
            workers=sum(run),
            waiting=counts.get("queued", 0),
            running=counts.get("running", 0),
        )

    return routes
