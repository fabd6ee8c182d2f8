"""A file of jobs → a folder of pictures: in this process, or on a cluster with Ray Data."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hackamore.core.errors import HackamoreError
from hackamore.core.extras import require
from hackamore.serving.batch_lines import Line, check_lines, read_line
from hackamore.serving.batch_record import Record
from hackamore.serving.cluster import connect, far_settings, share_out
from hackamore.serving.job import Failure
from hackamore.serving.models import Models
from hackamore.serving.refusal import failure_of
from hackamore.serving.replica import make_worker
from hackamore.serving.request import Request
from hackamore.serving.settings import Limits, ServeSettings
from hackamore.serving.worker import Outcome, Worker

WIDE = Limits(pixels=2**26, source_pixels=2**28, steps=10_000, pictures=10_000, units=100)
"""Of an operator's own jobs, where the settings have no others."""
Ended = tuple[Line, Outcome, float]
Told = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Summary:
    """How many jobs were done, had been done before, and failed; the failed ones as ``results.jsonl`` has them."""

    done: int
    before: int
    failed: tuple[dict[str, Any], ...]


def run_batch(path: Path, folder: Path, settings: ServeSettings, resume: bool, told: Told) -> Summary:
    """Do every job of the file ``path`` that is not finished in ``folder``; ``told`` hears of each as it ends.

    All lines are checked first: a wrong one is a :class:`HackamoreError`, and nothing is done. A job that fails does
    not harm the others. ``settings``: its bases, controls, devices, engine and replicas.
    """
    if "limits" not in settings.model_fields_set:
        settings = settings.model_copy(update={"limits": WIDE})
    models = Models(settings)
    models.known.check_places()
    lines = check_lines(path, models.check)
    with Record(folder, resume) as record:
        left = record.left(lines)
        ended = _far(path, left, settings) if settings.engine == "ray" else _near(path, left, settings, models)
        written = []
        for line, outcome, seconds in ended if left else ():
            written.append(record.add(line, outcome, seconds))
            told(written[-1])
    failed = tuple(one for one in written if one["state"] == "failed")
    return Summary(len(written) - len(failed), len(lines) - len(left), failed)


def _near(path: Path, lines: Sequence[Line], settings: ServeSettings, models: Models) -> Iterator[Ended]:
    """In this process, one thread a device."""
    from hackamore.bases.catalog import best_device
    from hackamore.serving.local import LocalWorker

    devices = settings.devices or (str(best_device()),)
    settings = settings.model_copy(update={"devices": devices})
    workers = [LocalWorker(models, settings, device, f"{device}-{k}") for k, device in enumerate(devices)]
    groups = _Groups(path, lines, workers[0])
    stop = threading.Event()
    with ThreadPoolExecutor(len(workers)) as pool:

        def one(worker: LocalWorker) -> list[Ended] | None:
            group = groups.take()
            return None if group is None else _done(worker, group, lambda _: not stop.is_set())

        going = {pool.submit(one, worker): worker for worker in workers}
        try:
            while going:
                future = next(as_completed(going))
                worker, ended = going.pop(future), future.result()
                if ended is not None:
                    going[pool.submit(one, worker)] = worker
                    yield from ended
        finally:
            stop.set()


class _Groups:
    """The jobs in their order, by as many as are worked on together. Safe to take from any thread."""

    def __init__(self, path: Path, lines: Sequence[Line], worker: Any) -> None:
        self._left = list(reversed(lines))
        self._path, self._worker, self._lock = path, worker, threading.Lock()

    def take(self) -> list[tuple[Line, Request | HackamoreError]] | None:
        """The next ones; None: there are no more."""
        with self._lock:
            taken: list[tuple[Line, Request | HackamoreError]] = []
            key = None
            while self._left and len(taken) < max(1, self._worker.batch):
                line = self._left[-1]
                request = read_or_error(self._path, line)
                own = None if isinstance(request, HackamoreError) else self._worker.key(request)
                if taken and (own is None or own != key):
                    break
                self._left.pop()
                taken.append((line, request))
                key = own
                if key is None:
                    break
            return taken or None


def read_or_error(path: Path, line: Line) -> Request | HackamoreError:
    """The request of a line, or why there is none any more."""
    try:
        return read_line(path, line)
    except HackamoreError as error:
        return error


def _done(
    worker: Worker, group: Sequence[tuple[Line, Request | HackamoreError]], wanted: Callable[[int], bool]
) -> list[Ended]:
    """What became of a group; their seconds are shared evenly."""
    began = time.monotonic()
    found = [(line, one) for line, one in group if isinstance(one, Request)]
    outcomes = worker.work([one for _, one in found], lambda *_: None, wanted) if found else []
    seconds = (time.monotonic() - began) / len(group)
    ended: list[Ended] = [(line, outcome, seconds) for (line, _), outcome in zip(found, outcomes, strict=True)]
    return ended + [(line, failure_of(one), 0.0) for line, one in group if isinstance(one, HackamoreError)]


class Source:
    """Gives requests to whoever works on them; it runs where the file of jobs lies."""

    def __init__(self, path: str, lines: Sequence[Line]) -> None:
        self._path, self._lines = Path(path), lines

    def read(self, place: int) -> tuple[Line, Request | HackamoreError]:
        """Job number ``place`` of those that are left."""
        line = self._lines[place]
        return line, read_or_error(self._path, line)


class Actor:
    """Works on batches of a data set of places; it runs wherever there is room."""

    def __init__(self, told: str, cpus: int, source: Any) -> None:
        self._worker = make_worker(told, cpus)
        self._source = source

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """``place`` → ``place`` and ``ended``: what became of it, pickled."""
        ray = require("ray", "ray", "the ray engine")
        places = [int(place) for place in batch["place"]]
        group = ray.get([self._source.read.remote(place) for place in places])
        ended = {line.name: (outcome, seconds) for line, outcome, seconds in _done(self._worker, group, lambda _: True)}
        return {"place": places, "ended": [pickle.dumps(ended[line.name]) for line, _ in group]}


def _far(path: Path, lines: Sequence[Line], settings: ServeSettings) -> Iterator[Ended]:
    """On a cluster, one actor a replica; a job that its actor dies of twice has failed."""
    started = connect(settings.replicas)
    ray, data = (require(module, "ray", "the ray engine") for module in ("ray", "ray.data"))
    try:
        share = share_out(settings)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        source = ray.remote(num_cpus=0)(Source).options(scheduling_strategy=here).remote(str(path.resolve()), lines)
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # they are told as failed jobs, and the others go on
        together = settings.together(share.device)
        places = data.from_items(
            [{"place": k} for k in range(len(lines))], override_num_blocks=-(-len(lines) // together)
        )
        far = places.map_batches(
            Actor,
            fn_constructor_args=(far_settings(settings, share).model_dump_json(), share.cpus, source),
            compute=data.ActorPoolStrategy(size=min(settings.replicas, -(-len(lines) // together))),
            batch_size=together,
            ray_remote_args_fn=lambda: {"max_task_retries": 1},
            **share.resources,
        )
        yield from _back(far, lines)
    finally:
        if started:
            ray.shutdown()


def _back(far: Any, lines: Sequence[Line]) -> Iterator[Ended]:
    missing = dict(enumerate(lines))
    for row in far.iter_rows():
        outcome, seconds = pickle.loads(row["ended"])
        yield missing.pop(int(row["place"])), outcome, seconds
    words = Failure(what="whoever worked on it died, twice", remedy="another size, base or control", input=False)
    yield from ((line, words, 0.0) for line in missing.values())
