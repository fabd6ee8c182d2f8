"""Other libraries' notices, held back where an error of ours says the same, and their errors in words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silenced(*names: str) -> Iterator[None]:
    """Without what the loggers of the packages ``names`` say, which speak again afterwards as they did before."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def reason(error: Exception) -> str:
    """Why another library could not load a part, in a few words."""
    words = str(error).strip()
    if "ignore_mismatched_sizes" in words or "expected shape" in words or "size mismatch" in words:
        return "weights of other shapes than its config.json tells"
    return f"{type(error).__name__}: {words.splitlines()[0][:200]}" if words else type(error).__name__
