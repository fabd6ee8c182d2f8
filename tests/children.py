"""Real processes that train, die and run out of disk; forked from a clean one that has imported everything."""

import multiprocessing
import os
import resource
import signal
import threading
import time
from pathlib import Path

from hackamore.core.errors import HackamoreError
from hackamore.training import state
from hackamore.training.trainer import train
from tests.line import RUN, Line

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.children", "hackamore.training.engine", "hackamore.training.step"])


def run(target, *told, timeout: float = 120) -> int | None:
    """Call ``target(*told)`` in a process of its own; its exit code, minus the signal's number where one ended it."""
    child = CONTEXT.Process(target=target, args=told)
    child.start()
    child.join(timeout)
    if child.is_alive():
        child.kill()
        raise TimeoutError(f"{target.__name__} did not end")
    return child.exitcode


def killed(folder: Path, when: float, saving: int) -> None:
    """Train until kill -9 after ``when`` seconds, or half-way through writing the checkpoint of step ``saving``."""
    save = state.torch.save

    def cut(content, file):
        save(content, file)
        if content["step"] == saving:
            file.truncate(file.tell() // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    class Slow(Line):
        def forward(self, batch):
            time.sleep(0.02)
            return super().forward(batch)

    state.torch.save = cut
    threading.Timer(when, os.kill, (os.getpid(), signal.SIGKILL)).start()
    train(Slow(), RUN, folder)


def filled(folder: Path, room: int) -> None:
    """Train where, from step 7 on, files cannot grow beyond ``room`` bytes; the error's words go to ``said``."""

    class Grows(Line):
        def forward(self, batch):
            if int(batch["step"]) == 7:
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            return super().forward(batch)

    try:
        train(Grows(), RUN, folder)
    except HackamoreError as error:
        (folder / "said").write_text(str(error))
        raise SystemExit(error.exit_code) from error
