"""How far a run is: a live display on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hackamore.training.watch import words
from hackamore.training.watcher import Outcome, Started, Watcher

MEMORY = 60.0
"""Seconds over which the pace is measured."""
REFRESH = 0.2
"""Seconds between two drawings of the live display."""
_ASIDE = ("step", "loss", "lr", "norm", "samples_per_second", "memory_mib")


class Pace:
    """How long the rest takes, from the last minute's steps, with probes, samples and checkpoints counted in."""

    def __init__(self) -> None:
        self.seen: deque[tuple[float, int]] = deque()

    def at(self, now: float, done: int) -> None:
        """``done`` steps are done at ``now`` seconds of any clock."""
        self.seen.append((now, done))
        while len(self.seen) > 2 and now - self.seen[1][0] > MEMORY:
            self.seen.popleft()

    def left(self, steps: int) -> float | None:
        """Seconds until ``steps`` are done, None before two steps were seen."""
        if len(self.seen) < 2 or self.seen[-1][1] == self.seen[0][1]:
            return None
        (began, first), (now, done) = self.seen[0], self.seen[-1]
        return (steps - done) * (now - began) / (done - first)


class Progress(Watcher):
    """Bar, loss, learning rate, samples a second, time left, memory, control fidelity and the last warning.

    ``quiet``: warnings alone. ``console``: where to, stderr by default.
    """

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.quiet = quiet
        self.lively = self.console.is_terminal and not quiet
        self.pace = Pace()
        self.live: Live | None = None
        self.steps = self.batch = self.done = 0
        self.row: dict[str, Any] = {}
        self.losses: list[tuple[float, float]] = []
        self.fidelity = self.warning = ""

    def begins(self, started: Started) -> None:
        """Open the display; on a resumed run say where it goes on."""
        self.steps, self.batch, self.done = started.run.steps, started.run.batch_size, started.first
        self.pace.at(time.monotonic(), started.first)
        if started.first:
            self._say(f"going on at step {started.first}")
        if self.lively:
            self.live = Live(self._display(), console=self.console, auto_refresh=False, transient=False)
            self.live.start()

    def stepped(self, done: int) -> None:
        """Move the bar, at most five times a second."""
        self.done = done
        now = time.monotonic()
        if self.pace.seen and now - self.pace.seen[-1][0] < REFRESH and done < self.steps:
            return
        self.pace.at(now, done)
        self._draw()

    def logged(self, row: Mapping[str, Any]) -> None:
        """Show the newest figures; where it is no terminal, as one line."""
        if "warning" in row:
            self.warning = f"step {row['step']}: {row['warning']}"
            if not self.lively:
                self.console.print(f"warning, {self.warning}", markup=False, soft_wrap=True)
        elif "probe" in row:
            self.fidelity = words.learned(row["probe"])
            self._say(f"step {row['step']}/{self.steps}  {self.fidelity}{_gain(row['probe'])}")
        else:
            self.row = dict(row)
            self.losses = [*self.losses[-60:], *words.points([row], "loss")]
            self._say(self._line())
        self._draw()

    def saved(self, done: int, path: Any) -> None:
        """Say that what is done so far is safe."""
        self._say(f"step {done}/{self.steps}  checkpoint written")

    def ends(self, done: int, outcome: Outcome, words: str) -> None:
        """Close the display; say how a good run ended. What went wrong is told by the error that follows."""
        self.done = done
        self._draw()
        if self.live is not None:
            self.live.stop()
            self.live = None
            self.lively = False
        if outcome in ("done", "early"):
            self._say(words)

    def _say(self, line: str) -> None:
        """A plain line, where there is no live display."""
        if not self.quiet and not self.lively:
            self.console.print(line, markup=False, soft_wrap=True)

    def _line(self) -> str:
        left = self.pace.left(self.steps)
        told = [f"step {self.row['step']}/{self.steps}", *self._figures()]
        return "  ".join([*told, *([] if left is None else [f"{words.duration(left)} left"])])

    def _figures(self) -> list[str]:
        row = self.row
        told = [f"loss {words.number(words.smoothed(self.losses)[-1][1])}"] if self.losses else []
        told += [f"{name} {words.number(row[name])}" for name in row if name not in _ASIDE and _is_number(row[name])]
        told += [f"{name} {words.number(row[name])}" for name in ("norm", "lr") if row.get(name) is not None]
        if row.get("samples_per_second") is not None:
            told.append(f"{words.number(row['samples_per_second'])} samples/s")
        if row.get("memory_mib") is not None:
            told.append(words.memory(row["memory_mib"]))
        return told

    def _draw(self) -> None:
        if self.live is not None:
            self.live.update(self._display(), refresh=True)

    def _display(self) -> Group:
        left = self.pace.left(self.steps)
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=self.steps, completed=self.done, width=40),
            Text(f"step {self.done}/{self.steps}"),
            Text("" if left is None or self.done >= self.steps else f"{words.duration(left)} left", style="dim"),
        )
        lines = [Text("  ".join(self._figures()), style="dim")] if self.row else []
        lines += [Text(self.fidelity, style="bold green")] if self.fidelity else []
        lines += [Text(f"warning, {self.warning}", style="yellow")] if self.warning else []
        return Group(bar, *lines)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _gain(probe: Mapping[str, Any]) -> str:
    told = [f"{name} {probe[name]:.3f}" for name in ("gain", "captions") if probe.get(name) is not None]
    return "  " + "  ".join(told) if told and probe.get("normalised") is not None else ""
