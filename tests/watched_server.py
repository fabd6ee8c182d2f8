"""A server that is watched from inside: what it opens, connects to and runs, and what it answers to hostile inputs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    from tests.hostile_inputs import Input

READY = re.compile(r"http://[\w.\-\[\]:]+")
LEAKS = re.compile(r'Traceback|File "|root:|site-packages')
"""What no answer may hold: a traceback, a path of the installation, a file of the machine."""


def send(client: httpx.Client, url: str, one: Input) -> tuple[int, str] | None:
    """Status and body of the answer; None where the server hung up, as it may on what is no HTTP."""
    if one.raw is not None:
        return _send_raw(url, one.raw)
    headers = {name: value.encode("utf-8", "replace").decode("latin-1") for name, value in one.headers.items()}
    request = client.build_request(one.method, "/", headers=headers, content=one.content)
    at = urlsplit(url)
    target = one.path.encode("utf-8")
    request.url = httpx.URL(scheme="http", host=at.hostname, port=at.port, raw_path=target)
    answer = client.send(request)
    return answer.status_code, answer.text


def _send_raw(url: str, raw: bytes) -> tuple[int, str] | None:
    at = urlsplit(url)
    with socket.create_connection((at.hostname or "", at.port or 0), timeout=5) as door:
        try:
            door.sendall(raw)
            door.shutdown(socket.SHUT_WR)
            data = b""
            while part := door.recv(65536):
                data += part
        except OSError:
            return None
    found = re.match(rb"HTTP/1\.1 (\d{3})", data)
    return (int(found[1]), data.decode("latin-1")) if found else None


def fault_of(answer: tuple[int, str] | None) -> str | None:
    """What is wrong with an answer; None where nothing is."""
    if answer is None:
        return None
    status, body = answer
    if status >= 500:
        return f"status {status}"
    found = LEAKS.search(body)
    return f"told {found[0]!r}" if found else None


RUNS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn")
CALLS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
"""Events of Python's audit that start a process, and that reach out to the network."""
COUNTERS = (
    "/proc/self/stat",
    "/proc/self/limits",
    "/proc/stat",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system",
)
"""What libraries ask the machine of itself."""


class Watched:
    """``hackamore serve`` in a process of its own, in which every file, connection and process is noted."""

    def __init__(self, folder: Path, options: list[str], seconds: float = 180.0) -> None:
        self.folder, self.options, self.seconds = folder, options, seconds
        self.url, self.lines = "", []

    def __enter__(self) -> Watched:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.audit, self.log = self.folder / "audit.jsonl", self.folder / "server.log"
        words = [sys.executable, str(Path(__file__).resolve()), str(self.audit), "serve", "--port", "0"]
        words += ["--folder", str(self.folder / "jobs"), *self.options]
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        end = time.monotonic() + self.seconds
        while not self.url:
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise RuntimeError(f"the server did not start: {self.log.read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.02)
        return self

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.append(line)
            if found := READY.search(line):
                self.url = found[0]

    def arm(self) -> None:
        """From now on everything is noted."""
        self.process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + 10
        while "armed" not in self.audit.read_text(encoding="utf-8") and time.monotonic() < end:
            time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.reader.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()

    @property
    def forbidden(self) -> list[list[str]]:
        """What it did that it must not do."""
        noted = [json.loads(line) for line in self.audit.read_text(encoding="utf-8").splitlines()]
        return [one for one in noted if one[0] != "armed"]


def _allowed(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prefixes of paths that may be read, and that may be written."""
    code = {
        sys.prefix,
        sys.base_prefix,
        *sysconfig.get_paths().values(),
        str(Path(__file__).resolve().parents[1] / "src"),
    }
    own = (str(folder / "jobs"), "/dev/null")
    return (*own, *code, *COUNTERS, "/dev/urandom", "/usr/share/zoneinfo", "/usr/lib", "/lib"), own


def watch(audit: Path) -> None:
    """Note, once SIGUSR1 has come, what this process opens, connects to and runs beyond what a server needs."""
    note = os.open(audit, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    reads, writes = _allowed(audit.parent)
    temporary = tempfile.gettempdir()
    armed = False

    def say(*told: str) -> None:
        os.write(note, (json.dumps(told) + "\n").encode())

    def arm(*_: object) -> None:
        nonlocal armed
        armed = True
        say("armed")

    def hook(event: str, told: tuple[Any, ...]) -> None:
        if not armed:
            return
        if event == "open":
            path, _, flags = told
            if isinstance(path, int):
                return
            name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
            changes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            unnamed = os.path.dirname(name) == temporary and (flags & os.O_TMPFILE) == os.O_TMPFILE  # noqa: PTH120
            if not name.startswith(writes if changes else reads) and not unnamed and name != temporary:
                say(event, name, str(flags))
        elif event in CALLS:
            say(event, str(told[-1] if event == "socket.connect" else told[0]))
        elif event in RUNS or (event == "os.listdir" and not str(told[0]).startswith(reads)):
            say(event, str(told[0]))

    signal.signal(signal.SIGUSR1, arm)
    sys.addaudithook(hook)


@contextmanager
def patient_client(url: str, headers: dict[str, str] | None = None) -> Iterator[httpx.Client]:
    """A client without proxies, that waits long: the machine may be busy."""
    with httpx.Client(base_url=url, timeout=120, trust_env=False, headers=headers) as client:
        yield client


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
    sys.argv = ["hackamore", *sys.argv[2:]]
    from hackamore.cli.main import main

    main()
