"""The workers of ``hackamore serve --engine ray``: replicas of a Ray Serve deployment, behind one queue and store."""

from __future__ import annotations

import hashlib
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

from hackamore.core.errors import WorkFailed
from hackamore.core.extras import require
from hackamore.serving.cluster import connect, far_settings, share_out
from hackamore.serving.remote import RemoteWorker
from hackamore.serving.replica import Mailbox, Replica
from hackamore.serving.settings import ServeSettings

GRACE = 5.0
"""Seconds that a replica is given to end when it is not needed any more."""
QUIET = {"log_level": "ERROR", "enable_access_log": False}


def ray_workers(settings: ServeSettings) -> list[RemoteWorker]:
    """One worker for each of ``settings.replicas``, once all of them run; the last that is closed ends them.

    The cluster is that of RAY_ADDRESS, or is started on this machine; see :mod:`hackamore.serving.cluster`. A replica
    that dies is started anew by Ray Serve. Raises :class:`HackamoreError` where the cluster has no room for them, and
    :class:`WorkFailed` where it is not reached or a replica cannot begin.
    """
    name, started = app_name(settings), connect(settings.replicas)
    ray, serve = (require(module, "ray", "the ray engine") for module in ("ray", "ray.serve"))  # it reads settings
    end = _ending(ray, serve, name, started)
    try:
        share = share_out(settings)
        settings = far_settings(settings, share)
        serve.start(proxy_location="Disabled", logging_config=QUIET)
        logging.getLogger("ray.serve").setLevel(logging.ERROR)  # it sets its own when it starts
        deployment = serve.deployment(
            name="replica",
            num_replicas=settings.replicas,
            max_ongoing_requests=1,
            ray_actor_options=share.resources,
            graceful_shutdown_timeout_s=GRACE,
            health_check_period_s=2,
            logging_config=QUIET,
        )(Replica)
        handle = serve.run(deployment.bind(settings.model_dump_json(), share.cpus), name=name, route_prefix=None)
        mailbox = ray.remote(num_cpus=0, max_restarts=-1)(Mailbox).remote()
    except Exception as error:
        end()
        if isinstance(error, WorkFailed) or not isinstance(error, RuntimeError):
            raise
        raise WorkFailed("the replicas do not start", received=_last_line(error)) from error
    return _workers(settings, share.device, handle.options(stream=True), mailbox, end)


def _workers(
    settings: ServeSettings, device: str, handle: Any, mailbox: Any, end: Callable[[], None]
) -> list[RemoteWorker]:
    from hackamore.serving.local import LocalWorker
    from hackamore.serving.models import Models

    like = LocalWorker(Models(settings), settings, device, "like those of the replicas")  # it loads nothing here
    leave = _Last(settings.replicas, end)
    names = [f"replica-{place}" for place in range(settings.replicas)]
    return [RemoteWorker(name, handle, mailbox, like.key, like.batch, leave) for name in names]


class _Last:
    """Calls ``end`` when it was called ``count`` times."""

    def __init__(self, count: int, end: Callable[[], None]) -> None:
        self._left, self._end, self._lock = count, end, threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._end()


def _ending(ray: Any, serve: Any, name: str, started: bool) -> Callable[[], None]:
    def end() -> None:
        try:
            if started:
                serve.shutdown()
            else:
                serve.delete(name)
        finally:
            if started:
                ray.shutdown()

    return end


def app_name(settings: ServeSettings) -> str:
    """The same for the same folder on the same machine: a server that is started again replaces what it left."""
    place = f"{socket.gethostname()}:{settings.folder.resolve()}"
    return f"hackamore-{hashlib.sha256(place.encode()).hexdigest()[:12]}"


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
