"""Errors as clients get them: one JSON form, words that are fit to be shown, and the status that fits them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.serving.engine import Full, Unknown
from hackamore.serving.private import without_paths
from hackamore.serving.refusal import InUse, Later, NotKept
from hackamore.serving.settings import ServeSettings

MOST_PROBLEMS = 10
LONGEST_ECHO = 120
"""Characters of what was received that are said back."""
_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 500: "server_error"}


class Refused(HackamoreError):
    """A request that is refused with another status than 400; ``headers`` go with the answer."""

    def __init__(
        self,
        status: int,
        what: str,
        *,
        received: object = None,
        expected: object = None,
        remedy: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(what, received=received, expected=expected, remedy=remedy)
        self.status, self.headers = status, dict(headers or {})


class ErrorWords(BaseModel):
    """What was wrong; ``message``, ``type``, ``param`` and ``code`` are what OpenAI's clients read."""

    what: str
    received: str | None = None
    expected: str | None = None
    remedy: str | None = None
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorReply(BaseModel):
    """The body of every answer that is an error; ``detail`` is the whole of it in words."""

    error: ErrorWords
    detail: str = Field(examples=["no such job\nreceived: 0123"])


def status_of(error: HackamoreError) -> int:
    """The status that an error is answered with: 400 where the request is wrong, else the reason of the failure."""
    if isinstance(error, Refused):
        return error.status
    known = {Full: 429, Unknown: 404, Later: 503, InUse: 409, NotKept: 507, WorkFailed: 500}
    return next((status for kind, status in known.items() if isinstance(error, kind)), 400)


def reply(error: HackamoreError, settings: ServeSettings | None = None, param: str | None = None) -> JSONResponse:
    """The answer that says ``error``; the operator's own paths in ``settings`` are not told."""
    status = status_of(error)
    headers = dict(getattr(error, "headers", {}))
    if isinstance(error, Full):
        headers["Retry-After"] = str(error.retry_after)
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    shown = HackamoreError(
        _told(error.what, settings) or "",
        received=_told(error.received, settings),
        expected=_told(error.expected, settings),
        remedy=_told(error.remedy, settings),
    )
    told = {name: getattr(shown, name) for name in ("what", "received", "expected", "remedy")}
    words = ErrorWords(**told, message=str(shown), type=kind, param=param)
    return JSONResponse(ErrorReply(error=words, detail=str(shown)).model_dump(), status, headers)


def handle_errors(app: FastAPI, settings: ServeSettings) -> None:
    """Answer every error that a route of ``app`` raises in the one form."""

    @app.exception_handler(HackamoreError)
    async def known(_: Request, error: HackamoreError) -> JSONResponse:
        return reply(error, settings)

    @app.exception_handler(RequestValidationError)
    async def unfit(_: Request, error: RequestValidationError) -> JSONResponse:
        return reply(unfit_error(error.errors()), settings, _place(error.errors()[0]))

    @app.exception_handler(HTTPException)
    async def framework(_: Request, error: HTTPException) -> JSONResponse:
        words = {404: "no such route", 405: "this route has no such method"}
        what = (
            words.get(error.status_code, str(error.detail))
            if error.detail in ("Not Found", "Method Not Allowed")
            else str(error.detail)
        )
        return reply(Refused(error.status_code, what, headers=error.headers), settings)


def unfit_error(problems: Any) -> Refused:
    """What pydantic finds in a request, as one error of ours: the first problem whole, the others by their place."""
    first, others = problems[0], problems[1:MOST_PROBLEMS]
    if isinstance(first.get("input"), bytes):
        expected = "JSON, with the header Content-Type: application/json"
        return Refused(422, "the body is not sent as JSON", expected=expected)
    where = _place(first)
    what = f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
    also = "; ".join(f"{_place(one)}: {one['msg']}" for one in others)
    received = None if first["type"] in ("missing", "json_invalid") else first.get("input")
    return Refused(422, what, received=received, expected=f"also wrong: {also}" if also else None)


def _place(problem: Mapping[str, Any]) -> str:
    """Where in the request a problem is, such as ``controls.0.scale``."""
    return ".".join(str(part) for part in problem["loc"] if part not in ("body", "query", "path"))


def _told(value: object, settings: ServeSettings | None) -> str | None:
    """A value in words of bounded length that any encoding can hold, without the operator's paths."""
    if value is None:
        return None
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    text = text if settings is None else without_paths(text, settings)
    return " ".join(text.split()) if len(text) <= LONGEST_ECHO * 8 else f"{text[:LONGEST_ECHO]}…"
