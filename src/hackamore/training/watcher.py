"""The door of everybody who is told how a run goes: progress, pages, trackers, cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hackamore.training.settings import RunSettings

Outcome = Literal["done", "early", "stopped", "failed"]
"""How a run ended: all steps done, stopped early by its probe, stopped by Ctrl-C, or failed."""


@dataclass(frozen=True)
class Started:
    """A run at its beginning: where it writes, how it runs, from which step, and everything it was told."""

    output: Path
    run: RunSettings
    first: int
    settings: Mapping[str, Any] = field(default_factory=dict)


class Watcher:
    """Told what happens, on the main process only. Every method may be left as it is; none may change the run."""

    def begins(self, started: Started) -> None:
        """Before the first step."""

    def stepped(self, done: int) -> None:
        """After every step; ``done`` steps are done."""

    def logged(self, row: Mapping[str, Any]) -> None:
        """A line of ``log.jsonl``: means of the losses, or what a probe found under ``probe``, or a ``warning``."""

    def sampled(self, done: int, path: Path) -> None:
        """A picture of samples was written."""

    def saved(self, done: int, path: Path) -> None:
        """A checkpoint was written."""

    def ends(self, done: int, outcome: Outcome, words: str) -> None:
        """After the last step, the finished control exported; ``words`` say how it ended."""
