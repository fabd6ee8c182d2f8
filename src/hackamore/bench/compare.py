"""Two sides in turn: medians, ratios, the largest difference of their latents, and memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from hackamore.bench.job import Job
from hackamore.core.errors import WorkFailed


class Side:
    """A job in a process of its own, which waits between its runs."""

    def __init__(self, job: Job) -> None:
        self.job, self.began = job, time.time()
        environment = {**os.environ, "OMP_NUM_THREADS": str(job.threads), "HF_HUB_OFFLINE": "1"}
        self._words = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 – closed on exit
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hackamore.bench.side"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words, text=True, env=environment,
        )  # fmt: skip
        self.runs: list[dict[str, Any]] = []
        try:
            self.load: float = self.ask(job.dumps())["load"]
        except WorkFailed:
            self.close()
            raise

    def __enter__(self) -> Side:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        try:
            self._process.communicate("end\n", timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.communicate()
        self._words.close()

    def ask(self, line: str) -> dict[str, Any]:
        """A line to the process, and its answer; raises :class:`WorkFailed` with its last words where it has none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            self._words.seek(0)
            words = [line for line in self._words.read().splitlines() if line and not line.startswith(" ")]
            told = next((line for line in reversed(words) if "Error" in line), (words or ["it said nothing"])[-1])
            raise WorkFailed(f"{self.job.side} on {self.job.backend} failed", received=told)
        found: dict[str, Any] = json.loads(answer)
        return found

    def run(self) -> None:
        """Once."""
        self.runs.append(self.ask("run"))

    def median(self, key: str) -> float:
        """Of all runs but the first, which warms up; of the only one where there is one."""
        rest = self.runs[1:] or self.runs
        return float(statistics.median(run[key] for run in rest))

    def told(self) -> dict[str, Any]:
        """Everything measured so far."""
        steps = [second for run in self.runs[1:] or self.runs for second in run["steps"]]
        return {
            "load": self.load,
            "cold": self.runs[0]["clock"] - self.began,
            "seconds": self.median("seconds"),
            "all": [run["seconds"] for run in self.runs],
            "step": statistics.median(steps) if steps else None,
            "peak": self.runs[-1]["peak"],
        }


def compare(reference: Job, other: Job, runs: int, told: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Both sides, each loaded once, then run in turn: once to warm up, and ``runs`` times.

    Gives what each took, the median of the ratios of runs that followed one another (``other`` ÷ ``reference``), and
    the largest difference of their latents where both have the same shape.
    """
    with Side(reference) as first, Side(other) as second, tempfile.TemporaryDirectory() as folder:
        for number in range(1 + runs):
            for side in (first, second):
                side.run()
                if told is not None:
                    told(f"{side.job.side} on {side.job.backend}, run {number}: {side.runs[-1]['seconds']:.3f} s")
        difference = largest_difference([first, second], Path(folder))
        return {
            "reference": first.told(),
            "other": second.told(),
            "ratio": ratio(first, second, "seconds"),
            "step ratio": _or_none(second.told()["step"], first.told()["step"]),
            "memory ratio": second.runs[-1]["peak"] / first.runs[-1]["peak"],
            "difference": difference,
        }


def ratio(first: Side, second: Side, key: str) -> float:
    """The median of the ratios of runs that followed one another."""
    pairs = list(zip(first.runs, second.runs, strict=True))
    return float(statistics.median(b[key] / a[key] for a, b in pairs[1:] or pairs))


def largest_difference(sides: Sequence[Side], folder: Path) -> float | None:
    """Between the latents that two sides made last."""
    import torch

    files = [folder / f"{number}.pt" for number in range(len(sides))]
    for side, file in zip(sides, files, strict=True):
        side.ask(f"keep {file}")
    a, b = (torch.load(file, weights_only=True) for file in files)
    return float((a - b).abs().max()) if a.shape == b.shape else None


def _or_none(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b
