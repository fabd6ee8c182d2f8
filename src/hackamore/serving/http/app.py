"""The application: every route of the server behind its guards."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI

from hackamore.serving.http import a1111, health, metrics, openai, v1
from hackamore.serving.http.docs import add_docs
from hackamore.serving.http.errors import handle_errors
from hackamore.serving.http.guard import guard
from hackamore.serving.http.logs import say_over
from hackamore.serving.http.replies import ALWAYS, errors
from hackamore.serving.http.trace import Trace
from hackamore.serving.http.unknown import close

if TYPE_CHECKING:
    from hackamore.serving.engine import Engine
    from hackamore.serving.models import Models
    from hackamore.serving.settings import ServeSettings

DESCRIPTION = """
Pictures from words, steered by controls. Every error is JSON with `error.what`, `received`, `expected`, `remedy`, and
the whole in words as `detail`. Pictures are sent as base64; no address is fetched and no path is opened.
"""
TAGS = [
    {"name": "jobs", "description": "pictures that are asked for, and what became of them"},
    {"name": "annotators", "description": "from a picture to a hint"},
    {"name": "models", "description": "bases and controls on offer"},
    {"name": "server", "description": "the server itself"},
]


def make_app(settings: ServeSettings, engine: Engine, models: Models) -> FastAPI:
    """The application of a server. It neither starts nor stops ``engine``; who makes it does.

    Raises :class:`HackamoreError` where the canvas is wanted and Gradio is not installed.
    """
    app = FastAPI(
        title="Hackamore",
        version=version("hackamore"),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        responses=errors(*ALWAYS),
        docs_url=None,
        redoc_url=None,
    )
    counted = metrics.Metrics(engine, models)
    engine.listen(lambda event: counted.job(event.job))
    engine.listen(lambda event: say_over(event.job, settings.log_prompts))
    handle_errors(app, settings)
    guard(app, settings)
    app.add_middleware(Trace, metrics=counted)
    app.include_router(health.router(engine))
    app.include_router(metrics.router(counted))
    for routes in (v1, a1111, openai):
        app.include_router(routes.router(engine, models, settings))
    add_docs(app)
    close(app)
    if settings.canvas:
        from hackamore.serving.canvas.page import mount

        app = mount(app, settings, engine, models)
    return app
