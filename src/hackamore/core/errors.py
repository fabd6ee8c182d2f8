"""One error form for everything a user can get wrong."""

from __future__ import annotations

LONGEST_LINE = 500


class HackamoreError(Exception):
    """What was wrong, what was received, what was expected, and what to do about it.

    ``str(error)`` is one to four plain lines, fit to be shown to a user as they are.
    The command line prints them and exits with :attr:`exit_code`: 2 when the input is wrong, 1 when the work failed.
    """

    exit_code = 2

    def __init__(
        self, what: str, *, received: object = None, expected: object = None, remedy: str | None = None
    ) -> None:
        self.what = what
        self.received = received
        self.expected = expected
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        told = {"received": self.received, "expected": self.expected, "try": self.remedy}
        return "\n".join([_line(self.what), *(f"{name}: {_line(v)}" for name, v in told.items() if v is not None)])


def _line(value: object) -> str:
    """``value`` on one line of bounded length."""
    words = " ".join(str(value).split())
    return words if len(words) <= LONGEST_LINE else words[: LONGEST_LINE - 1] + "…"


class WorkFailed(HackamoreError):
    """The input was fine, the work was not: exit code 1."""

    exit_code = 1


class Cancelled(HackamoreError):
    """The user asked to stop; nothing half written is left behind."""

    exit_code = 130


def unknown_name(kind: str, name: str, known: list[str]) -> HackamoreError:
    """The error for a name that is not in a catalogue; it lists the nearest known names first."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=3, cutoff=0.4)
    expected = f"did you mean {' or '.join(near)}? " if near else ""
    return HackamoreError(f"unknown {kind} {name!r}", expected=f"{expected}known: {', '.join(sorted(known))}")
