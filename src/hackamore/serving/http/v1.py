"""Our own routes, under ``/v1``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from hackamore.serving.http import v1_annotate, v1_jobs, v1_models

if TYPE_CHECKING:
    from hackamore.serving.engine import Engine
    from hackamore.serving.models import Models
    from hackamore.serving.settings import ServeSettings


def router(engine: Engine, models: Models, settings: ServeSettings) -> APIRouter:
    """Jobs, annotators, models and what a page needs to know."""
    routes = APIRouter()
    routes.include_router(v1_jobs.router(engine))
    routes.include_router(v1_annotate.router(settings))
    routes.include_router(v1_models.router(engine, models, settings))
    return routes
