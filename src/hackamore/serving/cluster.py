"""A Ray cluster: this machine alone, or the one that RAY_ADDRESS names; and how its cores and GPUs are shared."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.core.extras import require
from hackamore.serving.settings import ServeSettings

OBJECTS = 512 << 20
"""Bytes that Ray keeps for messages on a machine that it was started on by us; requests and pictures are small."""

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "5"}
"""Of Ray's settings, where the environment has no others; replicas that compute are slow to say how busy they are."""
ATTEMPTS = 3
"""Ray gives its own helpers 15 seconds to start, which on a busy machine is not always enough."""


@dataclass(frozen=True)
class Share:
    """What one replica is given. ``cpus``: also its torch threads."""

    cpus: int
    gpus: int
    device: str

    @property
    def resources(self) -> dict[str, int]:
        """As Ray's options of an actor."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus}


def connect(replicas: int) -> bool:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine; whether it was started.

    No dashboard, no statistics for anyone, no log of the workers on this terminal. Raises :class:`WorkFailed` where
    the cluster is not reached.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    ray = require("ray", "ray", "the ray engine")
    if ray.is_initialized():
        return False
    address = os.environ.get("RAY_ADDRESS")
    try:
        if address:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            _start(ray, max(len(os.sched_getaffinity(0)), replicas))
    except Exception as error:
        raise WorkFailed(
            "the Ray cluster is not reached" if address else "Ray does not start on this machine",
            received=f"{address}: {error}" if address else error,
            remedy="RAY_ADDRESS of a cluster that runs, or none to start one here",
        ) from error
    return not address


def _start(ray: Any, cores: int) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            ray.init(
                address="local", num_cpus=cores, object_store_memory=OBJECTS, include_dashboard=False,
                log_to_driver=False, logging_level=logging.ERROR,
            )  # fmt: skip
        except Exception:
            ray.shutdown()
            if attempt == ATTEMPTS:
                raise
        else:
            return


def share_out(settings: ServeSettings) -> Share:
    """What each replica is given on the cluster that this process is connected to.

    Raises :class:`HackamoreError` where the cluster has no room for so many.
    """
    ray = require("ray", "ray", "the ray engine")
    return share_of([node["Resources"] for node in ray.nodes() if node["Alive"]], settings)


def share_of(nodes: Sequence[dict[str, Any]], settings: ServeSettings) -> Share:
    """A GPU each where there are any (or ``settings.devices`` says so), and as many cores as every replica can have."""
    replicas = settings.replicas
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    device = settings.devices[0] if settings.devices else "cuda" if gpus else "cpu"
    each = 0 if device.startswith("cpu") else 1
    most = max((int(node.get("CPU", 0)) for node in nodes), default=0)
    fits = [cpus for cpus in range(1, most + 1) if _room(nodes, cpus, each) >= replicas]
    if not fits:
        cores = sum(int(node.get("CPU", 0)) for node in nodes)
        raise HackamoreError(
            "the Ray cluster has no room for the replicas",
            received=f"{replicas} on {len(nodes)} machines with {cores} cores and {gpus} GPUs",
            expected=f"a core{' and a GPU' if each else ''} each",
            remedy="fewer --replicas, or more machines",
        )
    return Share(max(fits), each, "cuda" if each else device)


def _room(nodes: Sequence[dict[str, Any]], cpus: int, gpus: int) -> int:
    rooms = [(int(node.get("CPU", 0)) // cpus, int(node.get("GPU", 0)) // gpus if gpus else None) for node in nodes]
    return sum(by_cpu if by_gpu is None else min(by_cpu, by_gpu) for by_cpu, by_gpu in rooms)


def far_settings(settings: ServeSettings, share: Share) -> ServeSettings:
    """The settings as a replica is told them: its device, and no secret."""
    return settings.model_copy(update={"devices": (share.device,), "token": None})
