"""Bodies on their way in: whole, in pieces of any size, and never more of them at once than there is room for."""

from __future__ import annotations

import asyncio
import json

import pytest

pytest.importorskip("fastapi")
from hackamore.serving.http.bodies import Bodies


class Desk:
    """Reads each body, and answers it when ``go`` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.read: list[bytes] = []

    async def __call__(self, scope, receive, send) -> None:
        self.read.append((await receive())["body"])
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def ask(app, parts: list[bytes]) -> tuple[int, dict[bytes, bytes], bytes]:
    """Post ``parts``; status, headers and body of the answer."""
    coming = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    coming.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[dict] = []

    async def receive():
        await asyncio.sleep(0)
        return coming.pop(0)

    async def send(message):
        sent.append(message)

    await app({"type": "http", "headers": [], "method": "POST", "path": "/"}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(one.get("body", b"") for one in sent[1:])


def test_what_all_requests_together_hold_is_bounded():
    async def play():
        desk = Desk()
        app = Bodies(desk, most=1000, together=1500)
        first = asyncio.ensure_future(ask(app, [b"a" * 400, b"a" * 500]))
        while not desk.read:
            await asyncio.sleep(0)
        status, headers, told = await ask(app, [b"b" * 400, b"b" * 400])
        assert (status, headers[b"retry-after"]) == (503, b"1")
        assert "room for bodies" in json.loads(told)["error"]["what"]
        third = asyncio.ensure_future(ask(app, [b"c" * 600]))  # what was refused takes no room
        while len(desk.read) < 2:
            await asyncio.sleep(0)
        desk.go.set()
        assert [(await one)[0] for one in (first, third)] == [200, 200]
        assert (await ask(app, [b"d" * 1000]))[0] == 200
        assert app.room.held == 0
        return desk.read

    assert asyncio.run(play()) == [b"a" * 900, b"c" * 600, b"d" * 1000]


def test_there_is_room_for_a_body_alone():
    async def play():
        desk = Desk()
        desk.go.set()
        app = Bodies(desk, most=1000, together=10)
        assert [(await ask(app, [b"x" * 600, b"x" * size]))[0] for size in (400, 401)] == [200, 413]
        assert app.room.held == 0

    asyncio.run(play())


def test_a_body_in_the_smallest_pieces_is_whole():
    body = bytes(range(256)) * 40

    async def play():
        desk = Desk()
        desk.go.set()
        await ask(Bodies(desk, most=len(body), together=len(body)), [body[k : k + 1] for k in range(len(body))])
        return desk.read

    assert asyncio.run(play()) == [body]
