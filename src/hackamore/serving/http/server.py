"""The server as a process: one socket, one engine, signals that end it cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from anyio import to_thread

from hackamore.core.errors import HackamoreError
from hackamore.serving.http.guard import check_token
from hackamore.serving.http.logs import say, set_up
from hackamore.serving.settings import ServeSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from hackamore.serving.engine import Engine
    from hackamore.serving.models import Models
    from hackamore.serving.worker import Worker

GRACE = 10.0
"""Seconds that running jobs are given when the server is told to stop."""
HANGING = 5.0
"""Seconds after that for answers that are still being sent."""
BACKLOG = 2048
THREADS = 12
"""Requests that are checked at the same time: each may hold the pixels of a large picture."""


def serve(settings: ServeSettings, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; ``ready`` is told the address once requests are answered.

    Jobs that run then have :data:`GRACE` seconds; those that are not done go on at the next start, as waiting ones
    do. Raises :class:`HackamoreError` for settings that cannot be served, such as a host that others can reach
    without a token, a port that is taken, or a base that cannot be loaded.
    """
    check_token(settings)
    with listening(settings.host, settings.port) as listener:
        from hackamore.serving.engine import Engine
        from hackamore.serving.http.app import make_app
        from hackamore.serving.models import Models

        set_up()
        models = Models(settings)
        models.known.check_places()
        models.base()  # so that a wrong path is an error now, and the first request does not wait for it
        workers = make_workers(settings, models)
        engine = Engine(settings, workers, models.check)
        try:
            app = make_app(settings, engine, models)
            engine.start()
        except BaseException:
            for worker in workers:  # an engine that did not start closes none
                worker.close()
            raise
        try:
            Server(app, engine, lambda: ready(address(listener, settings.host))).run([listener])
        finally:
            engine.stop()
        say("stopped")


def make_workers(settings: ServeSettings, models: Models) -> Sequence[Worker]:
    """One worker a device, or one a replica."""
    if settings.engine == "ray":
        from hackamore.serving.ray_engine import ray_workers

        return ray_workers(settings)
    from hackamore.bases.catalog import best_device
    from hackamore.serving.local import LocalWorker

    devices = settings.devices or (str(best_device()),)
    names = [device if devices.count(device) == 1 else f"{device}-{place}" for place, device in enumerate(devices)]
    return [LocalWorker(models, settings, device, name) for device, name in zip(devices, names, strict=True)]


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens on ``host`` and ``port``; 0 takes a free one. A taken one is an error."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        raise HackamoreError(
            f"the server cannot listen on {host} port {port}",
            received=getattr(error, "strerror", None) or str(error),
            remedy="another --port, such as 0 for a free one, or another --host",
        ) from error
    with listener:
        yield listener


def address(listener: socket.socket, host: str) -> str:
    """The URL of a listening socket."""
    name = f"[{host.strip('[]')}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"


class Server(uvicorn.Server):
    """Uvicorn's, which says when it is ready, lets running jobs end when it is told to stop, and exits with 0."""

    def __init__(self, app: FastAPI, engine: Engine, ready: Callable[[], None], grace: float = GRACE) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=int(grace + HANGING),
            )
        )
        self.engine, self.ready, self.grace = engine, ready, grace

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more, and let what runs end; who follows a job is told how it ends, or that nothing more comes."""
        say("stopping", grace=self.grace)
        stopping = asyncio.ensure_future(asyncio.to_thread(self.engine.stop, self.grace))
        await super().shutdown(sockets)
        await stopping

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the server; they are not raised again once it has ended."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal ends it cleanly; a second one at once: what was accepted is on the disk."""
        if self.should_exit:
            os._exit(130)
        self.should_exit = True
