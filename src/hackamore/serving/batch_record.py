"""What became of a file of jobs: pictures, and one line a job in ``results.jsonl``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.core.files import clear_leftovers, written_whole
from hackamore.serving.batch_lines import Line
from hackamore.serving.job import Failure
from hackamore.serving.worker import Made, Outcome

FILE = "results.jsonl"
LOCK = ".batch"


class Record:
    """The results in ``folder``; a context manager, one process at a time.

    A job is finished when its line is written, after its pictures, in one piece; what a kill cut off is dropped at the
    next start. Raises :class:`HackamoreError` where the folder is in use or cannot be written, or holds results
    already and ``resume`` is False.
    """

    def __init__(self, folder: Path, resume: bool) -> None:
        self.folder, self.path = folder, folder / FILE
        self._resume = resume
        self._lock = FileLock(folder / LOCK, thread_local=False)

    def __enter__(self) -> Record:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise HackamoreError(f"another process works in {self.folder}", remedy="another --out") from error
        except OSError as error:
            raise HackamoreError(f"{self.folder} cannot be written", received=error.strerror or str(error)) from error
        try:
            if self.path.exists() and self.path.stat().st_size and not self._resume:
                raise HackamoreError(f"{self.folder} holds results already", remedy="--resume, or another --out")
            clear_leftovers(self.folder)
            self._cut()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def left(self, lines: Sequence[Line]) -> list[Line]:
        """Those that are not finished. Raises :class:`HackamoreError` where a finished one was another job."""
        done = self._done()
        for line in lines:
            if done.get(line.name, line.sha256) != line.sha256:
                raise HackamoreError(
                    f"the job {line.name} was finished with another request",
                    received=f"line {line.number}",
                    remedy="another name for it, or another --out",
                )
        return [line for line in lines if line.name not in done]

    def add(self, line: Line, outcome: Outcome, seconds: float) -> dict[str, Any]:
        """Write what became of a job; what was written. Raises :class:`WorkFailed` where the disk takes no more."""
        told: dict[str, Any] = {"name": line.name, "line": line.number, "sha256": line.sha256}
        try:
            if isinstance(outcome, Made):
                told |= {"state": "done", "seconds": round(seconds, 3), "pictures": self._pictures(line, outcome)}
                told |= {"notices": list(outcome.notices), "error": None}
            else:
                failure = outcome if isinstance(outcome, Failure) else Failure(what="it was stopped", input=False)
                told |= {"state": "failed", "seconds": round(seconds, 3), "pictures": [], "notices": []}
                told |= {"error": failure.model_dump(mode="json")}
            self._append(json.dumps(told, ensure_ascii=False))
        except OSError as error:
            raise WorkFailed(f"{self.folder} takes no more", received=error.strerror or str(error)) from error
        return told

    def _pictures(self, line: Line, made: Made) -> list[dict[str, Any]]:
        told = []
        for data, report in zip(made.pictures, made.reports, strict=True):
            path = self.folder / f"{line.name}-{report.index}.png"
            with written_whole(path) as temporary:
                temporary.write_bytes(data)
            told.append({"file": path.name, **report.model_dump(mode="json")})
        return told

    def _append(self, text: str) -> None:
        """The whole line in one write, on the disk when it returns."""
        data = f"{text}\n".encode("utf-8", "backslashreplace")
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            if os.write(handle, data) != len(data):
                raise OSError("the line was not written whole")
            os.fsync(handle)
        finally:
            os.close(handle)

    def _cut(self) -> None:
        """Drop a last line without an end."""
        if self.path.exists():
            data = self.path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                os.truncate(self.path, whole)

    def _done(self) -> dict[str, str]:
        if not self.path.exists():
            return {}
        try:
            told = [json.loads(text) for text in self.path.read_bytes().splitlines()]
            return {str(one["name"]): str(one["sha256"]) for one in told if one["state"] == "done"}
        except (ValueError, KeyError, TypeError) as error:
            raise HackamoreError(f"{self.path} is damaged", received=error, remedy="another --out") from error
