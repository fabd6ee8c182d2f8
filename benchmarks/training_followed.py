"""A training in a process of its own, frozen whenever its checkpoints are looked at."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil


@dataclass
class Followed:
    """A training in a process of its own, frozen whenever it is looked at."""

    words: list[str]
    environment: Mapping[str, str]
    log: Path
    cores: int
    frozen: float = 0.0
    peak: float = 0.0
    work: float = 0.0
    process: subprocess.Popen[bytes] = field(init=False)
    began: float = field(init=False)

    def __enter__(self) -> Followed:
        own = sorted(os.sched_getaffinity(0))[: self.cores]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.began = time.time()
            self.process = subprocess.Popen(
                ["taskset", "-c", ",".join(map(str, own)), *self.words],
                env={**os.environ, **self.environment, "OMP_NUM_THREADS": str(self.cores)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self._tell(signal.SIGKILL)
            self.process.wait()

    def _tell(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)

    def checkpoints(self, found: Callable[[], list[tuple[int, Path, float]]]) -> Iterator[tuple[int, Path, float]]:
        """Each new checkpoint, oldest first: steps, path, and seconds of training; frozen while it is looked at.

        Meanwhile ``work`` holds the seconds of processor time it has used, which a busy machine hardly changes.
        """
        seen: set[int] = set()
        while True:
            over = self.process.poll() is not None
            if not over:
                self._notice()
            new = sorted(one for one in found() if one[0] not in seen)
            if new and not over:
                self._tell(signal.SIGSTOP)
            paused, frozen = time.time(), self.frozen
            for step, path, written in new:
                seen.add(step)
                yield step, path, written - self.began - frozen
            if new and not over:
                self._tell(signal.SIGCONT)
                self.frozen += time.time() - paused
            if over:
                self._fail_loudly()
                return
            time.sleep(0.1)

    def _notice(self) -> None:
        """The high-water marks of the process and its children, in MiB, and what they have worked."""
        try:
            main = psutil.Process(self.process.pid)
            total = sum(_high_water(one.pid) for one in (main, *main.children(recursive=True)))
            self.work = sum(main.cpu_times()[:4])
        except psutil.NoSuchProcess:
            return
        self.peak = max(self.peak, total)

    def _fail_loudly(self) -> None:
        if self.process.returncode:
            raise SystemExit(f"{self.words[:3]} failed:\n{self.log.read_text(errors='replace')[-3000:]}")


def _high_water(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
