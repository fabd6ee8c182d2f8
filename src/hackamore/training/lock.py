"""One run a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from hackamore.core.errors import HackamoreError

FILE = ".training"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Inside, no other run may write to ``folder``; of several processes of one run the first asks for all.

    A process that dies, however, is out. Raises :class:`HackamoreError` where another run is under way, and for a
    folder that cannot be written.
    """
    if int(os.environ.get("RANK") or 0) != 0:
        yield
        return
    lock = FileLock(folder / FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise HackamoreError(
            f"{folder} is being trained already", remedy="another --out, or wait until it is done"
        ) from error
    except OSError as error:
        raise HackamoreError(f"{folder} cannot be written", received=error.strerror or str(error)) from error
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):
            (folder / FILE).unlink(missing_ok=True)
            folder.rmdir()  # where nothing came of it
