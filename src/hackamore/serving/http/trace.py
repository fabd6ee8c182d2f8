"""What happens to every request: an id, a line in the log, counters, headers, and no traceback that leaves."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hackamore.core.errors import WorkFailed
from hackamore.serving.http.errors import reply
from hackamore.serving.http.logs import LOG, say

if TYPE_CHECKING:
    from hackamore.serving.http.metrics import Metrics

ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""A request's id that a client may choose itself."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""The policy of what is no page: a browser that is shown it runs and loads nothing."""
PAGE = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""The policy of the canvas: Gradio brings scripts that stand in its page, and nothing comes from elsewhere."""


class Trace:
    """The outermost layer: what happened is logged and counted, what was not foreseen is one plain sentence."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; there are no web sockets here."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        told: dict[str, Any] = {"status": None, "bytes": 0}
        chosen = Headers(scope=scope).get("x-request-id", "")
        number = chosen if ID.fullmatch(chosen) else uuid.uuid4().hex

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
                _mark(MutableHeaders(scope=message), number)
            told["bytes"] += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, marked)
        except Exception:
            LOG.exception("a request failed", extra={"fields": {"id": number, "route": route_of(scope)}})
            if told["status"] is None:
                error = WorkFailed("the server failed at this", remedy=f"tell its operator the request's id: {number}")
                await reply(error)(scope, receive, marked)
        finally:
            self._note(scope, number, told, time.monotonic() - began)

    def _note(self, scope: Scope, number: str, told: dict[str, Any], seconds: float) -> None:
        status, route = told["status"] or 499, route_of(scope)  # 499: gone before the answer began
        self.metrics.request(scope["method"], route, status, seconds)
        client = (scope.get("client") or ("",))[0]
        level = logging.WARNING if status in (500, 507) else logging.INFO
        fields = {"id": number, "method": scope["method"], "route": route, "status": status, "bytes": told["bytes"]}
        say("request", level, **fields, seconds=round(seconds, 4), client=client)


def route_of(scope: Scope) -> str:
    """The template of the route that answered, such as ``/v1/jobs/{id}``; ``other`` where none of ours did."""
    return str(getattr(scope.get("route"), "path", None) or "other")


def _mark(headers: MutableHeaders, number: str) -> None:
    headers["X-Request-ID"] = number
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    page = headers.get("content-type", "").startswith("text/html")
    headers.setdefault("Content-Security-Policy", PAGE if page else NOTHING)
    headers.setdefault("Cache-Control", "no-cache" if page else "no-store")
