"""Memory of mapped files given back: what was read of weights once, and is in no one's way on the disk."""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

LEAST = 1 << 20
"""Bytes of a mapping that is worth a call."""
RESIDENT = 512 << 20
"""Bytes of files in memory that are worth a look at the mappings, which takes a tenth of a second."""
_BEGINS = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ [1-9]\d* ")
"""A line that begins what the kernel tells of the mapping of a file."""


def let_rest(held: Iterable[int], resident: int = RESIDENT) -> None:
    """Let the pages of mapped files go; whoever needs one again finds it in the system's cache, or on the disk.

    Only of mappings with one of the addresses ``held``, and only if so many bytes of files are ``resident``. Files of
    which a page was written stay whole, but nobody may write meanwhile: so tell only what the caller alone works with.
    Elsewhere than on Linux nothing happens.
    """
    if sys.platform != "linux":
        return
    try:
        if int(Path("/proc/self/statm").read_text().split()[2]) * mmap.PAGESIZE < resident:
            return
        told = Path("/proc/self/smaps").read_text("utf-8", "replace")
    except OSError:
        return
    advise, places = ctypes.CDLL(None).madvise, sorted(held)
    start, size = 0, 0
    for line in told.splitlines():
        if found := _BEGINS.match(line):
            start, end = int(found[1], 16), int(found[2], 16)
            size = end - start if bisect_left(places, start) < bisect_left(places, end) else 0
        elif not line[:1].isupper():
            size = 0  # another mapping, of no file
        elif size >= LEAST and line.split() == ["Anonymous:", "0", "kB"]:
            advise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_DONTNEED)
