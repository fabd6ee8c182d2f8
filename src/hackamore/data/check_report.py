"""What a dry run tells: facts, and findings in words, each with what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Level = Literal["problem", "warning", "note"]
NAMED = 3
"""So many places are named in a line; all of them are in the JSON."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found. ``code``: a short name that stays the same. ``places``: the names of the examples."""

    level: Level
    code: str
    what: str
    places: tuple[str, ...] = ()
    remedy: str | None = None

    def line(self) -> str:
        """The finding on one line."""
        named = ", ".join(self.places[:NAMED]) + (f" and {len(self.places) - NAMED} more" * (len(self.places) > NAMED))
        return self.what + (f": {named}" if named else "") + (f"; try: {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class Report:
    """What was found in ``count`` pairs. ``facts``: name → words, in the order in which they are told."""

    count: int
    facts: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def problems(self) -> list[str]:
        """What must be mended before a training makes sense, a line each."""
        return self._of("problem")

    @property
    def warnings(self) -> list[str]:
        """What is suspicious, a line each."""
        return self._of("warning")

    @property
    def notes(self) -> list[str]:
        """What is good to know, a line each."""
        return self._of("note")

    @property
    def cut(self) -> bool:
        """Whether a line leaves names out, which the JSON has."""
        return any(len(finding.places) > NAMED for finding in self.findings)

    def lines(self) -> list[str]:
        """All of it in plain words: facts, then what is wrong, what is suspicious, what is good to know."""
        told = [f"{name}: {words}" for name, words in self.facts.items()]
        told += [f"problem: {line}" for line in self.problems]
        told += [f"warning: {line}" for line in self.warnings]
        told += [f"note: {line}" for line in self.notes]
        return told if self.problems or self.warnings else [*told, "nothing suspicious was found"]

    def json(self) -> dict[str, Any]:
        """All of it, fit for JSON, with every place."""
        return {
            "count": self.count,
            "facts": dict(self.facts),
            "findings": [
                {"level": f.level, "code": f.code, "what": f.what, "places": list(f.places), "remedy": f.remedy}
                for f in self.findings
            ],
        }

    def beside(self, facts: Mapping[str, str], findings: Sequence[Finding]) -> Report:
        """The same report with more facts and findings, such as an estimate of memory."""
        return replace(self, facts={**self.facts, **facts}, findings=(*self.findings, *findings))

    def _of(self, level: Level) -> list[str]:
        return [finding.line() for finding in self.findings if finding.level == level]
