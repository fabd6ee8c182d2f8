"""A worker whose work is done elsewhere: by whichever replica of a Ray Serve deployment is free."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from hackamore.serving.replica import BEGUN, POLL
from hackamore.serving.request import Request
from hackamore.serving.worker import Outcome, Stopped, Told, WorkerDied


class RemoteWorker:
    """One place in a deployment of :class:`hackamore.serving.replica.Replica`; an engine has as many as replicas.

    ``handle``: of the deployment, streaming. ``mailbox``: the actor that tells replicas what is not wanted. ``key``
    and ``batch``: those of the workers in the replicas. ``leave`` is called once, when it is closed.
    """

    def __init__(
        self,
        name: str,
        handle: Any,
        mailbox: Any,
        key: Callable[[Request], object],
        batch: int,
        leave: Callable[[], None],
    ) -> None:
        self.name, self.batch = name, batch
        self._handle, self._mailbox, self._key, self._leave = handle, mailbox, key, leave
        self._open = True

    def key(self, request: Request) -> object:
        """As the replica's own worker has it."""
        return self._key(request)

    def work(self, requests: Sequence[Request], told: Told, wanted: Callable[[int], bool]) -> list[Outcome]:
        """An outcome for each request, in order; raises :class:`WorkerDied` where the replica did not give them."""
        call = _Call(self._mailbox, len(requests), wanted)
        try:
            words = [one.model_dump_json() for one in requests]
            call.stream = self._handle.work.remote(words, call.ticket, self._mailbox)
            with call.watched():
                for word in call.stream:
                    if isinstance(word, list):
                        return word
                    if word == BEGUN:
                        call.begun = True
                    else:
                        told(*word)
        except (Exception, asyncio.CancelledError) as error:  # Ray has many ways to say that somebody is gone
            if call.given_up:
                return [Stopped()] * len(requests)
            raise WorkerDied(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}") from error
        raise WorkerDied("the replica ended without an outcome")

    def close(self) -> None:
        """Give the place back."""
        if self._open:
            self._open = False
            self._leave()


class _Call:
    """One batch on its way."""

    def __init__(self, mailbox: Any, count: int, wanted: Callable[[int], bool]) -> None:
        self.ticket = uuid4().hex
        self.stream: Any = None
        self.begun = False
        self.given_up = False
        self._mailbox, self._count, self._wanted = mailbox, count, wanted
        self._over = threading.Event()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While it lasts, a thread tells the replica what is not wanted any more."""
        thread = threading.Thread(target=self._watch, name=f"watch of {self.ticket}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            self._mailbox.forget.remote(self.ticket)

    def _watch(self) -> None:
        while not self._over.wait(POLL):
            unwanted = [number for number in range(self._count) if not self._wanted(number)]
            if unwanted and self.begun:
                self._mailbox.tell.remote(self.ticket, unwanted)
            elif len(unwanted) == self._count:  # no replica is free yet, so that none can be told
                self.given_up = True
                self.stream.cancel()
                return
