"""The order of waiting jobs: a plain value without clock, threads or files."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

AGE = 20.0
"""Seconds of waiting by which a job gains a class; so nothing that comes later overtakes it for ever."""
SUSPECT = 2
"""Jobs on which work was begun so often, and never ended, are worked on one at a time."""
CLASSES: Mapping[str, int] = {"live": 0, "normal": 1, "low": 2}


@dataclass(frozen=True)
class Waiting:
    """A job in the queue. ``created`` differs between jobs: it is their order; seconds since 1970, as ``deadline``."""

    id: str
    created: float
    priority: str = "normal"
    live: str | None = None
    deadline: float | None = None
    attempts: int = 0
    """How often work on it was begun."""
    returned: bool = False
    """Whether a worker died of it or with it: it is before all that were not begun."""
    keys: Mapping[str, object] = field(default_factory=dict)
    """By worker: jobs with equal keys may be worked on together; None is alone."""

    def place(self, now: float) -> tuple[int, float]:
        """Smaller is earlier."""
        if self.returned:
            return -1, self.created
        gained = int(max(0.0, now - self.created) // AGE)
        return max(0, CLASSES[self.priority] - gained), self.created

    @property
    def suspect(self) -> bool:
        """Whether it may be what workers die of."""
        return self.attempts >= SUSPECT


class Queue:
    """Waiting jobs in their order: class (live, normal, low), then arrival. ``bound``: of those that a client adds."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self._waiting: dict[str, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._waiting

    def room(self, live: str | None = None) -> bool:
        """Whether one more may come; with ``live``, one that replaces those of the same word."""
        return len(self) - len(self.of(live)) < self.bound

    def of(self, live: str | None) -> list[Waiting]:
        """Those with this live word; none for None."""
        return [one for one in self._waiting.values() if live is not None and one.live == live]

    def put(self, job: Waiting) -> None:
        """Add it, whether or not there is room: what was accepted once is not turned away."""
        self._waiting[job.id] = job

    def remove(self, job_id: str) -> None:
        """Take it out, wherever it is."""
        del self._waiting[job_id]

    def expired(self, now: float) -> list[Waiting]:
        """Those whose deadline has passed."""
        return [one for one in self._waiting.values() if one.deadline is not None and one.deadline <= now]

    def next_deadline(self) -> float | None:
        """The earliest, if there is one."""
        return min((one.deadline for one in self._waiting.values() if one.deadline is not None), default=None)

    def order(self, now: float) -> list[Waiting]:
        """All of them, the next first."""
        return sorted(self._waiting.values(), key=lambda one: one.place(now))

    def take(self, now: float, worker: str, size: int = 1, careful: bool = False) -> list[Waiting]:
        """Take out the next job for ``worker``, and up to ``size`` in all that may be worked on with it.

        ``careful``: no suspect, because another one is being worked on. A job that was begun before is worked on
        alone, so that one that kills its worker takes no other with it twice.
        """
        ordered = [one for one in self.order(now) if not (careful and one.suspect)]
        if not ordered:
            return []
        first = ordered[0]
        key = first.keys.get(worker)
        taken = [first]
        if key is not None and not first.attempts:
            others = (one for one in ordered[1:] if not one.attempts and one.keys.get(worker) == key)
            taken += [one for one, _ in zip(others, range(size - 1), strict=False)]
        for one in taken:
            self.remove(one.id)
        return taken


class Pace:
    """How many seconds a job takes of late."""

    def __init__(self, workers: int, first: float = 2.0) -> None:
        self._workers = max(1, workers)
        self._seconds: deque[float] = deque([first], maxlen=32)
        self._guessed = True

    def add(self, seconds: float, jobs: int = 1) -> None:
        """``jobs`` were worked on together in ``seconds``."""
        each = seconds / max(1, jobs)
        if self._guessed:  # at once: another thread may ask at this very moment
            self._seconds, self._guessed = deque([each], maxlen=32), False
        else:
            self._seconds.append(each)

    def room_in(self) -> int:
        """Whole seconds after which a full queue has likely a place again; 1 or more."""
        seconds = tuple(self._seconds)
        return max(1, ceil(sum(seconds) / len(seconds) / self._workers))
