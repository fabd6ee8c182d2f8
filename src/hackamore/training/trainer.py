"""The training loop: one for every task, resumable to the last digit."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from hackamore.core.errors import Cancelled, HackamoreError, WorkFailed
from hackamore.core.files import written_whole
from hackamore.training.draws import Draws
from hackamore.training.settings import RunSettings
from hackamore.training.state import Average, checkpoints, load_checkpoint, save_checkpoint


class Task(nn.Module, ABC):
    """What is trained: a module whose ``forward(batch)`` gives named losses, means over the batch.

    The one called ``loss`` is minimised; the others are logged.
    """

    def place(self, device: torch.device) -> None:
        """Move to ``device`` all that a step computes with."""
        self.to(device)

    @abstractmethod
    def groups(self) -> list[dict[str, Any]]:
        """Optimiser groups: ``params``, and ``scale``, a factor on the learning rate."""

    @abstractmethod
    def batch(self, draws: Draws) -> dict[str, Tensor]:
        """The inputs of one step, from the step's randomness alone."""

    @abstractmethod
    def sample(self, path: Path) -> None:
        """Write a PNG that shows how far it is."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the finished weights."""


def learning_rate(step: int, run: RunSettings) -> float:
    """Factor on ``run.lr`` at ``step``: linear rise, flat, cosine fall to ``run.final``."""
    if step < run.warmup:
        return (step + 1) / run.warmup
    begin = max(run.warmup, round(run.flat * run.steps))
    if step < begin:
        return 1.0
    progress = (step - begin) / max(run.steps - begin, 1)
    return run.final + (1 - run.final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def train(task: Task, run: RunSettings, output: Path | str, *, resume: bool = True) -> Path:
    """Train ``task`` for ``run.steps`` steps and export it to ``output``; goes on from the newest checkpoint there.

    While it runs, ``output`` holds ``log.jsonl`` (one line every ``log_every`` steps), ``samples/*.png`` and
    ``checkpoints/``. Raises :class:`WorkFailed` when the gradient is not finite (the last checkpoint is good), and
    :class:`Cancelled` after Ctrl-C, the step finished and the state saved.
    """
    output = Path(output)
    running = _Run(task, run, output, resume)
    with _ctrl_c_waits() as asked:
        while running.done < run.steps and not asked:
            running.step(running.done)
            if running.done % run.sample_every == 0:
                running.averaged(task.sample, output / "samples" / f"step-{running.done:08d}.png")
            if running.done % run.checkpoint_every == 0 or running.done == run.steps or asked:
                running.save()
    if running.done < run.steps:
        raise Cancelled(f"stopped at step {running.done}", remedy="the same command goes on where it was stopped")
    running.averaged(task.export, output)
    return output


@contextmanager
def _ctrl_c_waits() -> Iterator[list[int]]:
    """Inside, a first Ctrl-C is noted in the list and the step is finished; a second one stops at once."""
    asked: list[int] = []

    def note(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


class _Run:
    """A run under way: the live weights, the optimiser, the average and the log."""

    def __init__(self, task: Task, run: RunSettings, output: Path, resume: bool) -> None:
        AcceleratorState._reset_state()  # an earlier run of this process may have had another precision
        self.accelerator = Accelerator(mixed_precision=run.precision)
        if run.batch_size % self.accelerator.num_processes:
            raise HackamoreError(
                "the batch cannot be shared evenly",
                received=f"batch_size {run.batch_size} on {self.accelerator.num_processes} processes",
                expected="a multiple of the number of processes",
            )
        self.task, self.run, self.checkpoints = task, run, output / "checkpoints"
        task.place(self.accelerator.device)
        self.trained = [p for p in task.parameters() if p.requires_grad]
        groups = [{"params": g["params"], "lr": run.lr, "scale": g.get("scale", 1.0)} for g in task.groups()]
        optimiser = torch.optim.AdamW(groups, lr=run.lr, betas=run.betas, weight_decay=run.weight_decay, fused=True)
        if not resume and self.accelerator.is_main_process:
            for old in checkpoints(self.checkpoints):
                old.unlink()
        state = load_checkpoint(self.checkpoints)
        self.done = 0 if state is None else state["step"]
        self.log = _Log(output / "log.jsonl", self.done, self.accelerator)
        if state is not None:
            self.accelerator.print(f"resuming at step {self.done}{_changes(state['run'], run)}")
            _load_trained(task, state["weights"])
            optimiser.load_state_dict(state["optimiser"])
            self.log.sums, self.log.count = state["log"]["sums"], state["log"]["count"]
        self.average = Average(task, run.ema) if run.ema is not None else None
        if state is not None and self.average is not None and state["average"] is not None:
            self.average.load(state["average"])
        self.model, self.optimiser = self.accelerator.prepare(task, optimiser)
        task.train()

    def step(self, step: int) -> None:
        """Draw, forward, backward, clip, move, average, log."""
        accelerator, run = self.accelerator, self.run
        draws = Draws(run.seed, step, run.batch_size, accelerator.process_index, accelerator.num_processes)
        batch = {name: value.to(accelerator.device) for name, value in self.task.batch(draws).items()}
        for group in self.optimiser.param_groups:
            group["lr"] = run.lr * learning_rate(step, run) * group["scale"]
        losses = self.model(batch)
        accelerator.backward(losses["loss"])
        norm = accelerator.clip_grad_norm_(self.trained, run.clip)
        if not torch.isfinite(norm):
            raise WorkFailed(
                f"the training broke at step {step}",
                received=f"gradient norm {float(norm)}, loss {float(losses['loss'].detach())}",
                remedy="a smaller lr; the last checkpoint is good",
            )
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.average is not None:
            self.average.update(step)
        self.log.add(step, losses, float(norm), run)
        self.done = step + 1

    def save(self) -> None:
        """Write a checkpoint of the steps that are done."""
        if self.accelerator.is_main_process:
            state = {
                "run": self.run.model_dump(),
                "weights": _trained(self.task),
                "optimiser": self.optimiser.state_dict(),
                "average": None if self.average is None else self.average.state(),
                "log": {"sums": self.log.sums, "count": self.log.count},
            }
            save_checkpoint(self.checkpoints, self.done, state)

    def averaged(self, work: Callable[[Path], None], path: Path) -> None:
        """Call ``work(path)`` with the averaged weights in place of the live ones."""
        if not self.accelerator.is_main_process:
            return
        if self.average is not None:
            self.average.swap()
        self.task.eval()
        try:
            with torch.no_grad():
                work(path)
        finally:
            self.task.train()
            if self.average is not None:
                self.average.swap()


def _trained(task: Task) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in task.named_parameters() if p.requires_grad}


@torch.no_grad()
def _load_trained(task: Task, weights: dict[str, Tensor]) -> None:
    mine = dict(task.named_parameters())
    wrong = [n for n, w in weights.items() if n not in mine or mine[n].shape != w.shape]
    absent = [n for n, p in mine.items() if p.requires_grad and n not in weights]
    if wrong or absent:
        raise HackamoreError(
            "the checkpoint belongs to another network",
            received=", ".join((wrong + absent)[:3]),
            expected="a checkpoint of the same configuration",
            remedy="another output folder, or no --resume",
        )
    for name, weight in weights.items():
        mine[name].copy_(weight)


def _changes(before: dict[str, Any], run: RunSettings) -> str:
    """In words, what of the settings is not as it was when the checkpoint was written."""
    now = run.model_dump()
    changed = [f"{name} {before.get(name)} → {value}" for name, value in now.items() if before.get(name) != value]
    return f", with other settings: {', '.join(changed)}" if changed else ""


class _Log:
    """Means over ``log_every`` steps, one JSON line each and one line a person can read."""

    def __init__(self, path: Path, start: int, accelerator: Accelerator) -> None:
        self.path, self.accelerator = path, accelerator
        self.sums: dict[str, Tensor] = {}
        self.count, self.since = 0, time.monotonic()
        if accelerator.is_main_process:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = [row for row in read_log(path) if row["step"] <= start]
            with written_whole(path) as temporary:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")

    def add(self, step: int, losses: dict[str, Tensor], norm: float, run: RunSettings) -> None:
        for name, value in {**losses, "norm": torch.tensor(norm)}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach().float().cpu()
        self.count += 1
        if (step + 1) % run.log_every and step + 1 != run.steps:
            return
        now = time.monotonic()
        row: dict[str, Any] = {"step": step + 1}
        row |= {name: round(float(total) / self.count, 6) for name, total in self.sums.items()}
        row["samples_per_second"] = round(self.count * run.batch_size / (now - self.since), 1)
        self.sums, self.count, self.since = {}, 0, now
        if self.accelerator.is_main_process:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            values = "  ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
            self.accelerator.print(f"step {step + 1}/{run.steps}  {values}", flush=True)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a run's ``log.jsonl``; a last line cut short is dropped."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows
