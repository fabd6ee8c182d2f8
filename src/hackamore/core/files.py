"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hackamore.core.errors import HackamoreError

UNFINISHED = ".hackamore-"
"""How the names of files begin that are not written to their end yet."""


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()
"""What this process takes from the rights of new files; to ask is to change it, so it is asked before any thread."""


@contextmanager
def written_whole(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``: on success it becomes ``path`` in one move, on failure it is removed.

    Raises :class:`HackamoreError` when the folder cannot be made or written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{UNFINISHED}{path.stem[:100]}-", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise HackamoreError(
            f"cannot write {path}",
            received=error.strerror or str(error),
            expected="a folder that can be written",
        ) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def clear_leftovers(folder: Path, age: float = 0.0) -> None:
    """Remove what processes that were killed while they wrote left in ``folder``, older than ``age`` seconds."""
    for path in folder.glob(f"{UNFINISHED}*"):
        with suppress(OSError):  # another process may have been quicker
            if path.is_file() and time.time() - path.stat().st_mtime >= age:
                path.unlink()


def sha256(path: Path | str) -> str:
    """The file's SHA-256 as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
