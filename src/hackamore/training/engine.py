"""A run under way: its state, its log, who watches, and what is written at which step."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from hackamore.core.errors import HackamoreError
from hackamore.core.files import clear_leftovers
from hackamore.training.allocator import keep_pages
from hackamore.training.disk import disk_of
from hackamore.training.draws import Draws
from hackamore.training.history import best, exhausted
from hackamore.training.log import Audience, Log
from hackamore.training.prefetch import Ahead
from hackamore.training.processes import Processes
from hackamore.training.rates import learning_rate
from hackamore.training.samples import sample_files
from hackamore.training.settings import ProbeSettings, RunSettings
from hackamore.training.state import checkpoints, newest, save_checkpoint
from hackamore.training.step import Batch, Stepper
from hackamore.training.task import Checks, Task
from hackamore.training.watch.progress import Progress
from hackamore.training.watcher import Outcome, Started, Watcher

BOUND = ("kind", "form", "base")
"""What of a task's identity a checkpoint is refused for; the rest is warned of."""


class Engine:
    """One run of a task into one folder, from the newest checkpoint that is whole."""

    def __init__(
        self,
        task: Task,
        run: RunSettings,
        output: Path,
        resume: bool,
        watchers: Sequence[Watcher],
        probe: ProbeSettings | None,
        settings: Mapping[str, Any],
    ) -> None:
        self.task, self.run, self.output = task, run, output
        self.folder = output / "checkpoints"
        self.processes = Processes(run)
        if self.processes.device.type == "cpu":
            keep_pages()
        state, warnings = self._found(resume)
        self.done = self.first = 0 if state is None else state["step"]
        self.stepper = Stepper(task, run, self.processes, None if state is None else state["weights"])
        self.log = Log(output / "log.jsonl", -1 if state is None else self.done, self.processes, run)
        if state is not None:
            now = {**run.model_dump(), **task.identity()}
            warnings += [*_changes({**state["run"], **state.get("identity", {})}, now), *self.stepper.load(state)]
            if self.done > run.steps:
                warnings.append(f"{self.done} steps are done already, more than the {run.steps} that are asked for")
            self.log.load(state["log"])
        del state
        self.every = 0 if probe is None else probe.every
        self.patience = None if probe is None or not probe.every else probe.patience
        self.early = self.exported = False
        self.audience = Audience((watchers or [Progress()]) if self.processes.main else [], self._warn)
        self.audience.tell("begins", Started(output, run, self.first, settings))
        self.log.hear = lambda row: self.audience.tell("logged", row)
        for words in [*warnings, *self._room()]:
            self._warn(words)
        if self.processes.shards:
            self._warn("nobody looks after the health of this run: weights and gradients are sharded")
        self._begun = False
        self._give_up()

    def _found(self, resume: bool) -> tuple[dict[str, Any] | None, list[str]]:
        """The checkpoint to go on from, read by every process before any is removed."""
        state, warnings = newest(self.folder) if resume else (None, [])
        if state is not None:
            self._check_bound(state.get("identity", {}))
        self.processes.wait()
        if self.processes.main:
            for folder in (self.output, self.folder, self.output / "samples", self.output / "unet"):
                clear_leftovers(folder)
            for step, path in sample_files(self.output / "samples"):
                if state is None or step > state["step"]:
                    path.unlink()
            if not resume:
                shutil.rmtree(self.output / "best", ignore_errors=True)
            _restore_best(self.output)
            for old in checkpoints(self.folder):
                if state is None or int(old.stem.removeprefix("step-")) > state["step"]:
                    old.unlink() if not resume else old.replace(old.with_suffix(".damaged"))
        return state, warnings

    def _room(self) -> list[str]:
        """A sentence where the disk has no room for what the run is going to write."""
        if not self.processes.main:
            return []
        trained = self.stepper.trained
        disk = disk_of(trained, self.run, self.task.finished(), self.output, probed=self.every > 0)
        return [finding.line() for finding in disk.findings()]

    def _check_bound(self, before: Mapping[str, Any]) -> None:
        """Raise :class:`HackamoreError` where the checkpoint is of another kind, form or base."""
        now = self.task.identity()
        for name in BOUND:
            if before.get(name) and now.get(name) and before[name] != now[name]:
                raise HackamoreError(
                    f"the checkpoint in {self.output} belongs to another {name}",
                    received=now[name],
                    expected=before[name],
                    remedy="another output folder, or begin anew without resuming",
                )

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.early or self.done >= self.run.steps

    def batches(self) -> Ahead[Batch]:
        """The batches of the steps that are left, in the background where the run says so."""
        run, processes = self.run, self.processes
        pin = processes.device.type == "cuda"

        def make(step: int) -> Batch:
            batch = self.task.batch(Draws(run.seed, step, run.batch_size, processes.rank, processes.count))
            return {name: value.pin_memory() for name, value in batch.items()} if pin else batch

        return Ahead(make, self.done, self.done if self.early else run.steps, run.prefetch)

    @cached_property
    def checks(self) -> Checks | None:
        """Who looks after the health of the run."""
        return None if self.processes.shards else self.task.checks()

    def step(self, batch: Batch) -> None:
        """The next step with its batch, logged."""
        if not self._begun:
            self._begun = True
            for words in [] if self.checks is None else self.checks.begin(batch, self.done):
                self._warn(words)
        losses, norm, warnings = self.stepper.step(self.done, batch, self.checks)
        self.done += 1
        for words in warnings:
            self._warn(words)
        if self.done % self.run.log_every == 0:
            self.stepper.settle()
        lr = self.run.lr * learning_rate(self.done - 1, self.run)
        self.log.add(self.done - 1, losses, norm, lr)
        self.audience.tell("stepped", self.done)

    def sample(self) -> None:
        """Pictures of how far it is, from the averaged weights."""
        path = self.output / "samples" / f"step-{self.done:08d}.png"
        with self.log.aside():
            self._averaged(lambda: self.task.sample(path))
        self.audience.tell("sampled", self.done, path)

    @property
    def probe_due(self) -> bool:
        """Whether this step is one that is probed."""
        return self.every > 0 and (self.done % self.every == 0 or self.done == self.run.steps)

    def probed(self) -> None:
        """Probe the averaged weights, keep them in ``best/`` where they are the best so far, look whether to stop."""
        self._settled()

        def work() -> None:
            found = self.task.probe()
            if found is None:
                return
            self.log.write({"step": self.done, "probe": found})
            top = best(self.log.rows())
            if top is not None and top.step == self.done:
                _replace(self.output / "best", self.task.export)

        with self.log.aside():
            self._averaged(work)
        self._give_up()

    def _give_up(self) -> None:
        """Stop early once the deciding figure has not risen for ``patience`` probes."""
        if self.patience is not None:
            mine = self.processes.main and exhausted(self.log.rows(), self.patience)
            self.early = self.processes.any(mine)

    def save(self) -> None:
        """Write a checkpoint of the steps that are done."""
        self.stepper.settle()
        state = {"run": self.run.model_dump(), "identity": dict(self.task.identity()), **self.stepper.state()}
        state["log"] = self.log.state()
        if self.processes.main:
            with self.log.aside():
                path = save_checkpoint(self.folder, self.done, state, self.run.keep)
            self.audience.tell("saved", self.done, path)

    def export(self) -> None:
        """Write the finished weights, averaged."""
        self._settled()
        self._averaged(lambda: self.task.export(self.output))
        self.exported = True

    def leave(self) -> None:
        """Leave the task as a caller may use it: what was exported in its weights, in eval mode, laid out as before."""
        self.stepper.leave(self.exported)

    def end(self, outcome: Outcome, words: str) -> None:
        """Tell all how it ended."""
        self.audience.tell("ends", self.done, outcome, words)

    def _settled(self) -> None:
        self.stepper.settle()
        for words in self.checks.settled() if self._begun and self.checks is not None and self.processes.main else []:
            self._warn(words)

    def _warn(self, words: str) -> None:
        self.log.warn(self.done, words)

    def _averaged(self, work: Callable[[], None]) -> None:
        """Do ``work`` on the main process, the averaged weights in place of the live ones; the others wait."""
        self.stepper.settle()
        average = self.stepper.average
        if average is not None:
            average.swap()
        self.task.eval()
        try:
            with self.processes.gathered(self.task), torch.no_grad():
                if self.processes.main:
                    work()
                self.processes.wait()
        finally:
            self.task.train()
            if average is not None:
                average.swap()


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words, what is not as it was when the checkpoint was written."""
    changed = [f"{name} {before[name]} → {now[name]}" for name in now if name in before and before[name] != now[name]]
    return [f"going on with other settings: {', '.join(changed)}"] if changed else []


def _replace(folder: Path, write: Callable[[Path], None]) -> None:
    """Put what ``write`` writes in the place of ``folder``, which at every moment is whole or, for one, aside."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-new-"))
    try:
        write(fresh)
        fresh.chmod(0o755)
        aside = folder.with_name(f".{folder.name}-before")
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(FileNotFoundError):
            folder.rename(aside)
        fresh.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _restore_best(output: Path) -> None:
    """Clean up after a process that was killed while it replaced ``best``."""
    aside = output / ".best-before"
    if aside.is_dir() and not (output / "best").exists():
        aside.rename(output / "best")
    for left in (aside, *output.glob(".best-new-*")):
        shutil.rmtree(left, ignore_errors=True)
