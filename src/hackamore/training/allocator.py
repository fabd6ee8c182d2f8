"""The C library's allocator, told what a training does."""

from __future__ import annotations

import ctypes
import platform
from contextlib import suppress

TRIM, MMAP = -1, -3
"""``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD`` of glibc's ``mallopt``."""


def keep_pages() -> bool:
    """Keep what is freed for the next step, instead of giving large blocks back to the kernel; for this process.

    A step frees and takes the same gigabytes again; each time the kernel clears every page of them. Does nothing with
    another C library than glibc; returns whether it was told.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    with suppress(OSError, AttributeError):
        tell = ctypes.CDLL(None).mallopt
        return bool(tell(MMAP, 2**30)) and bool(tell(TRIM, 2**31 - 1))
    return False
