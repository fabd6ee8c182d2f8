"""What the WebUI's routes share: the base that is chosen, and the jobs that came in through them."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from hackamore.serving.engine import Engine, Unknown
from hackamore.serving.job import Event, Job


@dataclass
class Going:
    """A job on its way, its newest rough picture (PNG, base64), and its steps and pictures."""

    id: str
    steps: int
    pictures: int
    preview: str | None = None

    def told(self, event: Event) -> None:
        """Keep the newest rough picture."""
        self.preview = event.preview or self.preview


class Desk:
    """The state of one app's WebUI routes; safe from many threads."""

    def __init__(self, engine: Engine, base: str) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._going: dict[str, Going] = {}
        self._base = base

    @property
    def base(self) -> str:
        """The name of the base that is taken where a client names none."""
        return self._base

    @base.setter
    def base(self, name: str) -> None:
        self._base = name

    @asynccontextmanager
    async def going(self, job_id: str, steps: int, pictures: int) -> AsyncIterator[None]:
        """A job is on its way inside this."""
        mine = Going(job_id, steps, pictures)
        with self._lock:
            self._going[job_id] = mine
        try:
            async with self._engine.watched(job_id, mine.told):
                yield
        finally:
            with self._lock:
                self._going.pop(job_id, None)

    def current(self) -> tuple[Going, Job] | None:
        """The oldest job that is worked on, else the oldest that waits: the WebUI has one at a time."""
        with self._lock:
            going = list(self._going.values())
        known = [(one, job) for one in going if (job := self._job(one.id)) is not None and not job.over]
        running = [pair for pair in known if pair[1].state == "running"]
        return next(iter(running or known), None)

    def stop(self) -> bool:
        """Cancel the job that :meth:`current` tells; whether there was one."""
        current = self.current()
        if current is not None:
            self._engine.cancel(current[0].id)
        return current is not None

    def progress(self, now: float, with_picture: bool) -> dict[str, Any]:
        """``/progress`` in the WebUI's words."""
        with self._lock:
            count = len(self._going)
        current = self.current()
        if current is None:
            return _progress(0.0, 0.0, "", 0, 0, 0, None)
        going, job = current
        spent = 0.0 if job.started is None else max(0.0, now - job.started)
        left = spent / job.progress - spent if job.progress else 0.0
        step = min(going.steps, int(job.progress * going.pictures * going.steps) % going.steps)
        shown = going.preview if with_picture else None
        # a share of 0 with no job says "nothing to do" to clients
        return _progress(max(job.progress, 0.01), left, job.id, count, step, going.steps, shown)

    def _job(self, job_id: str) -> Job | None:
        try:
            return self._engine.job(job_id)
        except Unknown:  # removed meanwhile
            return None


def _progress(
    share: float, left: float, job: str, count: int, step: int, steps: int, picture: str | None
) -> dict[str, Any]:
    state = {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": job,
        "job_count": count,
        "job_timestamp": "0",
        "job_no": 0,
        "sampling_step": step,
        "sampling_steps": steps,
    }
    return {"progress": share, "eta_relative": left, "state": state, "current_image": picture, "textinfo": None}
