"""One process at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Inside, no other process is inside with the same ``path``; who comes second waits.

    A process that ends, however, is out. Where no lock can be had (a folder that cannot be written, a file system
    without locks) nobody waits: what is done inside must be right even so.
    """
    lock = FileLock(path)
    with contextlib.suppress(OSError, NotImplementedError):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
