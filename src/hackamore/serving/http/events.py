"""Server-sent events: what happens to a job, as a browser's EventSource reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import cast

from hackamore.serving.job import Event

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent, so that nothing on the way takes the connection for dead."""
COMMENT = b": still here\n\n"


def frame(event: Event) -> bytes:
    """One event in its wire form, named ``over``, ``preview`` or ``progress``."""
    name = "over" if event.job.over else "progress" if event.preview is None else "preview"
    return f"event: {name}\ndata: {event.model_dump_json()}\n\n".encode()


async def stream(events: AsyncIterator[Event], silence: float = KEEP_ALIVE) -> AsyncIterator[bytes]:
    """The wire form of ``events`` until the job is over, with a comment after each ``silence`` seconds without one."""
    coming: asyncio.Future[Event] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events))
            if not (await asyncio.wait({coming}, timeout=silence))[0]:
                yield COMMENT
                continue
            try:
                event = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield frame(event)
            if event.job.over:
                return
    finally:
        if coming is not None:
            coming.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await coming
        await cast(AsyncGenerator[Event], events).aclose()
