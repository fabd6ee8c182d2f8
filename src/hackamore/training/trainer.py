"""The training loop: one for every task, resumable to the last digit."""

from __future__ import annotations

import errno
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from hackamore.core.errors import Cancelled, HackamoreError, WorkFailed
from hackamore.core.locks import alone_in
from hackamore.training.engine import Engine
from hackamore.training.log import read_log as read_log
from hackamore.training.rates import learning_rate as learning_rate
from hackamore.training.settings import ProbeSettings, RunSettings
from hackamore.training.task import Checks as Checks
from hackamore.training.task import Task as Task
from hackamore.training.watcher import Outcome, Watcher

AGREE_EVERY = 10
"""Several processes ask each other so often whether one was told to stop."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What an operating system says where a disk takes no more."""


def train(
    task: Task,
    run: RunSettings,
    output: Path | str,
    *,
    resume: bool = True,
    watchers: Sequence[Watcher] = (),
    probe: ProbeSettings | None = None,
    settings: Mapping[str, Any] = {},
) -> Path:
    """Train ``task`` for ``run.steps`` steps and export it to ``output``; goes on from the newest checkpoint there.

    While it runs, ``output`` holds ``log.jsonl`` (a line every ``log_every`` steps, for each probe and each warning),
    ``samples/*.png``, ``checkpoints/``, and in ``best/`` the export of the best probe so far. ``watchers`` are told
    what happens, with the ``settings``; where there are none, progress is shown. Only the main process writes.
    Raises :class:`WorkFailed` when the training breaks (the last checkpoint is good) or the disk takes no more, and
    :class:`Cancelled` after Ctrl-C or SIGTERM, the step finished and the state saved. One run a folder: a second one at
    the same time is refused.
    """
    with alone_in(Path(output), ".training", "is being trained already"):
        try:
            engine = Engine(task, run, Path(output), resume, watchers, probe, settings)
        except OSError as error:
            raise HackamoreError(f"{output} cannot be written", received=error.strerror or str(error)) from error
        _drive(engine)
    return Path(output)


def _drive(engine: Engine) -> None:
    """A run from its beginning to its end, however it ends."""
    try:
        with _interrupts_wait() as asked:
            outcome, words = _work(engine, asked)
    except BaseException as error:
        failed = _failure(error, engine) if isinstance(error, (OSError, SafetensorError)) else error
        engine.end("stopped" if isinstance(error, (Cancelled, KeyboardInterrupt)) else "failed", str(failed))
        if failed is error:
            raise
        raise failed from error
    finally:
        engine.leave()
    engine.end(outcome, words)


def _failure(error: OSError | SafetensorError, engine: Engine) -> WorkFailed:
    """In a sentence, what the operating system did not do: write the run's folder, or something else."""
    unwritten = isinstance(error, SafetensorError)  # diffusers' own way to write, at an export
    words, path = getattr(error, "strerror", None) or str(error), str(getattr(error, "filename", None) or "")
    if unwritten or getattr(error, "errno", None) in FULL:
        return WorkFailed(f"{engine.output} could not be written", received=words, remedy="free some disk space")
    if path and Path(path).resolve().is_relative_to(engine.output.resolve()):
        return WorkFailed(f"{path} could not be written", received=words)
    told = f"{type(error).__name__}: {words}{f': {path}' if path else ''}"
    return WorkFailed(
        f"the training broke at step {engine.done}", received=told, remedy="the same command goes on from the newest"
        " checkpoint",
    )  # fmt: skip


def _work(engine: Engine, asked: list[int]) -> tuple[Outcome, str]:
    """All steps that are left, then the export; how it ended."""
    run, stopped = engine.run, False
    with engine.batches() as batches:
        while not (stopped or engine.finished):
            engine.step(batches.take())
            done = engine.done
            if engine.processes.count == 1 or done % AGREE_EVERY == 0:
                stopped = engine.processes.any(bool(asked))
            if done % run.sample_every == 0:
                engine.sample()
            if engine.probe_due:
                engine.probed()
            if done % run.checkpoint_every == 0 or engine.finished or stopped:
                engine.save()
    if stopped and not engine.finished:
        raise Cancelled(f"stopped at step {engine.done}", remedy="the same command goes on where it was stopped")
    engine.export()
    if engine.done < run.steps:
        return "early", f"stopped early at step {engine.done}: its probe has not risen for a while"
    return "done", f"all {engine.done} steps done"


@contextmanager
def _interrupts_wait() -> Iterator[list[int]]:
    """Inside, a first Ctrl-C or SIGTERM is noted in the list and the step is finished; a second one stops at once."""
    asked: list[int] = []

    def note(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
