"""What a run says of itself: a line of JSON every so many steps, and word to everybody who watches."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.core.files import written_whole
from hackamore.training.processes import Processes
from hackamore.training.settings import RunSettings
from hackamore.training.watcher import Watcher


class Audience:
    """All who watch a run. One that fails is reported once and never stops the run."""

    def __init__(self, watchers: Sequence[Watcher], report: Callable[[str], None]) -> None:
        self.watchers, self.report = watchers, report
        self._failed: set[int] = set()

    def tell(self, what: str, *told: Any) -> None:
        """Call the method ``what`` of each."""
        for watcher in self.watchers:
            try:
                getattr(watcher, what)(*told)
            except Exception as error:
                if id(watcher) not in self._failed:
                    self._failed.add(id(watcher))
                    with suppress(OSError):  # a full disk takes no warning either
                        who = f"{type(watcher).__name__} failed in {what}, training goes on"
                        self.report(f"{who}: {type(error).__name__}: {error}")


class Log:
    """``log.jsonl``: means over ``log_every`` steps, probes and warnings; rows beyond ``start`` are dropped.

    The means are those of all processes; rates are of this start alone. Only the main process writes.
    """

    def __init__(self, path: Path, start: int, processes: Processes, run: RunSettings) -> None:
        self.path, self.processes, self.run = path, processes, run
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.fresh, self.since = 0, time.monotonic()
        self.hear: Callable[[dict[str, Any]], None] | None = None
        if processes.main:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = [row for row in read_log(path) if row["step"] <= start]
            with written_whole(path) as temporary:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")

    def add(self, step: int, losses: dict[str, Tensor], norm: Tensor, lr: float) -> None:
        """Take in a step; write a row when it is time. Every process must call it."""
        for name, value in {**losses, "norm": norm}.items():
            value = _precise(value.detach())
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1  # a reward's losses begin in mid-window
        self.fresh += 1
        if (step + 1) % self.run.log_every and step + 1 != self.run.steps:
            return
        means = {name: float(total) / self.counts[name] for name, total in self._met().items()}
        now = time.monotonic()
        rate = self.fresh * self.run.batch_size / max(now - self.since, 1e-9)
        self.sums, self.counts, self.fresh, self.since = {}, {}, 0, now
        row = {name: float(f"{value:.9g}") for name, value in means.items()}  # all that single precision has
        row |= {"lr": float(f"{lr:.6g}"), "samples_per_second": float(f"{rate:.4g}"), "memory_mib": peak_memory()}
        self.write({"step": step + 1, **row})

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Inside, time does not count for the rate of steps: probes, samples, checkpoints."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.since += time.monotonic() - began

    def _met(self) -> dict[str, Tensor]:
        return {name: self.processes.mean(total) for name, total in self.sums.items()}

    def state(self) -> dict[str, Any]:
        """What the next row has so far, for a checkpoint; every process must ask."""
        self.sums = self._met()
        return {"sums": {name: total.cpu() for name, total in self.sums.items()}, "counts": dict(self.counts)}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.sums = {name: total.to(self.processes.device) for name, total in state["sums"].items()}
        counts = state.get("counts") or dict.fromkeys(self.sums, state.get("count", 1))
        self.counts = {name: int(count) for name, count in counts.items()}

    def warn(self, step: int, words: str) -> None:
        """A warning after ``step`` steps."""
        self.write({"step": step, "warning": words})

    def write(self, row: dict[str, Any]) -> None:
        """Append a row and tell it to whoever hears."""
        if self.processes.main:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            if self.hear is not None:
                self.hear(row)

    def rows(self) -> list[dict[str, Any]]:
        """All rows so far."""
        return read_log(self.path)


def _precise(value: Tensor) -> Tensor:
    """Double precision where the device has it."""
    return value.float() if value.device.type == "mps" else value.double()


def peak_memory() -> float:
    """The most memory that this process has held so far, MiB: of its GPU where it has one, else of the machine."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a run's ``log.jsonl``; a line cut short is dropped."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows
