"""The other end of a worker that is elsewhere: it runs in a process of Ray, on whatever machine has room."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

from hackamore.serving.request import Request
from hackamore.serving.settings import ServeSettings
from hackamore.serving.worker import Outcome, Worker

POLL = 0.1
"""Seconds between two looks whether the work is still wanted."""
BEGUN = "begun"
Step = tuple[int, float, bytes | None]
"""As ``told`` has it: number, share, preview."""


def make_worker(told: str, cpus: int) -> Worker:
    """A worker of this process as the settings (JSON) say, with ``cpus`` torch threads and its first base loaded."""
    import torch

    from hackamore.serving.local import LocalWorker
    from hackamore.serving.models import Models

    torch.set_num_threads(cpus)
    settings = ServeSettings.model_validate_json(told)
    models = Models(settings)
    models.base(device=settings.devices[0])
    return LocalWorker(models, settings, settings.devices[0], "replica")


class Replica:
    """Does requests one batch at a time, and tells on the way how far it is."""

    def __init__(self, told: str, cpus: int) -> None:
        self._worker = make_worker(told, cpus)
        self._alone = threading.Lock()  # work that was given up may still end its step when the next comes

    async def work(
        self, requests: Sequence[str], ticket: str, mailbox: Any
    ) -> AsyncIterator[str | Step | list[Outcome]]:
        """First ``BEGUN``, then each :data:`Step`, at last the outcomes. ``requests``: JSON.

        ``mailbox`` tells which of them nobody wants any more. Where nobody hears this, it stops between two steps.
        """
        loop = asyncio.get_running_loop()
        heard: asyncio.Queue[Step | None] = asyncio.Queue()
        unwanted: set[int] = set()
        alone = threading.Event()

        def told(number: int, share: float, preview: bytes | None) -> None:
            loop.call_soon_threadsafe(heard.put_nowait, (number, share, preview))

        def work() -> list[Outcome]:
            with self._alone:
                read = [Request.model_validate_json(one) for one in requests]
                return self._worker.work(read, told, lambda number: not alone.is_set() and number not in unwanted)

        working = asyncio.ensure_future(asyncio.to_thread(work))
        working.add_done_callback(lambda _: heard.put_nowait(None))
        asking = asyncio.ensure_future(_ask(mailbox, ticket, unwanted, alone))
        try:
            yield BEGUN
            while (step := await heard.get()) is not None:
                yield step
            yield await working
        finally:
            alone.set()
            asking.cancel()


async def _ask(mailbox: Any, ticket: str, unwanted: set[int], alone: threading.Event) -> None:
    try:
        while True:
            unwanted.update(await mailbox.unwanted.remote(ticket))
            await asyncio.sleep(POLL)
    except Exception:  # the server is gone, and with it everyone who wanted this
        alone.set()


class Mailbox:
    """What a server tells its replicas while they work: which requests of which batch are not wanted any more."""

    def __init__(self) -> None:
        self._unwanted: dict[str, set[int]] = {}

    def tell(self, ticket: str, numbers: Sequence[int]) -> None:
        """These of the batch ``ticket`` are not wanted."""
        self._unwanted.setdefault(ticket, set()).update(numbers)

    def unwanted(self, ticket: str) -> list[int]:
        """All of the batch that are not."""
        return sorted(self._unwanted.get(ticket, ()))

    def forget(self, ticket: str) -> None:
        """The batch is over."""
        self._unwanted.pop(ticket, None)
