"""What of Gradio's application is let through: its page and the page's own files. It keeps no files of clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

PAGES = frozenset({"/", "/config", "/theme.css", "/robots.txt", "/gradio_api/startup-events", "/gradio_api/info"})
FOLDERS = ("/assets/", "/static/", "/gradio_api/heartbeat/")


class Gate:
    """An application in front of another, which sees only reads of the page; all else is answered 404 here.

    Gradio's routes for uploads, files, proxies, queues and calls are thereby not reachable at all.
    """

    def __init__(self, inner: Asgi) -> None:
        self.inner = inner

    def open_to(self, scope: Scope) -> bool:
        """Whether a request is one that the page makes."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", "")) or "/"
        return (
            scope["type"] == "http"
            and scope["method"] in ("GET", "HEAD")
            and ".." not in path
            and (path in PAGES or path.startswith(FOLDERS))
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self.open_to(scope):
            await self.inner(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            body = b'{"error": {"what": "no such route"}, "detail": "no such route"}'
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 404, "headers": headers})
            await send({"type": "http.response.body", "body": body})
