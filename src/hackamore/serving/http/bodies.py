"""Bodies of requests, before anything else reads them: not too long, not too deep, and numbers that are numbers."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hackamore.core.errors import HackamoreError
from hackamore.serving.http.errors import Refused, reply

DEEPEST = 40
"""Levels of JSON in JSON."""
MOST_VALUES = 500_000
"""Values of one JSON body: a short text may hold so many that reading it would fill the memory."""
SECONDS = 300.0
"""A body has arrived whole after so long, or is not waited for any more."""
SMALL = 256 * 1024
"""Bytes of a body that is checked at once rather than in a thread of its own."""


class Room:
    """How many bytes of bodies may be held at once, by all requests together."""

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0


class Arriving:
    """A body on its way; its bytes count in ``room`` until it is let go of."""

    def __init__(self, room: Room) -> None:
        self._room, self._data, self._size = room, bytearray(), 0

    def add(self, part: bytes) -> bool:
        """Keep one more part; False where there is no room. For a body alone there always is."""
        if self._room.held + len(part) > self._room.most and self._room.held > self._size:
            return False
        self._data += part
        self._room.held += len(part)
        self._size += len(part)
        return True

    def whole(self) -> bytes:
        """All that came, which is not held here any more but counts still."""
        data, self._data = bytes(self._data), bytearray()
        return data

    def let_go(self) -> None:
        """It counts no more."""
        self._room.held -= self._size
        self._data, self._size = bytearray(), 0


class Bodies:
    """Reads the whole body of each request, at most ``most`` bytes, and hands it on; a wrong one gets no further.

    ``together``: bytes of all bodies that are held at once, each until its request is answered.
    """

    def __init__(self, app: ASGIApp, most: int, together: int) -> None:
        self.app, self.most, self.room = app, most, Room(together)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        arriving = Arriving(self.room)
        try:
            await self._answer(arriving, scope, receive, send)
        finally:
            arriving.let_go()

    async def _answer(self, arriving: Arriving, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            async with asyncio.timeout(SECONDS):
                here = await self._read(arriving, headers, receive)
            if not here:
                return
            body = arriving.whole()
            if _is_json(headers.get("content-type", "")):
                await (asyncio.to_thread(check_json, body) if len(body) > SMALL else _at_once(body))
        except TimeoutError:
            error = Refused(408, "the body did not arrive in time", expected=f"within {SECONDS:g} seconds")
            await reply(error)(scope, receive, send)
        except HackamoreError as error:
            await reply(error)(scope, receive, send)
        else:
            await self.app(scope, _again(body, receive), send)

    async def _read(self, arriving: Arriving, headers: Headers, receive: Receive) -> bool:
        """Read it all; False where the client is gone. One that is refused is read a little further, so that the
        client comes to hear of it."""
        told = headers.get("content-length", "0")
        if not told.isascii() or not told.isdigit():
            raise HackamoreError("the length of the body is not understood", received=told)
        length, refusal = 0, self._too_long(told, 0)
        while True:
            try:
                message = await asyncio.wait_for(receive(), 2.0 if refusal else None)
            except TimeoutError:
                break
            if message["type"] == "http.disconnect":
                return False
            part = message.get("body", b"")
            length += len(part)
            refusal = refusal or self._too_long(told, length)
            if refusal is None and not arriving.add(part):
                refusal = _no_room(self.room)
            if refusal is not None:
                arriving.let_go()
            if not message.get("more_body", False) or length > 2 * self.most:
                break
        if refusal is not None:
            raise refusal
        return True

    def _too_long(self, told: str, length: int) -> Refused | None:
        """Why a body of ``length`` bytes so far, whose client told ``told``, is refused for its length."""
        known = len(told) <= 18
        if known and max(int(told), length) <= self.most:
            return None
        received = f"{int(told):,} bytes" if known and int(told) else f"more than {self.most:,} bytes"
        return Refused(413, "the body is too long", received=received, expected=f"at most {self.most:,} bytes")


def _no_room(room: Room) -> Refused:
    what = "the bodies of other requests fill the room for bodies"
    expected = f"{room.most:,} bytes of all that are held at once"
    return Refused(503, what, expected=expected, remedy="send it again in a second", headers={"Retry-After": "1"})


def check_json(body: bytes) -> None:
    """Raise :class:`HackamoreError` for what is not JSON, or JSON that no honest client sends.

    That is more than :data:`DEEPEST` levels, more than :data:`MOST_VALUES` values, NaN, infinity, numbers that become
    infinite, and text that is no Unicode.
    """
    if not body.strip():
        return
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) > MOST_VALUES:
        raise Refused(413, "the JSON holds too many values", expected=f"at most {MOST_VALUES:,}")
    try:
        told = json.loads(body, parse_constant=_not_a_number)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise HackamoreError("the body is not valid JSON", received=str(error)) from error
    _walk(told)


def _walk(told: Any) -> None:
    """Check every value, level by level."""
    level, depth = [told], 0
    while level:
        if depth > DEEPEST:
            raise _too_deep()
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one)
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
            elif isinstance(one, float) and not math.isfinite(one):
                raise HackamoreError("the JSON holds a number that is too large", expected="finite numbers")
            elif isinstance(one, str) and not one.isascii() and not _is_text(one):
                raise HackamoreError("the JSON holds text that is no Unicode", received="half of a surrogate pair")
        level, depth = below, depth + 1


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _too_deep() -> HackamoreError:
    return HackamoreError("the JSON is too deep", expected=f"at most {DEEPEST} levels")


def _not_a_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind.endswith(("/json", "+json"))


async def _at_once(body: bytes) -> None:
    check_json(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """A door through which the body comes once more, and after it what else the client does."""
    rest: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return rest.pop() if rest else await receive()

    return receive_again
