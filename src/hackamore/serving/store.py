"""What outlives the server: accepted jobs in SQLite, pictures and hints as files beside it."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.core.files import clear_leftovers, written_whole
from hackamore.serving.job import Job, State
from hackamore.serving.refusal import Later, NotKept, Unknown, failure_of
from hackamore.serving.request import Request
from hackamore.serving.worker import Made

LOG = logging.getLogger(__name__)
FILE = "jobs.sqlite"
RESULTS = "results"
VERSION = 1
FOLDER = re.compile(r"[0-9a-f]{32}")
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, created REAL NOT NULL, state TEXT NOT NULL, finished REAL, bytes INTEGER NOT NULL,
    job TEXT NOT NULL, stop TEXT
);
CREATE TABLE IF NOT EXISTS requests (
    id TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE, request TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_created ON jobs (created);
CREATE INDEX IF NOT EXISTS by_state ON jobs (state);
CREATE INDEX IF NOT EXISTS by_finished ON jobs (finished, bytes);
"""
ROW = "id, created, finished, CAST(job AS BLOB)"
"""Of a job: bytes, since SQLite gives up a whole answer for one text that is no Unicode."""
Kind = TypeVar("Kind", Job, Request)
SWEEP = 1000
"""So many jobs are removed at once."""


class Store:
    """Jobs, their requests and their results in ``folder``. Safe to use from any thread, by one process at a time.

    What a method wrote is on the disk when it returns. Every method raises :class:`WorkFailed` where the disk takes
    no more or the database fails.
    """

    def __init__(self, folder: Path) -> None:
        """Open the folder, or make it. Raises :class:`HackamoreError` for a damaged database."""
        self.folder = folder
        self.results = folder / RESULTS
        self._lock = threading.RLock()
        self._writing = threading.Lock()
        try:
            self.results.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HackamoreError(f"{folder} cannot be written", received=error.strerror or str(error)) from error
        try:
            self._base = self._open()
        except sqlite3.Error as error:
            raise self._damaged(str(error)) from error

    def _open(self) -> sqlite3.Connection:
        base = sqlite3.connect(self.folder / FILE, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            for setting in ("auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                base.execute(f"PRAGMA {setting}")
            base.execute(f"PRAGMA journal_size_limit={64 << 20}")
            (version,) = base.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise HackamoreError(
                    f"{self.folder / FILE} is of a newer Hackamore", received=version, expected=f"{VERSION} or less"
                )
            base.executescript(SCHEMA)
            base.execute(f"PRAGMA user_version={VERSION}")
            # The table of requests is not read here: it may be large, and a damage there harms one job only.
            found = base.execute("PRAGMA quick_check('jobs')").fetchone()[0]
            if found != "ok":
                raise self._damaged(found)
        except BaseException:
            base.close()
            raise
        return base

    def _damaged(self, found: str) -> HackamoreError:
        return HackamoreError(
            f"the server's database {self.folder / FILE} cannot be used",
            received=found,
            expected="an SQLite database that is whole",
            remedy=f"start with another --folder; finished pictures stay in {self.results}",
        )

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """A transaction; on the disk when it ends."""
        with self._told(NotKept), self._lock:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:  # SQLite ends some failed ones itself
                    self._base.execute("ROLLBACK")
                raise

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._told(), self._lock:
            return self._base.execute(query, values).fetchall()

    @contextmanager
    def _told(self, kind: type[WorkFailed] = WorkFailed) -> Iterator[None]:
        """The database's errors in words."""
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise Later("the server is stopped", received=str(error)) from error
        except sqlite3.Error as error:
            raise kind(
                "the server's list of jobs cannot be read or written",
                received=str(error),
                remedy="tell the operator: the disk may be full or damaged",
            ) from error

    def accept(self, job: Job, request: Request) -> None:
        """Keep a new job with its request."""
        try:
            told = request.model_dump_json()
        except ValueError as error:  # half of a surrogate pair, nesting without end
            raise HackamoreError("the request cannot be written as text", received=error) from error
        with self._write() as base:
            values = (job.id, job.created, job.state, job.finished, len(told), job.model_dump_json())
            base.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, NULL)", values)
            base.execute("INSERT INTO requests VALUES (?, ?)", (job.id, told))

    def save(self, *jobs: Job, size: int = 0) -> None:
        """Write what the jobs are now, all or none; one that is over stays as it is. ``size``: bytes of its files."""
        with self._write() as base:
            for job in jobs:
                base.execute(
                    "UPDATE jobs SET state = ?, finished = ?, bytes = bytes + ?, job = ? "
                    "WHERE id = ? AND finished IS NULL",
                    (job.state, job.finished, size, job.model_dump_json(), job.id),
                )

    def job(self, job_id: str) -> Job:
        """As it was saved last. Raises :class:`Unknown`."""
        found = self._read(f"SELECT {ROW} FROM jobs WHERE id = ?", (job_id,))
        if not found:
            raise Unknown("there is no such job", received=job_id, remedy="it may have been removed by age")
        return _job(*found[0])

    def request(self, job_id: str) -> Request:
        """As it was accepted. Raises :class:`Unknown`."""
        found = self._read("SELECT request FROM requests WHERE id = ?", (job_id,))
        if not found:
            raise Unknown("there is no such job", received=job_id, remedy="it may have been removed by age")
        return _value(Request, found[0][0])

    def jobs(self, limit: int, before: float | None = None) -> list[Job]:
        """The newest first, created before ``before``."""
        query = f"SELECT {ROW} FROM jobs WHERE created < ? ORDER BY created DESC LIMIT ?"
        return [_job(*row) for row in self._read(query, (float("inf") if before is None else before, limit))]

    def ask(self, job_id: str, stop: State) -> None:
        """Keep that a running job was asked to become ``stop``."""
        with self._write() as base:
            base.execute("UPDATE jobs SET stop = ? WHERE id = ?", (stop, job_id))

    def unfinished(self) -> list[tuple[Job, State | None]]:
        """Those that are not over, the oldest first, each with what was asked of it.

        One that cannot be read is failed, and that is logged.
        """
        found = self._read(f"SELECT stop, {ROW} FROM jobs WHERE finished IS NULL ORDER BY created")
        jobs = [(_job(*row), stop) for stop, *row in found]
        for job, _ in jobs:
            if job.over:
                LOG.error("job %s cannot be read and is failed", job.id)
                self.save(job)
        return [(job, stop) for job, stop in jobs if not job.over]

    def newest(self) -> float:
        """When the newest job was created; 0 where there is none."""
        (newest,) = self._read("SELECT max(created) FROM jobs")[0]
        return newest or 0.0

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        found = dict(self._read("SELECT state, count(*) FROM jobs GROUP BY state"))
        return {state: found.get(state, 0) for state in get_args(State)}

    def delete(self, *ids: str) -> None:
        """Remove jobs with all that belongs to them."""
        with self._write() as base:
            base.executemany("DELETE FROM jobs WHERE id = ?", [(job_id,) for job_id in ids])
        with self._told(NotKept), self._lock:
            self._base.execute("PRAGMA incremental_vacuum").fetchall()
        for job_id in ids:  # after the database: what a kill leaves here is removed at the next start
            shutil.rmtree(self.results / job_id, ignore_errors=True)

    def keep(self, job_id: str, made: Made) -> int:
        """Write pictures and hints; how many bytes they are. All of them, or none and :class:`WorkFailed`."""
        home = self.results / job_id
        named = {f"picture-{k}.png": data for k, data in enumerate(made.pictures)}
        named |= {f"hint-{k}.png": data for k, data in enumerate(made.hints)}
        try:
            with self._writing:
                for name, data in named.items():
                    with written_whole(home / name) as path:
                        path.write_bytes(data)
                for folder in (home, self.results) if named else ():
                    _sync(folder)
        except (OSError, HackamoreError) as error:
            shutil.rmtree(home, ignore_errors=True)
            reason = error.received if isinstance(error, HackamoreError) else error.strerror
            raise WorkFailed(
                "the finished pictures could not be written",
                received=reason or str(error),
                remedy="tell the operator: the disk of the server's folder may be full",
            ) from error
        return sum(map(len, named.values()))

    def file(self, job_id: str, name: str) -> Path:
        """Where a result lies. Raises :class:`Unknown`."""
        path = self.results / job_id / name
        if not path.is_file():
            raise Unknown("there is no such picture", received=name)
        return path

    def sweep(self, oldest: float, most: int) -> list[str]:
        """Remove over jobs finished before ``oldest``, and the oldest until all take ``most`` bytes; their ids.

        The one that finished last stays, however large. No more than ``SWEEP`` are removed by one call.
        """
        over = "FROM jobs WHERE finished IS NOT NULL"
        [(count, total, first)] = self._read(f"SELECT count(*), sum(bytes), min(finished) {over}")
        if not count or (total <= most and first >= oldest):
            return []
        found = self._read(f"SELECT id, finished, bytes {over} ORDER BY finished, created LIMIT {SWEEP}")
        gone = []
        for place, (job_id, finished, size) in enumerate(found):
            if finished >= oldest and (total <= most or place == count - 1):
                break
            total -= size
            gone.append(job_id)
        self.delete(*gone)
        return gone

    def tidy(self) -> None:
        """Remove files that a killed server left: those of jobs that are not done."""
        done = {job_id for (job_id,) in self._read("SELECT id FROM jobs WHERE state = 'done'")}
        clear_leftovers(self.folder)
        for path in self.results.iterdir():
            if FOLDER.fullmatch(path.name) and path.name not in done:
                shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            self._base.close()


def _job(job_id: str, created: float, finished: float | None, told: bytes) -> Job:
    """A job as it was kept; one that cannot be read, such as another version's, has failed and says so."""
    try:
        return _value(Job, told)
    except WorkFailed as error:
        ended = time.time() if finished is None else finished
        return Job(id=job_id, state="failed", created=created, finished=ended, error=failure_of(error))


def _value(kind: type[Kind], told: str | bytes) -> Kind:
    try:
        return kind.model_validate_json(told)
    except ValidationError as error:
        raise WorkFailed("what the server kept of a job cannot be read", received=error.errors()[0]["msg"]) from error


def _sync(folder: Path) -> None:
    """Have the names of a folder's files on the disk, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
