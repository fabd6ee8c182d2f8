"""Progress on stderr, quiet when it is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(words: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A bar on stderr; yields a function that takes how many are done and, where that was not known, of how many."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(words, total=total)
        yield lambda done, count=total: bar.update(task, completed=done, total=count)


def note(words: str) -> None:
    """A notice on stderr."""
    print(words, file=sys.stderr)
