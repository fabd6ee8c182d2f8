"""Small real workers, whose pictures are plain and whose steps a test can hold."""

import hashlib
import io
import threading
import time

from PIL import Image

from hackamore.core.errors import HackamoreError
from hackamore.serving.engine import Engine
from hackamore.serving.job import Failure, Job, PictureReport
from hackamore.serving.request import Request
from hackamore.serving.worker import Made, Stopped, WorkerDied

DEADLINE = 20.0


def plain(seed: int, size: tuple[int, int] = (8, 8)) -> bytes:
    """A PNG of one colour, which the seed decides."""
    file = io.BytesIO()
    Image.new("RGB", size, tuple(seed >> shift & 255 for shift in (0, 8, 16))).save(file, "PNG")
    return file.getvalue()


def checked(request: Request) -> Request:
    """Fills in the seed; refuses the prompt "wrong"."""
    if request.prompt == "wrong":
        raise HackamoreError("the prompt is wrong", received=request.prompt)
    return request if request.seed is not None else request.model_copy(update={"seed": 7})


def made(request: Request) -> Made:
    pictures = tuple(plain(request.seed + k) for k in range(request.num))
    reports = tuple(
        PictureReport(index=k, seed=request.seed + k, width=8, height=8, sha256=hashlib.sha256(png).hexdigest())
        for k, png in enumerate(pictures)
    )
    return Made(pictures, reports, hints=(plain(1),) * len(request.controls), notices=("plain",))


class Plain:
    """Makes pictures of one colour in ``request.steps`` steps of ``seconds``.

    Each step waits until ``go`` is set; the prompt decides the rest: "bad" is a failure, "fatal" kills the worker,
    "broken" is a fault in it. Prompts that begin alike may be worked on together.
    """

    def __init__(self, name: str = "plain", seconds: float = 0.0) -> None:
        self.name = name
        self.seconds = seconds
        self.go = threading.Event()
        self.go.set()
        self.batches: list[list[int]] = []
        self.began = threading.Semaphore(0)
        self.closed = False

    def key(self, request: Request) -> object:
        return request.prompt.split()[0] if request.prompt else None

    def work(self, requests, told, wanted):
        self.batches.append([request.seed for request in requests])
        self.began.release()
        left = dict(enumerate(requests))
        outcomes: dict[int, object] = {}
        for step in range(max(request.steps for request in requests)):
            assert self.go.wait(DEADLINE)
            time.sleep(self.seconds)
            for number, request in list(left.items()):
                if not wanted(number):
                    outcomes[number] = Stopped()
                    del left[number]
                    continue
                told(number, (step + 1) / request.steps, plain(step) if request.preview else None)
        for number, request in left.items():
            outcomes[number] = self.end(request)
        return [outcomes[number] for number in range(len(requests))]

    def end(self, request: Request):
        if request.prompt == "fatal":
            raise WorkerDied("it was fatal")
        if request.prompt == "broken":
            raise RuntimeError("broken")
        return Failure(what="bad luck", input=False) if request.prompt == "bad" else made(request)

    def close(self) -> None:
        self.closed = True


def until(said, seconds: float = DEADLINE):
    """Wait until ``said()`` is true, and give it."""
    end = time.monotonic() + seconds
    while not (value := said()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
    return value


def ask(engine: Engine, prompt: str = "", seed: int = 0, **told) -> Job:
    return engine.submit(Request(prompt=prompt, seed=seed, **told))


def begun(engine: Engine, held: Plain, seed: int = 99, **told) -> Job:
    """A job that is worked on and held."""
    job = ask(engine, seed=seed, **told)
    assert held.began.acquire(timeout=DEADLINE)
    return job


def ended(engine: Engine, job: Job) -> Job:
    return until(lambda: (now := engine.job(job.id)).over and now)
