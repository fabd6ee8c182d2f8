"""Batches prepared in the background, the same to the bit as without."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

Batch = TypeVar("Batch")

MOST_THREADS = 4


class Ahead(Generic[Batch]):
    """``make(step)`` for one step after the other, up to ``ahead`` of them made before they are asked for."""

    def __init__(self, make: Callable[[int], Batch], first: int, last: int, ahead: int) -> None:
        self.make, self.last, self.ahead = make, last, ahead
        self._next = first
        self._made: deque[Future[Batch]] = deque()
        self._pool = ThreadPoolExecutor(min(ahead, MOST_THREADS), "batches") if ahead else None

    def take(self) -> Batch:
        """The batch of the next step; what went wrong in the background is raised here."""
        if self._pool is None:
            self._next += 1
            return self.make(self._next - 1)
        self._fill(self._pool)
        made = self._made.popleft().result()
        self._fill(self._pool)
        return made

    def _fill(self, pool: ThreadPoolExecutor) -> None:
        while len(self._made) < self.ahead and self._next < self.last:
            self._made.append(pool.submit(self.make, self._next))
            self._next += 1

    def __enter__(self) -> Ahead[Batch]:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
