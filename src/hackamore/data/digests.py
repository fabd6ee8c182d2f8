"""Hashes of contents, computed once and kept until a file changes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hackamore.core.errors import HackamoreError
from hackamore.core.files import written_whole
from hackamore.core.locks import alone
from hackamore.data.sources.item import Blob


def digests_of(blobs: Sequence[Blob], cache: Path) -> list[str]:
    """The hash of each content, 32 hexadecimal digits.

    ``cache/digests.json`` keeps them by place, length and time of change, so that the next call reads no contents.
    """
    stamps = [blob.stamp for blob in blobs]
    kept = _read(cache / "digests.json")
    if all(stamp in kept for stamp in stamps):
        return [kept[stamp or ""] for stamp in stamps]
    with alone(cache / ".digests.lock"):  # of several processes one reads the contents, and the others what it found
        return _made(blobs, stamps, cache / "digests.json")


def _made(blobs: Sequence[Blob], stamps: Sequence[str | None], path: Path) -> list[str]:
    kept = _read(path)
    missing = [place for place, stamp in enumerate(stamps) if stamp is None or stamp not in kept]
    with ThreadPoolExecutor() as pool:
        made = dict(zip(missing, pool.map(lambda place: blobs[place].digest, missing), strict=True))
    fresh = {stamp: made[place] for place in missing if (stamp := stamps[place]) is not None}
    if fresh:
        with contextlib.suppress(HackamoreError, OSError), written_whole(path) as temporary:  # only saves time
            temporary.write_text(json.dumps(_read(path) | fresh), encoding="utf-8")
    return [made[place] if place in made else kept[stamp or ""] for place, stamp in enumerate(stamps)]


def _read(path: Path) -> dict[str, str]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(stamp): str(digest) for stamp, digest in told.items()} if isinstance(told, dict) else {}
