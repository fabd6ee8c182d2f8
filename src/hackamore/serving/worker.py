"""The door between the engine and whatever does the work: a thread of this process, or a replica elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hackamore.serving.job import Failure, PictureReport
from hackamore.serving.request import Request


@dataclass(frozen=True)
class Made:
    """Finished pictures: PNGs with their Recipes inside, the hint of each unit (PNG), and what is told about them."""

    pictures: tuple[bytes, ...]
    reports: tuple[PictureReport, ...]
    hints: tuple[bytes, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stopped:
    """The work on it was given up because nobody wants it any more."""


Outcome = Made | Failure | Stopped
Told = Callable[[int, float, bytes | None], None]
"""``told(number, share, preview)``: how far request ``number`` of a batch is, and a rough picture (PNG) or None."""


class WorkerDied(Exception):
    """Whoever did the work is gone, and what was asked of it with it; it may be asked of another."""


class Worker(Protocol):
    """Does requests, one batch at a time. ``name`` is unique in an engine."""

    name: str

    def key(self, request: Request) -> object:
        """Requests with equal keys may be worked on together; None: this one is worked on alone."""

    def work(self, requests: Sequence[Request], told: Told, wanted: Callable[[int], bool]) -> list[Outcome]:
        """An outcome for each request, in order. ``wanted(number)`` is asked between steps.

        A request that fails does not harm the others of its batch. Raises :class:`WorkerDied` and nothing else.
        """

    def close(self) -> None:
        """Let go of everything."""
