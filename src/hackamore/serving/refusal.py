"""Why nothing came of a request: as an error, and as a value."""

from __future__ import annotations

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.serving.job import Failure


class Unknown(HackamoreError):
    """There is no such job, or no such picture of it."""


class Later(WorkFailed):
    """Not now: the server stops, or others use what it needs."""


class InUse(WorkFailed):
    """It cannot be let go of, because work on it goes on."""


class NotKept(WorkFailed):
    """The server's disk takes no more, or its database fails."""


class Full(HackamoreError):
    """No more jobs may wait; ``retry_after`` seconds from now there is likely room."""

    def __init__(self, bound: int, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(
            "the queue is full",
            received=f"one more than {bound} waiting jobs",
            remedy=f"send it again in {retry_after} seconds",
        )


FAULT = Failure(what="the work on it failed for a reason that only the server's log tells", input=False)
"""What nobody foresaw."""


def failure_of(error: Exception) -> Failure:
    """The error as a value; :data:`FAULT` for one that is none of ours."""
    if not isinstance(error, HackamoreError):
        return FAULT
    received, expected = (None if one is None else str(one) for one in (error.received, error.expected))
    return Failure(
        what=error.what,
        received=received,
        expected=expected,
        remedy=error.remedy,
        input=not isinstance(error, WorkFailed),
    )
