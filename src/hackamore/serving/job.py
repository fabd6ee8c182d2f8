"""Jobs: what became of a request, and what is told on the way."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from hackamore.core.section import Section

State = Literal["queued", "running", "done", "failed", "cancelled", "expired", "replaced"]
OVER: frozenset[str] = frozenset({"done", "failed", "cancelled", "expired", "replaced"})
"""States that a job stays in."""


class UnitReport(Section):
    """One unit as it was applied to a finished picture."""

    control: str
    kind: str | None
    scale: float | None
    start: float | None
    end: float | None
    schedule: str | None
    mode: str
    masked: bool
    hint_sha256: str
    sha256: dict[str, str] = Field(default_factory=dict)
    """Of the control's weights, by file."""
    fidelity: dict[str, float] | None = None
    """Control-fidelity figures by name; the first is the one that is quoted."""


class PictureReport(Section):
    """One finished picture: number ``index`` of its job, a PNG with its Recipe inside."""

    index: int
    seed: int
    width: int
    height: int
    sha256: str
    """Of the PNG."""
    units: tuple[UnitReport, ...] = ()


class Failure(Section):
    """Why there is no picture: :class:`HackamoreError` as a value."""

    what: str
    received: str | None = None
    expected: str | None = None
    remedy: str | None = None
    input: bool = True
    """Whether the request was wrong; else the work failed."""

    @property
    def words(self) -> str:
        """One to four plain lines."""
        told = {"received": self.received, "expected": self.expected, "try": self.remedy}
        return "\n".join([self.what, *(f"{name}: {value}" for name, value in told.items() if value is not None)])


class Job(Section):
    """A request that was accepted. Times are seconds since 1970."""

    id: str
    """32 hexadecimal digits."""
    state: State = "queued"
    priority: str = "normal"
    live: str | None = None
    created: float
    started: float | None = None
    finished: float | None = None
    deadline: float | None = None
    progress: float = 0.0
    """Share that is done, 0 to 1."""
    ahead: int | None = None
    """Jobs before it, while it waits."""
    attempts: int = 0
    """How often work on it was begun; more than 1 after a server or a replica died."""
    summary: dict[str, Any] = Field(default_factory=dict)
    """The request without its pictures."""
    pictures: tuple[PictureReport, ...] = ()
    hints: int = 0
    """How many hints, one a unit, are kept beside the pictures."""
    notices: tuple[str, ...] = ()
    error: Failure | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in OVER


class Event(Section):
    """Something that happened to a job: the job as it is now, and a rough picture where one was made."""

    job: Job
    preview: str | None = None
    """PNG, base64."""
