"""The worker inside this process: requests → pictures, on one device."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hackamore.core.errors import Cancelled, HackamoreError, WorkFailed
from hackamore.serving.check import check_limits, keywords
from hackamore.serving.models import Models
from hackamore.serving.previews import Previews
from hackamore.serving.refusal import failure_of
from hackamore.serving.report import made_of
from hackamore.serving.request import Request
from hackamore.serving.settings import ServeSettings
from hackamore.serving.shelf import Holding, NoRoom
from hackamore.serving.worker import Outcome, Stopped, Told

LOG = logging.getLogger(__name__)
ALONE = ("reference", "ip-adapter")
"""Kinds whose controls act inside the base, so that nothing can share their batch."""


@dataclass
class Task:
    """One request made ready: the base, the keywords of a generation, and the units behind its controls."""

    number: int
    request: Request
    base: Any
    told: dict[str, Any]
    units: tuple[Any, ...]


@dataclass
class Listener:
    """Hears how far a generation is, and says so to whoever asked for it; never less than before."""

    number: int
    told: Told
    preview: Callable[[Any], bytes]
    every: int
    share: float = 0.0

    def __call__(self, progress: Any) -> None:
        """Tell the share that is done, and every so many steps a rough picture."""
        self.share = max(self.share, progress.share)
        step = progress.step.index + 1
        shown = self.every and step % self.every == 0 and step < progress.step.total
        self.told(self.number, self.share, self.preview(progress.estimate[0]) if shown else None)


class LocalWorker:
    """Does requests in this process, on ``device``, with what ``models`` has.

    ``batch``: so many pictures are sampled together. Workers on the CPU share its threads evenly.
    """

    def __init__(self, models: Models, settings: ServeSettings, device: str, name: str) -> None:
        import torch

        self.name, self.device = name, device
        self.batch = settings.together(device)
        self._models, self._settings = models, settings
        others = sum(one.startswith("cpu") for one in settings.devices) if device.startswith("cpu") else 1
        self._threads = max(1, torch.get_num_threads() // max(1, others))
        self._previews = Previews()

    def key(self, request: Request) -> object:
        """Base, size, steps, scheduler and strength; None where it is sampled alone.

        On a CPU a canvas's live request is: a batch takes longer than one picture, and somebody watches.
        """
        from hackamore.serving.units import known_control

        watched = request.priority == "live" and self.device.startswith("cpu")
        if self.batch < 2 or request.num >= self.batch or watched:
            return None
        base = self._models.known.base(request.base).name
        known = [known_control(unit, base, self._models.known) for unit in request.controls]
        loaded = [self._models.loaded_control(one) for one in known]
        if any(one.kind in ALONE for one in known) or any(hasattr(one, "attach") for one in loaded):
            return None
        begun = None if request.init is None else (request.mask is not None, request.strength)
        return base, request.size, request.steps, request.scheduler, request.fast, begun

    def work(self, requests: Sequence[Request], told: Told, wanted: Callable[[int], bool]) -> list[Outcome]:
        """An outcome for each request, in order; see :class:`hackamore.serving.worker.Worker`."""
        import torch

        torch.set_num_threads(self._threads)
        outcomes = self._work(dict(enumerate(requests)), told, wanted)
        return [outcomes[number] for number in range(len(requests))]

    def close(self) -> None:
        """Nothing is held between two batches; what is loaded belongs to the models."""

    def _work(self, requests: dict[int, Request], told: Told, wanted: Callable[[int], bool]) -> dict[int, Outcome]:
        from hackamore.generate.together import generate_together

        outcomes: dict[int, Outcome] = {}
        later: list[int] = []
        with self._models.hold() as held:
            bases: dict[int, list[Task]] = {}
            for number, request in requests.items():
                try:
                    if not wanted(number):
                        raise Cancelled("nobody wants it any more")
                    task = self._task(number, request, held)
                    bases.setdefault(id(task.base), []).append(task)
                except Exception as error:  # of this request alone
                    if isinstance(error, NoRoom) and len(requests) > 1:
                        later.append(number)
                    else:
                        outcomes[number] = outcome_of(error)
            for tasks in bases.values():
                asked = [task.told | self._heard(task, told, wanted) for task in tasks]
                results = generate_together(tasks[0].base, asked, batch=self.batch)
                outcomes |= {task.number: _finished(task, one) for task, one in zip(tasks, results, strict=True)}
        for number in later:  # beside the others there was no room for its models
            outcomes |= self._work({number: requests[number]}, told, wanted)
        return outcomes

    def _task(self, number: int, request: Request, held: Holding) -> Task:
        """Load what it needs, make its hints, and check all that was not checked when it was accepted."""
        from hackamore.annotators.recognise import family
        from hackamore.generate.asked import plain_kind
        from hackamore.generate.plan import steps_of
        from hackamore.serving.units import check_heard, known_control, ready_unit, spec_of

        limits = self._settings.limits
        check_limits(request, limits)
        base_name = self._models.known.base(request.base).name
        base = self._models.base(base_name, self.device, held)
        told = keywords(request, base, limits)
        units = []
        for unit in request.controls:
            check_heard(unit, steps_of(base, **told))
            spec, known = spec_of(unit, limits), known_control(unit, base_name, self._models.known)
            control = self._models.control(known.name, base_name, self.device, held, family(plain_kind(unit.kind)))
            units.append(ready_unit(unit, spec, control, known.name, told["size"], limits))
        return Task(number, request, base, told | {"controls": [one.unit for one in units]}, tuple(units))

    def _heard(self, task: Task, told: Told, wanted: Callable[[int], bool]) -> dict[str, Any]:
        def preview(latents: Any) -> bytes:
            return self._previews.png(task.base, latents)

        listener = Listener(task.number, told, preview, task.request.preview)
        return {"progress": listener, "cancelled": lambda: not wanted(task.number)}


def _finished(task: Task, result: Any) -> Outcome:
    """The pictures with their reports; or why there are none."""
    try:
        if isinstance(result, Exception):
            raise result
        return made_of(result, task.units, task.request.verify)
    except Exception as error:  # of this request alone
        return outcome_of(error)


def outcome_of(error: Exception) -> Outcome:
    """What a request whose work raised ``error`` comes to; what nobody foresaw is logged whole and told in a word."""
    import torch

    if isinstance(error, Cancelled):
        return Stopped()
    if isinstance(error, HackamoreError):
        return failure_of(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        what, remedy = "there is not enough memory for this", "a smaller size, or fewer pictures and units"
        return failure_of(WorkFailed(what, received=type(error).__name__, remedy=remedy))
    LOG.error("a request failed", exc_info=error)
    return failure_of(WorkFailed("the work failed", received=type(error).__name__, remedy="the server's log says more"))
