"""Who may come in: a token, the right name of a loopback server, pages of this server and of no other."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from hackamore.core.errors import HackamoreError
from hackamore.serving.canvas.gate import FOLDERS, PAGES
from hackamore.serving.http.bodies import Bodies
from hackamore.serving.http.errors import Refused, reply
from hackamore.serving.settings import ServeSettings

COOKIE = "hackamore_token"
READS = ("GET", "HEAD")
OPEN = frozenset({"/healthz", "/docs", "/openapi.json", "/favicon.ico"}) | PAGES
OPEN_FOLDERS = ("/canvas/", *FOLDERS)
"""What may be read without a token: the page that asks for it and its files, never a picture or a job."""
SHORTEST_TOKEN = 8


def guard(app: FastAPI, settings: ServeSettings) -> None:
    """Put the guards before every route of ``app``."""
    limits = settings.limits
    app.add_middleware(Bodies, most=int(limits.body_mib * 2**20), together=int(limits.bodies_mib * 2**20))
    if settings.token is None:
        app.add_middleware(Near)
    else:
        app.add_middleware(Token, token=settings.token)


def is_loopback(host: str) -> bool:
    """Whether a server that listens on ``host`` can be reached from its own machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost" or host.lower().endswith(".localhost")


def check_token(settings: ServeSettings) -> None:
    """Raise :class:`HackamoreError` where anybody could come in, or a token is too short or cannot be sent."""
    if settings.token is None:
        if not is_loopback(settings.host):
            raise HackamoreError(
                "a server that others can reach needs a token",
                received=f"host {settings.host}",
                expected="a secret that its users are told",
                remedy="--token SECRET, or HACKAMORE_TOKEN in the environment, or --host 127.0.0.1",
            )
    elif len(settings.token) < SHORTEST_TOKEN or not settings.token.isascii() or not settings.token.isprintable():
        expected = f"at least {SHORTEST_TOKEN} letters, digits and signs, without spaces"
        raise HackamoreError("the token cannot be used", expected=expected)
    elif any(sign in settings.token for sign in ' ";,\\'):
        raise HackamoreError("the token cannot be used", expected='none of: space " ; , \\')


class Token:
    """Lets in who knows the token; compares it in constant time.

    It is sent as ``Authorization: Bearer TOKEN``, or as the password of ``Basic``, which clients of the WebUI send;
    reads may send it as a cookie, which pictures and event streams of a page need.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and not self._open(scope) and not self._known(scope):
            error = Refused(
                401,
                "the token is missing or wrong",
                expected="Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )
            await reply(error)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _open(self, scope: Scope) -> bool:
        path = scope["path"]
        return scope["method"] in READS and ".." not in path and (path in OPEN or path.startswith(OPEN_FOLDERS))

    def _known(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        scheme, _, told = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._right(told.strip())
        if scheme.lower() == "basic":
            return self._right(_password(told.strip()))
        return scope["method"] in READS and self._right(_cookie(headers.get("cookie", "")))

    def _right(self, told: str) -> bool:
        return hmac.compare_digest(told.encode("utf-8", "replace"), self.token)


class Near:
    """Of a loopback server without a token: lets in requests that name it as such, and no other sites' pages.

    A page elsewhere could otherwise have its own name resolved to this machine, or post here unseen.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not is_loopback(_name(host)):
            error = Refused(
                403,
                "this server answers on its own machine only",
                received=host,
                remedy="http://127.0.0.1 and the port",
            )
        elif scope["method"] not in READS and (
            headers.get("sec-fetch-site") == "cross-site" or (origin is not None and origin.partition("://")[2] != host)
        ):
            error = Refused(403, "a page of another site may not do this", received=origin)
        else:
            await self.app(scope, receive, send)
            return
        await reply(error)(scope, receive, send)


def _name(host: str) -> str:
    """The name in a ``Host`` header, without the port."""
    name, sign, port = host.rpartition(":")
    return name if sign and port.isdigit() else host


def _password(told: str) -> str:
    try:
        return base64.b64decode(told, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _cookie(told: str) -> str:
    try:
        found = SimpleCookie(told).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
