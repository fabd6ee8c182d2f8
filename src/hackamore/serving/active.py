"""A job that is not over: how it begins, and what it becomes on the way."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from hackamore.serving.job import Job, State
from hackamore.serving.queue import Waiting
from hackamore.serving.request import Request

PICTURES: Any = {"init": True, "mask": True, "controls": {"__all__": {"image", "mask", "people"}}}
"""Of a request: what is no part of its summary."""


def new_job(request: Request, created: float, seconds: float | None) -> Job:
    """The job of a request that was accepted; ``seconds``: its deadline where it tells none."""
    wait = request.deadline or seconds
    return Job(
        id=uuid.uuid4().hex,
        priority=request.priority,
        live=request.live,
        created=created,
        deadline=None if wait is None else created + wait,
        summary=request.model_dump(mode="json", exclude=PICTURES),
    )


@dataclass
class Active:
    """A job that waits or is worked on, and its place in the queue; ``stop``: the state that was asked for instead."""

    job: Job
    entry: Waiting
    stop: State | None = None

    @classmethod
    def of(cls, job: Job, keys: Mapping[str, object]) -> Self:
        """``keys``: by worker, what jobs must share to be worked on together."""
        return cls(
            job, Waiting(job.id, job.created, job.priority, job.live, job.deadline, job.attempts, keys=dict(keys))
        )

    @property
    def running(self) -> bool:
        """Whether it is worked on."""
        return self.job.state == "running"

    def become(self, **told: Any) -> Job:
        """Change the job."""
        self.job = self.job.model_copy(update=told)
        return self.job

    def begin(self, now: float) -> Job:
        """Work on it begins."""
        return self.become(state="running", started=now, attempts=self.job.attempts + 1, ahead=None)

    def shelve(self) -> Job:
        """Work on it is given up for now, and that beginning does not count."""
        return self.become(state="queued", started=None, progress=0.0, attempts=self.job.attempts - 1)
