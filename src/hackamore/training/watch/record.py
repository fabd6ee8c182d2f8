"""Everything that a run has said so far, kept for those who tell it again: the page and the card."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hackamore.training.log import read_log
from hackamore.training.samples import sample_files
from hackamore.training.watch.words import Row
from hackamore.training.watcher import Outcome, Started, Watcher

FORMS = {
    "controlnet": "ControlNet",
    "t2i-adapter": "T2I-Adapter",
    "t2i-adapter-light": "light T2I-Adapter",
    "xs": "ControlNet-XS",
    "control-lora": "Control-LoRA",
    "union": "union ControlNet",
}
"""The forms that are trained, as the field calls them."""


class Record(Watcher):
    """The rows of the whole run, those of earlier sessions with them, its newest samples and how it ended.

    A watcher that tells a run again is made from it; ``changed`` is called whenever there is something new to tell.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.samples: list[tuple[int, Path]] = []
        self.outcome: Outcome | None = None
        self.words = ""
        self.done = 0
        self._clock = 0.0, 0

    def begins(self, started: Started) -> None:
        """Read what the run said before it was stopped."""
        self.started, self.done, self.outcome = started, started.first, None
        log = read_log(started.output / "log.jsonl") if started.first else []
        self.rows = [row for row in log if row["step"] <= started.first]
        self.samples = [one for one in sample_files(started.output / "samples") if one[0] <= started.first]
        self._clock = time.monotonic(), started.first
        self.changed()

    def stepped(self, done: int) -> None:
        """Note how far it is."""
        self.done = done

    def logged(self, row: Mapping[str, Any]) -> None:
        """Keep the row."""
        self.rows.append(dict(row))
        self.changed()

    def sampled(self, done: int, path: Path) -> None:
        """Keep where the picture is."""
        self.samples.append((done, path))
        self.changed()

    def ends(self, done: int, outcome: Outcome, words: str) -> None:
        """Keep how it ended."""
        self.done, self.outcome, self.words = done, outcome, words
        self.changed()

    def changed(self) -> None:
        """Something is new."""

    def left(self) -> float | None:
        """Seconds until the last step at the pace of this session, None before its first."""
        began, first = self._clock
        done = self.done - first
        return None if done <= 0 else (self.started.run.steps - self.done) * (time.monotonic() - began) / done

    def seconds(self) -> float:
        """Seconds of training over all sessions, as the rows' samples a second tell them."""
        total, before = 0.0, 0
        for row in self.rows:
            speed = row.get("samples_per_second")
            if speed:
                total += (row["step"] - before) * self.started.run.batch_size / speed
                before = row["step"]
        return total

    def last(self) -> tuple[int, Row] | None:
        """Step and findings of the newest probe, None before the first."""
        found = [(row["step"], row["probe"]) for row in self.rows if "probe" in row]
        return found[-1] if found else None


def named(settings: Mapping[str, Any]) -> tuple[str, str]:
    """What is trained, and on which base, as far as the settings tell: ``("ControlNet for canny", "meadow")``."""
    control, kind = settings.get("control"), settings.get("kind") or ""
    form = form_words(control.get("form", "")) if isinstance(control, Mapping) else ""
    kinds = kind if isinstance(kind, str) else ", ".join(kind)
    what = f"{form} for {kinds}" if form and kinds else form or kinds or str(settings.get("stage", ""))
    return what, Path(str(settings.get("base") or "")).name


def form_words(form: str) -> str:
    """The field's name of a form of control."""
    return FORMS.get(form, form)


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The settings as ``section.name`` and words; what is not set is left out."""
    made: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            made |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            made |= {prefix + name: ", ".join(map(str, value))} if value else {}
        elif value is not None and value != "":
            made[prefix + name] = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    return made
