"""Every job that is not over, and each change of one: in memory, in the store, and told to who watches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.serving import recovery
from hackamore.serving.active import Active, new_job
from hackamore.serving.job import Event, Failure, Job, State
from hackamore.serving.ledger import Ledger
from hackamore.serving.queue import Pace, Queue
from hackamore.serving.refusal import Full, Later, failure_of
from hackamore.serving.request import Request
from hackamore.serving.store import Store
from hackamore.serving.watchers import Told, Watcher, Watchers, call
from hackamore.serving.worker import Made, Outcome

LOG = logging.getLogger(__name__)
Keys = Callable[[Request], Mapping[str, object]]
"""By worker: what requests must share to be worked on together."""


class Board:
    """Transitions of jobs. Safe to use from any thread; it has none of its own."""

    def __init__(
        self, store: Store, keys: Keys, bound: int, seconds: float | None, pace: Pace, over: Sequence[Told] = ()
    ) -> None:
        """``bound``: of waiting jobs. ``seconds``: deadline of jobs that tell none. ``over``: told of all that end."""
        self._store = store
        self._ledger = Ledger(store)
        self._keys = keys
        self._queue = Queue(bound)
        self._seconds = seconds
        self._pace = pace
        self._door = threading.Lock()  # accepting is slow (the disk) and keeps the order of arrival
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._active: dict[str, Active] = {}
        self._watchers = Watchers(over)
        self._last = 0.0
        self._closed = False
        self._giving_up = False
        self.chores = threading.Event()
        """Set when there may be something to expire, to save or to remove."""

    def recover(self) -> None:
        """Take up what an earlier server left."""
        self._last = self._store.newest()
        for job, stop in self._store.unfinished():
            left = recovery.restarted(job, stop, time.time())
            if left != job:
                self._store.save(left)
            if not left.over:
                self._enqueue(Active.of(left, self._keys_again(left)))

    def _keys_again(self, job: Job) -> Mapping[str, object]:
        try:
            return self._keys(self._store.request(job.id))
        except HackamoreError:  # who works on it finds the same, and tells so
            return {}

    def admit(self, live: str | None) -> None:
        """Raises :class:`Full` where there is no room, and :class:`Later` where no more is taken."""
        with self._lock:
            if self._closed:
                raise Later("the server is stopping", remedy="send it again when it runs")
            if not self._queue.room(live):
                raise Full(self._queue.bound, self._pace.room_in())

    def accept(self, request: Request) -> Job:
        """Keep a request that was checked, and queue it; raises like ``admit``."""
        keys = self._keys(request)
        with self._door:
            self.admit(request.live)
            self._last = max(time.time(), self._last + 1e-6)
            job = new_job(request, self._last, self._seconds)
            self._store.accept(job, request)
            with self._lock:
                for old in [one for one in self._active.values() if job.live and one.job.live == job.live]:
                    self._stop(old, "replaced")
                self._enqueue(Active.of(job, keys))
                return self._seen(job)

    def _enqueue(self, active: Active) -> None:
        with self._lock:
            self._active[active.job.id] = active
            self._queue.put(active.entry)
            self._moved()
            self._changed.notify_all()
            if active.job.deadline is not None:
                self.chores.set()

    def take(self, worker: str, size: int) -> list[str]:
        """Wait for work and begin it: up to ``size`` jobs to do together. Empty: the engine stops."""
        with self._lock:
            while not self._closed:
                self.expire()
                careful = any(one.entry.suspect and one.running for one in self._active.values())
                taken = [self._active[one.id] for one in self._queue.take(time.time(), worker, size, careful)]
                if taken and self._begin(taken):
                    return [one.job.id for one in taken]
                if not taken:
                    self._changed.wait()
        return []

    def _begin(self, taken: list[Active]) -> bool:
        now = time.time()
        try:
            self._store.save(*[one.begin(now) for one in taken])
        except Exception as error:
            LOG.exception("work could not be begun")
            for one in taken:
                self._over(one, "failed", failure_of(error))
            return False
        for one in taken:
            self._watchers.tell(one.job)
        self._moved()
        return True

    def told(self, job_id: str, share: float, preview: bytes | None) -> None:
        """How far a running job is."""
        with self._lock:
            active = self._active.get(job_id)
            if active is not None and active.running:
                progress = max(active.job.progress, min(1.0, share))
                self._watchers.tell(active.become(progress=progress), preview)

    def wanted(self, job_id: str) -> bool:
        """Whether work on a running job should go on."""
        with self._lock:
            active = self._active.get(job_id)
            if active is None or self._giving_up:
                return False
            if active.stop is None and active.job.deadline is not None and active.job.deadline <= time.time():
                active.stop = "expired"
            return active.stop is None

    def finish(self, job_id: str, outcome: Outcome) -> None:
        """The end of work on a job; what was made is kept even if it was not wanted any more."""
        size = 0
        if isinstance(outcome, Made) and job_id in self._active:
            try:
                size = self._store.keep(job_id, outcome)
            except WorkFailed as error:
                outcome = failure_of(error)
        with self._lock:
            active = self._active.get(job_id)
            if active is None:
                return
            if isinstance(outcome, Made):
                active.become(pictures=outcome.reports, hints=len(outcome.hints), notices=outcome.notices, progress=1.0)
                self._over(active, "done", size=size)
            elif isinstance(outcome, Failure):
                self._over(active, "failed", outcome)
            elif active.stop is not None:
                self._over(active, active.stop)
            elif self._giving_up:
                self._ledger.save(active.shelve())
            else:
                self._over(active, "failed", Failure(what="the work on it stopped by itself", input=False))

    def back(self, ids: Iterable[str]) -> None:
        """The worker of these running jobs died: they wait again, before all others."""
        with self._lock:
            for active in [self._active[job_id] for job_id in ids if job_id in self._active]:
                again = recovery.again(active.job, time.time())
                if active.stop is not None:
                    self._over(active, active.stop)
                elif again.over:
                    self._over(active, again.state, again.error)
                else:
                    active.job = again
                    self._ledger.save(again)
                    active.entry = replace(active.entry, attempts=again.attempts, returned=True)
                    self._watchers.tell(again)
                    self._enqueue(active)

    def cancel(self, job_id: str) -> Job:
        """Stop it: at once where it waits, between steps where it is worked on; an over one stays as it is."""
        with self._lock:
            active = self._active.get(job_id)
            if active is not None:
                self._stop(active, "cancelled")
            return self.job(job_id)

    def _stop(self, active: Active, state: State) -> None:
        if active.job.id in self._queue:
            self._queue.remove(active.job.id)
            self._over(active, state)
            self._moved()
        elif active.stop is None:
            active.stop = state
            self._ledger.ask(active.job, state)

    def expire(self) -> float | None:
        """End waiting jobs whose deadline has passed; the next deadline, if there is one."""
        with self._lock:
            for one in self._queue.expired(time.time()):
                self._stop(self._active[one.id], "expired")
            return self._queue.next_deadline()

    def _over(self, active: Active, state: State, error: Failure | None = None, size: int = 0) -> None:
        if state == "expired":
            error = recovery.late(active.job)
        job = active.become(state=state, finished=max(time.time(), active.job.created), error=error, ahead=None)
        del self._active[job.id]
        self._ledger.save(job, size)
        self._watchers.tell(job)
        self._changed.notify_all()
        self.chores.set()

    def save_late(self) -> None:
        """Write what could not be written when it happened."""
        with self._lock:
            self._ledger.save_late()

    def _moved(self) -> None:
        """Tell those that are watched while they wait how many are before them now."""
        waiting = [job_id for job_id in self._watchers.ids() if job_id in self._queue]
        ahead = self._ahead() if waiting else {}
        for job_id in waiting:
            active = self._active[job_id]
            if active.job.ahead != ahead[job_id]:
                self._watchers.tell(active.become(ahead=ahead[job_id]))

    def _ahead(self) -> dict[str, int]:
        return {one.id: place for place, one in enumerate(self._queue.order(time.time()))}

    def _seen(self, job: Job, ahead: Mapping[str, int] | None = None) -> Job:
        """The job with its place in the queue."""
        if job.id not in self._queue:
            return job
        return job.model_copy(update={"ahead": (ahead or self._ahead())[job.id]})

    def job(self, job_id: str) -> Job:
        """As it is now. Raises :class:`Unknown`."""
        with self._lock:
            if job_id in self._active:
                return self._seen(self._active[job_id].job)
            return self._ledger.job(job_id)

    def jobs(self, limit: int, before: float | None) -> list[Job]:
        """As they are now, the newest first."""
        with self._lock:
            ahead = self._ahead()
            kept = self._ledger.jobs(limit, before)
            return [self._seen(self._active[one.id].job, ahead) if one.id in self._active else one for one in kept]

    def watch(self, job_id: str, watcher: Watcher) -> Callable[[], None]:
        """Tell it of this job, at once as it is now, until it is over or what this returns is called."""
        with self._lock:
            job = self.job(job_id)
            if call(watcher.told, Event(job=job)) and not job.over:
                self._watchers.add(job_id, watcher)

        def unwatch() -> None:
            with self._lock:
                self._watchers.remove(job_id, watcher)

        return unwatch

    def close(self) -> bool:
        """Accept and begin nothing more; whether that is new."""
        with self._lock:
            was, self._closed = self._closed, True
            self._changed.notify_all()
        self.chores.set()
        return not was

    @property
    def closed(self) -> bool:
        """Whether nothing more is begun."""
        return self._closed

    def give_up(self) -> None:
        """Running jobs are wanted no more; they wait for the next server."""
        with self._lock:
            self._giving_up = True

    def end(self) -> None:
        """Whatever still runs waits for the next server, and nobody is told of it."""
        with self._lock:
            for active in [one for one in self._active.values() if one.running]:
                if active.stop is not None:
                    self._over(active, active.stop)
                else:
                    self._ledger.save(active.shelve())
            self._active.clear()
            self._watchers.end()
