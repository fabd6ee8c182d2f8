"""The threads that bring jobs to workers, one a worker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from hackamore.core.errors import HackamoreError
from hackamore.serving.board import Board
from hackamore.serving.job import Failure
from hackamore.serving.queue import Pace
from hackamore.serving.refusal import FAULT, failure_of
from hackamore.serving.request import Request
from hackamore.serving.store import Store
from hackamore.serving.worker import Made, Outcome, Worker, WorkerDied

LOG = logging.getLogger(__name__)
BACKOFF = 0.5
"""Seconds after which a worker that died is asked again; twice as long each time it dies in a row."""
LONGEST = 60.0


class Hand(threading.Thread):
    """Gives its worker one batch of up to ``size`` jobs after the other, until the board is closed."""

    def __init__(
        self, worker: Worker, board: Board, store: Store, size: int, pace: Pace, telling: Callable[[Failure], Failure]
    ) -> None:
        """``telling``: from a failure to what clients are told of it."""
        super().__init__(name=f"hand of {worker.name}", daemon=True)
        self.worker = worker
        self.resting = False
        """Whether its worker died and is not asked again yet."""
        self._deaths = 0  # in a row
        self._board = board
        self._store = store
        self._size = size
        self._pace = pace
        self._telling = telling
        self._leave = threading.Event()

    def leave(self) -> None:
        """Wait no more for a worker that died."""
        self._leave.set()

    def run(self) -> None:
        """Until the board is closed. What nobody foresaw fails the jobs that it happened to, and no more."""
        going = True
        while going:
            ids: list[str] = []
            try:
                ids = self._board.take(self.worker.name, self._size)
                going = bool(ids)
                self._do(ids)
            except Exception:
                LOG.exception("worker %s could not be given work, or its work could not be kept", self.worker.name)
                self._fail(ids)
                self._leave.wait(BACKOFF)

    def _do(self, ids: list[str]) -> None:
        requests = {job_id: request for job_id in ids if (request := self._read(job_id)) is not None}
        if not requests:
            return
        began = time.monotonic()
        try:
            self._work(requests)
        except WorkerDied as error:
            self._deaths += 1
            LOG.warning("worker %s died (%d in a row): %s", self.worker.name, self._deaths, error)
            self.resting = True
            try:
                self._board.back(requests)
                self._leave.wait(min(LONGEST, BACKOFF * 2 ** min(20, self._deaths - 1)))
            finally:
                self.resting = False
            return
        self._deaths = 0
        self._pace.add(time.monotonic() - began, len(requests))

    def _fail(self, ids: list[str]) -> None:
        for job_id in ids:
            try:
                self._board.finish(job_id, FAULT)
            except Exception:
                LOG.exception("job %s could not be ended", job_id)

    def _read(self, job_id: str) -> Request | None:
        try:
            return self._store.request(job_id)
        except HackamoreError as error:
            self._end(job_id, failure_of(error))
            return None

    def _work(self, requests: dict[str, Request]) -> None:
        ids = list(requests)
        outcomes: list[Outcome]
        try:
            outcomes = self.worker.work(
                list(requests.values()),
                lambda number, share, preview: self._board.told(ids[number], share, preview),
                lambda number: self._board.wanted(ids[number]),
            )
            if len(outcomes) != len(ids) or any(isinstance(one, Made) and not _complete(one) for one in outcomes):
                raise RuntimeError("the outcomes are not those of the requests")
        except WorkerDied:
            raise
        except Exception:
            LOG.exception("worker %s failed", self.worker.name)
            outcomes = [FAULT] * len(ids)
        for job_id, outcome in zip(ids, outcomes, strict=True):
            self._end(job_id, outcome)

    def _end(self, job_id: str, outcome: Outcome) -> None:
        """Why a job failed is logged, without what was received: that may be what people wrote."""
        if isinstance(outcome, Failure):
            fields = {"job": job_id, "worker": self.worker.name, "what": outcome.what, "input": outcome.input}
            LOG.log(logging.INFO if outcome.input else logging.WARNING, "job failed", extra={"fields": fields})
            outcome = self._telling(outcome)
        self._board.finish(job_id, outcome)


def _complete(made: Made) -> bool:
    return len(made.pictures) == len(made.reports)
