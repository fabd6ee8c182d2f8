"""Who wants to be told what happens to jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from hackamore.serving.job import Event, Job
from hackamore.serving.pictures import encoded

LOG = logging.getLogger(__name__)
Told = Callable[[Event], None]


@dataclass(frozen=True, eq=False)
class Watcher:
    """``told`` hears of each event, ``gone`` that none will come although the job is not over."""

    told: Told
    gone: Callable[[], None]


class Watchers:
    """Watchers by job. Its caller holds a lock, so that all are told in the order in which things happen.

    ``over``: told of every job that is over, whether or not it is watched.
    """

    def __init__(self, over: Sequence[Told] = ()) -> None:
        self._over = over
        self._of: dict[str, list[Watcher]] = {}
        self._ended = False

    def ids(self) -> list[str]:
        """Of jobs that somebody watches."""
        return list(self._of)

    def add(self, job_id: str, watcher: Watcher) -> None:
        """Tell it of this job from now on; after the end, that nothing more will come."""
        if self._ended:
            _gone(watcher)
            return
        self._of.setdefault(job_id, []).append(watcher)

    def remove(self, job_id: str, watcher: Watcher) -> None:
        """Tell it no more; nothing where it is not told."""
        left = [one for one in self._of.get(job_id, []) if one is not watcher]
        if left:
            self._of[job_id] = left
        else:
            self._of.pop(job_id, None)

    def tell(self, job: Job, preview: bytes | None = None) -> None:
        """What the job is now; after it is over nobody watches it."""
        for told in self._over if job.over else ():
            call(told, Event(job=job))
        if job.id not in self._of:
            return
        event = Event(job=job, preview=encoded(preview) if preview else None)
        for watcher in self._of[job.id]:
            if not call(watcher.told, event):
                self.remove(job.id, watcher)
        if job.over:
            self._of.pop(job.id, None)

    def end(self) -> None:
        """Nothing more will happen here."""
        self._ended = True
        watching, self._of = self._of, {}
        for watcher in (one for several in watching.values() for one in several):
            _gone(watcher)


def _gone(watcher: Watcher) -> None:
    try:
        watcher.gone()
    except Exception:
        LOG.exception("a watcher failed")


def call(told: Told, event: Event) -> bool:
    """Tell; whether it could be told. A watcher that fails harms no other."""
    try:
        told(event)
    except Exception:
        LOG.exception("a watcher failed and is told no more")
        return False
    return True


class Newest:
    """The newest event, for one reader of an event loop; who reads slowly misses those between.

    A preview that was not read is kept until there is a newer one.
    """

    def __init__(self) -> None:
        self._event: Event | None = None
        self._ended = False
        self._news = asyncio.Event()

    def put(self, event: Event) -> None:
        """From the loop's own thread."""
        if self._event is not None and event.preview is None:
            event = event.model_copy(update={"preview": self._event.preview})
        self._event = event
        self._news.set()

    def end(self) -> None:
        """No more events; what is there is still read."""
        self._ended = True
        self._news.set()

    async def read(self) -> AsyncIterator[Event]:
        """Until the job is over, or nothing more will happen to it here."""
        while True:
            await self._news.wait()
            self._news.clear()
            event, self._event = self._event, None
            if event is not None:
                yield event
            if self._ended or (event is not None and event.job.over):
                return
