"""A server without HTTP, in a process of its own that can be killed; it writes to LOG what it is told.

    python -m tests.serving_child FOLDER LOG SUBMIT CUT

Takes up what is there, accepts SUBMIT more requests, and ends when all jobs are over. ``CUT``: ``never``; ``files``:
kill -9 when the first pictures are written and not yet told; ``half``: when the first of them is.
"""

import os
import signal
import sys
import time
from pathlib import Path

from hackamore.serving import store
from hackamore.serving.engine import Engine, Full
from hackamore.serving.request import Request
from hackamore.serving.settings import Limits, ServeSettings
from tests.serving_workers import Plain, checked, until

LOG = Path(sys.argv[2])


def say(*words: object) -> None:
    """One line, in one write: it is whole, whenever the process dies."""
    with LOG.open("a") as file:
        file.write(" ".join(map(str, words)) + "\n")


def die(*ignored: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Child(Plain):
    """Says what it works on; the prompt "poison" kills the process."""

    def key(self, request):
        return "same"

    def end(self, request):
        say("work", request.seed)
        if request.prompt == "poison":
            die()
        return super().end(request)


def watch(engine: Engine, job_id: str) -> None:
    def told(event):
        if event.job.over:
            say("over", job_id, event.job.state, event.job.summary["seed"], event.job.attempts)

    engine.watch(job_id, told)


def main(folder: str, submit: int, cut: str) -> None:
    if cut == "files":
        store._sync = die
    elif cut == "half":
        whole = Path.write_bytes
        Path.write_bytes = lambda path, data: whole(path, data[: len(data) // 2]) and die()
    workers = [Child("one", 0.004), Child("two", 0.004)]
    settings = ServeSettings(folder=Path(folder), batch=3, limits=Limits(queue=1000))
    with Engine(settings, workers, checked) as engine:
        for job in engine.jobs(1000):
            if not job.over:
                watch(engine, job.id)
        first = time.time_ns() // 1000
        for number in range(submit):
            prompt = "poison" if cut == "poison" and number == 2 else "a lake"
            live = "canvas" if number % 10 == 9 else None
            try:
                job = engine.submit(Request(prompt=prompt, seed=first + number, steps=2, live=live))
            except Full:
                continue
            say("accepted", job.id)
            watch(engine, job.id)
        until(lambda: not engine.counts()["queued"] and not engine.counts()["running"], 50)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[3]), sys.argv[4])
