"""Routes that are not there, and methods that a route has not: told before the page at ``/`` could answer them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from re import Pattern

from fastapi import FastAPI, Request
from starlette.routing import compile_path

from hackamore.serving.http.errors import Refused

PREFIXES = ("/v1", "/sdapi", "/controlnet", "/internal")
ALONE = ("/healthz", "/metrics", "/docs", "/openapi.json")
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


def close(app: FastAPI) -> None:
    """Answer 405 or 404 under the prefixes of our routes. To be called when all routes but the page are there."""
    methods = _methods(app)

    async def unknown(request: Request) -> None:
        path = request.url.path
        if allowed := methods(path):
            told = ", ".join(allowed)
            what = "this route has no such method"
            raise Refused(405, what, received=request.method, expected=told, headers={"Allow": told})
        raise Refused(404, "no such route", received=path, remedy="/docs lists them")

    for path in (*ALONE, *(prefix + rest for prefix in PREFIXES for rest in ("", "/{rest:path}"))):
        app.add_api_route(path, unknown, methods=METHODS, include_in_schema=False)


def _methods(app: FastAPI) -> Callable[[str], list[str]]:
    """From a path to the methods that it has."""

    @lru_cache(maxsize=1)
    def known() -> list[tuple[Pattern[str], list[str]]]:
        described = app.openapi()["paths"]
        own = [("/docs", ["GET"]), ("/openapi.json", ["GET"])]
        told = [(path, [name.upper() for name in methods]) for path, methods in described.items()]
        return [(compile_path(path)[0], methods) for path, methods in (*told, *own)]

    def methods(path: str) -> list[str]:
        return sorted({name for pattern, names in known() if pattern.match(path) for name in names})

    return methods
