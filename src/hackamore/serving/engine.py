"""The engine: requests come in by any protocol, wait in one queue, and become pictures on any worker."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.serving.board import Board
from hackamore.serving.crew import Hand
from hackamore.serving.job import Event, Job
from hackamore.serving.private import telling
from hackamore.serving.queue import Pace
from hackamore.serving.refusal import Full, Later, Unknown
from hackamore.serving.request import Request
from hackamore.serving.settings import ServeSettings
from hackamore.serving.store import Store
from hackamore.serving.watchers import Newest, Watcher
from hackamore.serving.worker import Worker

__all__ = ["Engine", "Full", "Unknown"]

LOG = logging.getLogger(__name__)
LOCK = ".serving"
SETTLE = 5.0
"""Seconds within which a worker must notice that its work is not wanted any more."""
SWEEP = 60.0
"""Seconds between two looks at what is too old."""
MOST = 1000


class Engine:
    """A bounded queue, one thread a worker, and what outlives them: jobs in SQLite and pictures in files.

    All methods may be called from any thread. Those that take a job's id raise :class:`Unknown` where there is none;
    every one raises :class:`WorkFailed` where the server's disk fails, or outside ``start`` and ``stop``.
    """

    def __init__(self, settings: ServeSettings, workers: Sequence[Worker], check: Callable[[Request], Request]) -> None:
        """``check`` fills a request in, or raises :class:`HackamoreError`."""
        self._settings = settings
        self._workers = tuple(workers)
        self._check = check
        self._pace = Pace(len(workers))
        self._lock = FileLock(settings.folder / LOCK, thread_local=False)
        self._hands: tuple[Hand, ...] = ()
        self._keeper = threading.Thread(target=self._keep_house, name="housekeeper", daemon=True)
        self._store: Store | None = None
        self._board: Board | None = None
        self._listeners: list[Callable[[Event], None]] = []
        self._aside = ThreadPoolExecutor(1, "beside event loops")  # one: what came first is done first

    def start(self) -> None:
        """Take up what an earlier server left, and begin to work.

        Raises :class:`HackamoreError` where another server has the folder, it cannot be written, or its database is
        damaged.
        """
        if self._board is not None:
            raise RuntimeError("an engine starts once")
        self._alone()
        try:
            self._store = Store(self._settings.folder)
            limits = self._settings.limits
            self._board = Board(self._store, self._keys, limits.queue, limits.seconds, self._pace, self._listeners)
            self._store.tidy()
            self._board.recover()
        except BaseException:
            if self._store is not None:
                self._store.close()
            self._lock.release()
            raise
        told, plainly = self._settings.batch, telling(self._settings)
        self._hands = tuple(
            Hand(one, self._board, self._store, told or _usual_batch(one), self._pace, plainly) for one in self._workers
        )
        for thread in (*self._hands, self._keeper):
            thread.start()

    def _alone(self) -> None:
        folder = self._settings.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise HackamoreError(
                f"another server works in {folder}", remedy="another --folder, or stop the other one"
            ) from error
        except OSError as error:
            raise HackamoreError(f"{folder} cannot be written", received=error.strerror or str(error)) from error

    def stop(self, grace: float = 10.0) -> None:
        """Let running jobs end within ``grace`` seconds; the others wait for the next start, as queued ones do."""
        if self._board is None or self._store is None or not self._board.close():
            return
        for hand in self._hands:
            hand.leave()
        _join(self._hands, grace)
        self._board.give_up()
        _join(self._hands, SETTLE)
        self._board.end()
        for worker in self._workers:
            try:
                worker.close()
            except Exception:
                LOG.exception("worker %s could not be closed", worker.name)
        self._keeper.join()
        self._store.close()
        self._lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def submit(self, request: Request) -> Job:
        """Check a request, keep it and queue it. Raises :class:`HackamoreError`; :class:`Full` without room."""
        self._at.admit(request.live)  # cheaper than checking it
        return self._at.accept(self._check(request))

    def job(self, job_id: str) -> Job:
        """As it is now."""
        return self._at.job(job_id)

    def jobs(self, limit: int = 100, before: float | None = None) -> list[Job]:
        """The newest first, created before ``before``; 1 to 1000 of them."""
        return self._at.jobs(min(MOST, max(1, limit)), before)

    def cancel(self, job_id: str) -> Job:
        """Stop it: at once where it waits, between steps where it is worked on; an over one stays as it is.

        A picture that was finished before the worker asked is kept, and its job is done.
        """
        return self._at.cancel(job_id)

    def delete(self, job_id: str) -> None:
        """Remove an over job and its files."""
        if not self.job(job_id).over:
            raise HackamoreError("only a job that is over can be removed", received=job_id, remedy="cancel it first")
        self._kept.delete(job_id)

    def request(self, job_id: str) -> Request:
        """What was asked, with everything filled in."""
        return self._kept.request(job_id)

    def watch(self, job_id: str, told: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``told``, at once with the present state, then whenever something happens, from any thread.

        It must return at once. What this returns ends it; so does the end of the job, or an error of ``told``.
        """
        return self._at.watch(job_id, Watcher(told, lambda: None))

    def listen(self, told: Callable[[Event], None]) -> None:
        """Call ``told`` of every job that is over, from any thread, as long as the engine lives; it returns at once."""
        self._listeners.append(told)

    async def events(self, job_id: str) -> AsyncGenerator[Event, None]:
        """From the present state until it is over, or the engine stops. Who reads slowly gets the newest."""
        loop = asyncio.get_running_loop()
        newest = Newest()

        def told(event: Event) -> None:
            loop.call_soon_threadsafe(newest.put, event)

        def gone() -> None:
            loop.call_soon_threadsafe(newest.end)

        async with self.watched(job_id, told, gone):
            async for event in newest.read():
                yield event

    @asynccontextmanager
    async def watched(
        self, job_id: str, told: Callable[[Event], None], gone: Callable[[], None] = lambda: None
    ) -> AsyncIterator[None]:
        """Inside this ``told`` is called as by ``watch``. The event loop waits for no lock: others may write long.

        ``gone``: called where nothing more will happen to the job here, although it is not over.
        """
        watching = self._aside.submit(self._at.watch, job_id, Watcher(told, gone))
        try:
            await asyncio.wrap_future(watching)
            yield
        finally:
            self._aside.submit(_leave, watching)

    async def wait(self, job_id: str) -> Job:
        """The job when it is over. Raises :class:`Later` where the engine stops before."""
        async with aclosing(self.events(job_id)) as events:
            async for event in events:
                if event.job.over:
                    return event.job
        raise Later("the server is stopping", remedy="ask for the job again: it is done when the server runs")

    def picture(self, job_id: str, index: int) -> Path:
        """Where picture ``index`` of a done job lies. Raises :class:`Unknown`."""
        return self._file(job_id, "picture", index, len(self.job(job_id).pictures))

    def hint(self, job_id: str, index: int) -> Path:
        """Where the hint of unit ``index`` of a done job lies. Raises :class:`Unknown`."""
        return self._file(job_id, "hint", index, self.job(job_id).hints)

    def _file(self, job_id: str, what: str, index: int, count: int) -> Path:
        if not 0 <= index < count:
            there = f"0 to {count - 1}" if count else f"a done job; this one has no {what}"
            raise Unknown(f"there is no such {what}", received=index, expected=there)
        return self._kept.file(job_id, f"{what}-{index}.png")

    def counts(self) -> dict[str, int]:
        """How many jobs are kept, by state."""
        return self._kept.counts()

    def workers(self) -> dict[str, bool]:
        """Whether each worker runs; one that died and is not yet asked again does not."""
        return {hand.worker.name: hand.is_alive() and not hand.resting for hand in self._hands}

    @property
    def running(self) -> bool:
        """Whether it takes requests and a worker does them."""
        return any(hand.is_alive() for hand in self._hands) and not self._at.closed

    @property
    def _at(self) -> Board:
        if self._board is None:
            raise Later("the server has not started")
        return self._board

    @property
    def _kept(self) -> Store:
        if self._store is None:
            raise Later("the server has not started")
        return self._store

    def _keys(self, request: Request) -> Mapping[str, object]:
        return {worker.name: _key(worker, request) for worker in self._workers}

    def _keep_house(self) -> None:
        board, store, settings = self._at, self._kept, self._settings
        while not board.closed:
            deadline = None
            try:
                deadline = board.expire()
                board.save_late()
                store.sweep(time.time() - settings.keep_hours * 3600, settings.keep_mib << 20)
            except WorkFailed as error:
                LOG.error("old results could not be removed: %s", error)
            except Exception:
                LOG.exception("the house could not be kept")
            board.chores.wait(SWEEP if deadline is None else min(SWEEP, max(0.0, deadline - time.time())))
            board.chores.clear()


def _key(worker: Worker, request: Request) -> object:
    try:
        return worker.key(request)
    except HackamoreError:  # what is not offered any more; the work on it tells so in words
        return None


def _usual_batch(worker: Worker) -> int:
    """How many jobs a worker does at once where the operator told nothing: what it says itself, else one."""
    return int(getattr(worker, "batch", 1))


def _leave(watching: Future[Callable[[], None]]) -> None:
    """End a watch; nothing where it never began."""
    if not watching.cancelled() and watching.exception() is None:
        watching.result()()


def _join(hands: Sequence[Hand], seconds: float) -> None:
    end = time.monotonic() + seconds
    for hand in hands:
        hand.join(max(0.0, end - time.monotonic()))
