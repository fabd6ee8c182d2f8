"""A real server in a process of its own, for the measurements of serving."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

READY = re.compile(r"https?://[\w.\-\[\]:]+")


class Server:
    """``hackamore serve`` on a free loopback port; ``url`` once it is ready."""

    def __init__(
        self, folder: Path, options: Sequence[str] = (), threads: int | None = None, seconds: float = 180
    ) -> None:
        self.folder, self.options = folder, list(options)
        self.threads, self.seconds = threads, seconds
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it says where it is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-c", "from hackamore.cli.main import main; main()", "serve", "--port", "0"]
        words += ["--folder", str(self.folder / "jobs"), *self.options]
        environment = dict(os.environ) | ({"OMP_NUM_THREADS": str(self.threads)} if self.threads else {})
        log = (self.folder / "server.log").open("a", encoding="utf-8")
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        assert self.process.stdout is not None
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            line = self.process.stdout.readline()
            if found := READY.search(line):
                self.url = found[0]
                return
            if self.process.poll() is not None:
                break
        raise SystemExit(f"the server did not start:\n{(self.folder / 'server.log').read_text()[-2000:]}")

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """As Ctrl-C does; kill -9 where that does not help within half a minute."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    @property
    def memory_mib(self) -> float:
        """Resident memory of the process and its children."""
        assert self.process is not None
        main = psutil.Process(self.process.pid)
        return sum(one.memory_info().rss for one in (main, *main.children(recursive=True))) / 2**20


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]
