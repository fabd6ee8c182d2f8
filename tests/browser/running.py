"""A real server with Meadow, and pages of a real browser in fresh profiles."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

MISSING = "no Chromium for the tests of the canvas: apt-get install chromium"
NAMES = ("chromium", "chromium-browser", "google-chrome")
START = 180
"""Seconds that a server may take until it answers; a busy machine needs many."""
PATIENCE = 60_000
"""Milliseconds that anything on the page may take."""


def chromium() -> str:
    """The browser's program; without one the test is skipped, or fails where a browser is required."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        (pytest.fail if os.environ.get("HACKAMORE_BROWSER") == "require" else pytest.skip)(MISSING)
    return found


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[str]:
    """``hackamore serve`` with further options while the block lasts; its address."""
    places = ["--port", "0", "--folder", str(folder / "jobs")]
    command = [sys.executable, "-m", "hackamore.cli.main", "serve", *places, *options]
    log = folder / "log.txt"
    with log.open("w") as told:
        process = subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT)
    try:
        yield _ready(process, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + START
    while time.monotonic() < until and process.poll() is None:
        lines = [line for line in log.read_text().splitlines() if line.startswith("hackamore serves ")]
        if lines:
            address = lines[0].rsplit(" ", 1)[1].rstrip("/")
            with urlopen(f"{address}/healthz") as answer:
                assert answer.status == 200
            return address
        time.sleep(0.1)
    pytest.fail(f"the server did not start:\n{log.read_text()[-3000:]}")


Open = Callable[..., Any]


@contextmanager
def profiles(browser: Any, server: str) -> Iterator[Open]:
    """``open_page(tab="paint", width=1280, height=860, ready=True, **context)``: the page in a fresh profile.

    ``tab=None`` goes nowhere yet. At the end nothing of it may have thrown, and no other server may have been asked.
    """
    contexts, troubles = [], []

    def opened(tab: str | None = "paint", width: int = 1280, height: int = 860, ready: bool = True, **told: Any) -> Any:
        told = {"locale": "en-US", "color_scheme": "light", **told}
        context = browser.new_context(viewport={"width": width, "height": height}, **told)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(f"thrown: {error}"))
        page.on("request", lambda request: _stays(request.url, server) or troubles.append(f"asked for {request.url}"))
        if tab is None:
            return page
        page.goto(f"{server}/#{tab}")
        if ready:
            page.wait_for_selector(f"#hm-panel-{tab}:not([hidden])")
        return page

    try:
        yield opened
    finally:
        for context in contexts:
            context.close()
    assert not troubles


def _stays(url: str, server: str) -> bool:
    return url.startswith((f"{server}/", "data:", "blob:"))
