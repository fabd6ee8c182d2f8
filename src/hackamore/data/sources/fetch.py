"""Files fetched over HTTP into a folder: whole or not there, and gone on with after a stop."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.core.locks import alone

TRIES = 3
TIMEOUT = 60.0
"""Seconds without a byte until a connection counts as lost."""
CHUNK = 1 << 20


def fetch(address: str, folder: Path) -> Path:
    """The file at ``address`` in ``folder``, fetched unless it is there.

    What a broken connection or a kill left is gone on with where the server can (ranges, with the same ETag), and the
    length that the server tells is checked. Of several processes one fetches it, and the others wait. Raises
    :class:`WorkFailed` when it cannot be had.
    """
    digest = hashlib.blake2b(address.encode(), digest_size=8).hexdigest()
    path = folder / f"{digest}-{PurePosixPath(urlsplit(address).path).name or 'shard'}"
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder / f".{path.name}.lock"
        with alone(lock):
            if not path.is_file():
                _whole(address, path)
        with contextlib.suppress(OSError):  # who waits for it still finds the file
            lock.unlink()
    except OSError as error:
        expected = "a folder that can be written"
        raise HackamoreError(f"cannot write {path}", received=error.strerror or error, expected=expected) from error
    return path


def _whole(address: str, path: Path) -> None:
    """Fetch all of it, in several tries."""
    part = path.with_name(path.name + ".part")
    for left in reversed(range(TRIES)):
        try:
            _go_on(address, part)
            break
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            lasting = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if lasting or not left:
                raise _lost(address, error) from error
    part.replace(path)
    path.with_name(path.name + ".etag").unlink(missing_ok=True)


def _go_on(address: str, part: Path) -> None:
    """Fetch what is missing of ``part``, all of it where the server's file is another one by now."""
    mark = part.with_suffix(".etag")
    have = part.stat().st_size if part.is_file() else 0
    etag = mark.read_text(encoding="utf-8") if have and mark.is_file() else ""
    headers = {"Range": f"bytes={have}-", "If-Range": etag} if etag else {}
    # only http and https get here
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT) as answer:
        goes_on = answer.status == 206
        mark.write_text(answer.headers.get("ETag") or "", encoding="utf-8")
        told = answer.headers.get("Content-Length")
        wanted = None if told is None else int(told) + (have if goes_on else 0)
        with part.open("ab" if goes_on else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
    got = part.stat().st_size
    if wanted is not None and got != wanted:
        raise ConnectionError(f"{got:,} of {wanted:,} bytes came")


def _lost(address: str, error: Exception) -> WorkFailed:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(error, urllib.error.HTTPError):
        reason = f"{error.code} {error.reason}"
    return WorkFailed(f"{address} could not be fetched", received=reason, remedy="the same again goes on where it was")
