"""A whole server on a small worker of its own: real pictures with real Recipes, and work that can be held."""

from __future__ import annotations

import base64
import hashlib
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from PIL import Image

from hackamore.core.image import png
from hackamore.core.recipe import Machine, Recipe, UnitRecipe, embed, save_png
from hackamore.serving.engine import Engine
from hackamore.serving.http.app import make_app
from hackamore.serving.http.server import Server, listening
from hackamore.serving.job import Failure, PictureReport, UnitReport
from hackamore.serving.models import Models
from hackamore.serving.request import Request
from hackamore.serving.settings import ServeSettings
from hackamore.serving.worker import Made, Outcome, Stopped, Told

LOCAL = "http://127.0.0.1:7860"
MACHINE = Machine(hackamore="0", torch="0", diffusers="0", backend="cpu", dtype="float32", threads=1)


class Painter:
    """Paints one colour a picture; a step waits until ``go`` is set. The prompt "fail" fails, "die" is a fault."""

    name = "painter"

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()

    def key(self, request: Request) -> object:
        """Each alone."""
        return None

    def work(self, requests: Sequence[Request], told: Told, wanted: Any) -> list[Outcome]:
        """An outcome each."""
        return [self._one(number, request, told, wanted) for number, request in enumerate(requests)]

    def _one(self, number: int, request: Request, told: Told, wanted: Any) -> Outcome:
        if request.prompt == "fail":
            return Failure(what="the colours ran out", received=request.negative, remedy="another prompt", input=False)
        for step in range(request.steps):
            while not self.go.wait(0.01):
                if not wanted(number):
                    return Stopped()
            if not wanted(number):
                return Stopped()
            told(number, (step + 1) / request.steps, png(_plain(step)) if request.preview else None)
        return made(request)

    def close(self) -> None:
        """Nothing is held."""


def made(request: Request) -> Made:
    """Pictures of one colour each, with Recipes, and a hint for every unit."""
    hints = [_plain(200 + place) for place, _ in enumerate(request.controls)]
    units = tuple(
        UnitRecipe(control=f"meadow/{unit.kind}", kind=unit.kind, hint=embed(hint))
        for unit, hint in zip(request.controls, hints, strict=True)
    )
    reports = tuple(
        UnitReport(
            control=unit.control, kind=unit.kind, scale=1.0, start=0.0, end=1.0, schedule=None, mode="balanced",
            masked=False, hint_sha256="0" * 64,
        )
        for unit in units
    )  # fmt: skip
    pictures, told = [], []
    for index in range(request.num):
        seed = (request.seed or 0) + index
        recipe = Recipe(
            base="meadow", prompt=request.prompt, seed=seed, size=(32, 32), scheduler="ddim", steps=request.steps,
            guidance=3.0, units=units, machine=MACHINE, init=request.init,
        )  # fmt: skip
        data = _png(_plain(seed % 256), recipe)
        pictures.append(data)
        digest = hashlib.sha256(data).hexdigest()
        told.append(PictureReport(index=index, seed=seed, width=32, height=32, sha256=digest, units=reports))
    return Made(tuple(pictures), tuple(told), tuple(map(png, hints)))


@dataclass
class Rig:
    """A server: its parts, and its application."""

    settings: ServeSettings
    engine: Engine
    models: Models
    painter: Painter
    app: FastAPI = field(init=False)

    def __post_init__(self) -> None:
        self.app = make_app(self.settings, self.engine, self.models)


@contextmanager
def rig(folder: Path, **settings: Any) -> Iterator[Rig]:
    """A server's parts, its engine at work."""
    told = ServeSettings(**({"folder": folder / "jobs", "canvas": False} | settings))
    models, painter = Models(told), Painter()
    engine = Engine(told, [painter], models.check)
    with engine:
        yield Rig(told, engine, models, painter)
        painter.go.set()


@contextmanager
def served(one: Rig) -> Iterator[str]:
    """Its application on a free port of this machine; the URL."""
    up = threading.Event()
    with listening("127.0.0.1", 0) as listener:
        server = Server(one.app, one.engine, up.set, grace=2.0)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        port = listener.getsockname()[1]
        thread.start()
        assert up.wait(30)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


class _Lasting:
    """An engine that a server cannot stop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def stop(self, grace: float = 0.0) -> None:
        """It goes on."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def lasting(parts: Rig) -> Rig:
    """The same server, whose engine outlives the listening one."""
    engine: Any = _Lasting(parts.engine)
    return Rig(parts.settings, engine, parts.models, parts.painter)


def request(**told: Any) -> Request:
    """A request for a picture of anything."""
    return Request(**({"prompt": "x"} | told))


def done(client: Any, **told: Any) -> dict[str, Any]:
    """A job that is asked for and over."""
    answer = client.post("/v1/jobs?wait=true", json={"prompt": "x", "steps": 2, "seed": 5, **told})
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


def until(true: Any, seconds: float = 20.0) -> None:
    """Wait until ``true()``."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def picture(width: int = 32, height: int = 32, form: str = "PNG") -> str:
    """A picture with an edge in it, in base64."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :] = 255
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format=form)
    return base64.b64encode(buffer.getvalue()).decode()


def errors_of(answer: httpx.Response) -> dict[str, Any]:
    """The error of an answer, which has the one form."""
    body = answer.json()
    assert {"what", "received", "expected", "remedy", "message", "type", "param", "code"} == set(body["error"])
    assert body["detail"].startswith(body["error"]["what"])
    assert "Traceback" not in answer.text
    error: dict[str, Any] = body["error"]
    return error


def _plain(value: int) -> Any:
    return np.full((32, 32, 3), value % 256, np.uint8)


def _png(pixels: Any, recipe: Recipe) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        save_png(pixels, recipe, path)
        return path.read_bytes()
