"""Routes that answer when the picture is there: given up when its client hangs up, and only so many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.serving.engine import Engine
from hackamore.serving.http.errors import Refused
from hackamore.serving.job import Job
from hackamore.serving.refusal import Later

Value = TypeVar("Value")
ONCE = {"x-should-retry": "false"}
"""Of an answer that would be the same again: OpenAI's clients ask no further."""
GLANCE = 0.2
"""Seconds between two looks whether the client is still there."""
HUNG_UP = 499
INTERRUPTED = 409


class Unmade(WorkFailed):
    """The work on a job failed."""

    headers = ONCE


class Late(Later):
    """The deadline of a job passed."""

    headers = ONCE


class Narrow:
    """Runs work in threads, little of it at a time; where ``most`` wait already, one more is answered 429."""

    def __init__(self, at_once: int, most: int) -> None:
        self._limiter, self._most, self._here = CapacityLimiter(at_once), at_once + most, 0

    async def run(self, work: Callable[[], Value]) -> Value:
        """What ``work`` gives."""
        if self._here >= self._most:
            raise Refused(429, "too many pictures wait to be annotated", headers={"Retry-After": "1"})
        self._here += 1  # the limiter itself counts later, when several have come in
        try:
            return await to_thread.run_sync(work, limiter=self._limiter)
        finally:
            self._here -= 1


async def until_over(engine: Engine, job_id: str, gone: Callable[[], Awaitable[bool]]) -> Job:
    """The job when it is over; where ``gone()`` it is cancelled, and :class:`Refused` tells nobody so."""
    waiting = asyncio.ensure_future(engine.wait(job_id))
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=GLANCE)
            if done:
                return waiting.result()
            if await gone():
                await run_in_threadpool(engine.cancel, job_id)
                raise Refused(HUNG_UP, "the client hung up; its job was cancelled")
    finally:
        waiting.cancel()


def refuse_unmade(job: Job) -> None:
    """Raise for a job that is over without pictures: what was wrong with it, or who stopped it."""
    if job.state == "done":
        return
    error = job.error
    if error is None:
        what = "the generation was interrupted"
        raise Refused(INTERRUPTED, what, received=job.state, remedy="ask for it again", headers=ONCE)
    kind = HackamoreError if error.input else Late if job.state == "expired" else Unmade
    raise kind(error.what, received=error.received, expected=error.expected, remedy=error.remedy)
