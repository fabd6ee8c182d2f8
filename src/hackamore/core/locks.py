"""One process at a time: who comes second waits, or is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from hackamore.core.errors import HackamoreError


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Inside, no other process is inside with the same ``path``; who comes second waits.

    A process that ends, however, is out. Where no lock can be had (a folder that cannot be written, a file system
    without locks) nobody waits: what is done inside must be right even so.
    """
    lock = FileLock(path)
    with suppress(OSError, NotImplementedError):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def alone_in(folder: Path, name: str, busy: str) -> Iterator[None]:
    """Inside, no other run may write to ``folder``; of several processes of one run the first asks for all.

    ``name``: of the file that says so, gone afterwards. A process that dies, however, is out. Raises
    :class:`HackamoreError` where another run is under way, with what the folder is ``busy`` with, and for a folder
    that cannot be written.
    """
    if int(os.environ.get("RANK") or 0) != 0:
        yield
        return
    lock = FileLock(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise HackamoreError(f"{folder} {busy}", remedy="another output folder, or wait until it is done") from error
    except OSError as error:
        raise HackamoreError(f"{folder} cannot be written", received=error.strerror or str(error)) from error
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)
            folder.rmdir()  # where nothing came of it
