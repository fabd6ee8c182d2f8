"""The store, with patience: what cannot be written when it happens is known here until it can."""

from __future__ import annotations

import logging

from hackamore.core.errors import WorkFailed
from hackamore.serving.job import Job, State
from hackamore.serving.store import Store

LOG = logging.getLogger(__name__)


class Ledger:
    """Saves jobs and reads them. Its caller holds a lock."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unsaved: dict[str, tuple[Job, int]] = {}

    def save(self, job: Job, size: int = 0) -> None:
        """Write what the job is now; ``size``: bytes of its files. A disk that fails is logged."""
        try:
            self._store.save(job, size=size)
            self._unsaved.pop(job.id, None)
        except WorkFailed as error:
            LOG.error("job %s is %s, which cannot be written now: %s", job.id, job.state, error)
            if job.over:  # a waiting one is known to its queue
                self._unsaved[job.id] = job, size

    def ask(self, job: Job, stop: State) -> None:
        """Write that a running job was asked to become ``stop``; should that fail, only a kill would forget it."""
        try:
            self._store.ask(job.id, stop)
        except WorkFailed as error:
            LOG.error("that job %s is to be %s cannot be written: %s", job.id, stop, error)

    def save_late(self) -> None:
        """Write what could not be written when it happened."""
        for job, size in list(self._unsaved.values()):
            self.save(job, size)

    def job(self, job_id: str) -> Job:
        """Raises :class:`Unknown`."""
        return self._unsaved[job_id][0] if job_id in self._unsaved else self._store.job(job_id)

    def jobs(self, limit: int, before: float | None) -> list[Job]:
        """The newest first."""
        kept = self._store.jobs(limit, before)
        return [self._unsaved[job.id][0] if job.id in self._unsaved else job for job in kept]
