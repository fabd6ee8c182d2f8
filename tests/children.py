"""Real processes that train, die and run out of disk; forked from a clean one that has imported everything."""

import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from contextlib import redirect_stdout
from pathlib import Path

import torch
from torch import nn

from hackamore.cli.main import main
from hackamore.core.errors import HackamoreError
from hackamore.training import state
from hackamore.training.draws import Draws
from hackamore.training.processes import Processes
from hackamore.training.settings import ProbeSettings
from hackamore.training.step import Stepper
from hackamore.training.trainer import train
from tests.line import RUN, Line

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["tests.children", "torch._dynamo", "hackamore.training.engine", "hackamore.training.step"]
)


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


def together(count: int, target, *told, sharded: bool = False, timeout: float = 120) -> list[int | None]:
    """Call ``target(rank, *told)`` in ``count`` processes that know of each other, as ``accelerate launch`` does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = [CONTEXT.Process(target=_joined, args=(rank, count, port, sharded, target, told)) for rank in range(count)]
    for child in group:
        child.start()
    for child in group:
        child.join(timeout)
    late = [child for child in group if child.is_alive()]
    for child in late:
        child.kill()
    return [child.exitcode for child in group]


def _joined(rank: int, count: int, port: int, sharded: bool, target, told) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "ACCELERATE_USE_CPU": "true"}
    os.environ |= {"LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"} if sharded else {}
    torch.set_num_threads(1)
    target(rank, *told)


def trained(rank: int, folder: Path, changes: dict, stop_at: int | None = None, apart: bool = False) -> None:
    """Train a line; ``apart``: each process has an output folder of its own. Exits as the command line would."""
    figures = [0.1 * step for step in range(1, 9)]
    probe = ProbeSettings(every=changes.pop("every", 0))
    output = folder / str(rank) if apart else folder
    try:
        train(Tall(stop_at, figures), RUN.model_copy(update=changes), output, probe=probe)
    except HackamoreError as error:
        raise SystemExit(error.exit_code) from error


class Tall(Line):
    """With a layer that two processes can share, and a weight that no step uses."""

    def __init__(self, *told):
        super().__init__(*told)
        self.tall = nn.Linear(3, 8)
        self.line = nn.Linear(8, 1)
        self.idle = nn.Parameter(torch.ones(2))

    def groups(self):
        return [{"params": [*self.tall.parameters(), *self.line.parameters(), self.idle]}]

    def forward(self, batch):
        return super().forward(batch | {"x": self.tall(batch["x"])})

    def probe(self):
        held = self.tall(torch.ones(1, 3)).sum()  # the network runs on one process alone
        return super().probe() | {"seen": float(held)}

    def export(self, folder):
        folder.mkdir(exist_ok=True, parents=True)
        torch.save({name: value.clone() for name, value in self.state_dict().items()}, folder / "line.pt")


def halves(rank: int, folder: Path) -> None:
    """What one of two processes keeps of a sharded run: numbers of its weights, moments and averages."""
    run = RUN.model_copy(update={"batch_size": 8})
    task = Tall()
    stepper = Stepper(task, run, Processes(run), None)
    stepper.step(0, task.batch(Draws(0, 0, 8, rank, 2)), None)
    moments = stepper.optimiser.state[stepper.named["tall.weight"]]["exp_avg"]
    kept = [stepper.named["tall.weight"], moments, stepper.average.state()["tall.weight"]]
    (folder / f"kept-{rank}").write_text(" ".join(str(tensor.to_local().numel()) for tensor in kept))


def commanded(rank: int, folder: Path, *words: str) -> None:
    """Run the command line with ``words``; what it prints goes to ``folder/told-RANK``."""
    sys.argv = ["hackamore", *words]
    with (folder / f"told-{rank}").open("w") as told, redirect_stdout(told):
        main()
