"""Trackers that people already look at: TensorBoard and Weights & Biases."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image

from hackamore.core.extras import require
from hackamore.core.files import written_whole
from hackamore.training import history
from hackamore.training.watch.record import flat
from hackamore.training.watcher import Outcome, Started, Watcher


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row under the names that trackers show: ``train/loss``, ``probe/normalised``."""
    group, told = ("probe", row["probe"]) if "probe" in row else ("train", row)
    found = {f"{group}/{name}": history.known(told, name) for name in told if name != "step"}
    return {name.replace(".", "/"): value for name, value in found.items() if value is not None}


class TensorBoard(Watcher):
    """Writes ``OUT/tensorboard``: scalars, samples as pictures, settings and warnings as text.

    A resumed run declares what an earlier session wrote beyond its step void, so that no step is shown twice.
    Raises :class:`HackamoreError` with the install line where the package tensorboard is missing.
    """

    def __init__(self) -> None:
        require("tensorboard", "trackers", "writing TensorBoard logs")

    def begins(self, started: Started) -> None:
        """Open the log; at the first step write the settings."""
        from torch.utils.tensorboard import SummaryWriter

        purge = started.first + 1 if started.first else 0
        self.writer: Any = SummaryWriter(str(started.output / "tensorboard"), purge_step=purge)
        if not started.first and (told := flat(started.settings)):
            table = "".join(f"| {name} | {value} |\n" for name, value in told.items())
            self.writer.add_text("settings", f"| setting | value |\n|---|---|\n{table}", 0)

    def logged(self, row: Mapping[str, Any]) -> None:
        """Write the row's numbers at its step, or its warning as text."""
        if self.writer is None:
            return
        for name, value in scalars(row).items():
            self.writer.add_scalar(name, value, row["step"])
        if "warning" in row:
            self.writer.add_text("warning", str(row["warning"]), row["step"])
        self.writer.flush()

    def sampled(self, done: int, path: Path) -> None:
        """Write the picture."""
        with Image.open(path) as file:
            self.writer.add_image("samples", np.asarray(file.convert("RGB")), done, dataformats="HWC")
        self.writer.flush()

    def ends(self, done: int, outcome: Outcome, words: str) -> None:
        """Close the log; what is said after it is not written."""
        self.writer.close()
        self.writer = None


class WandB(Watcher):
    """Writes a W&B run below ``OUT/wandb``, offline unless WANDB_MODE says otherwise.

    ``OUT/.wandb.json`` keeps the run's id and what was told of the last step, so that a resumed run goes on in the same
    one and tells nothing twice: what it repeats is the same to the last digit.
    Raises :class:`HackamoreError` with the install line where the package wandb is missing.
    """

    def __init__(self, project: str) -> None:
        if "WANDB_ERROR_REPORTING" not in os.environ and _offline():
            os.environ["WANDB_ERROR_REPORTING"] = "false"  # read when it is imported; offline means offline
        self.wandb = require("wandb", "trackers", "writing W&B runs")
        self.project = project

    def begins(self, started: Started) -> None:
        """Open the run, or go on with the one of an earlier session."""
        self.state = started.output / ".wandb.json"
        kept = _read(self.state) if started.first else {}
        self.id = kept.get("id") or uuid4().hex[:12]
        self.last, self.names = int(kept.get("last", -1)), set(kept.get("names", ()))
        started.output.mkdir(parents=True, exist_ok=True)
        self.run: Any = self.wandb.init(
            project=self.project,
            dir=str(started.output),
            id=self.id,
            name=started.output.resolve().name,
            resume=None
            if _offline()
            else "allow",  # offline, the same id alone makes it the same run when it is synced
            mode=os.environ.get("WANDB_MODE") or "offline",
            config={**started.settings} or {"run": started.run.model_dump()},
            settings=self.wandb.Settings(console="off", silent=True, save_code=False, disable_git=True),
        )

    def logged(self, row: Mapping[str, Any]) -> None:
        """Tell the row's numbers, or its warning, at its step."""
        told = {"warning": str(row["warning"])} if "warning" in row else scalars(row)
        self._tell(int(row["step"]), told)

    def sampled(self, done: int, path: Path) -> None:
        """Tell the picture."""
        self._tell(done, {"samples": self.wandb.Image(str(path))})

    def ends(self, done: int, outcome: Outcome, words: str) -> None:
        """Close the run."""
        self.run.summary["outcome"] = words
        self.run.finish(exit_code=1 if outcome == "failed" else 0)
        self.run = None

    def _tell(self, step: int, told: dict[str, Any]) -> None:
        fresh = {name: value for name, value in told.items() if step > self.last or name not in self.names}
        if step < self.last or not fresh or self.run is None:
            return
        self.run.log(fresh, step=step)
        self.names = {*fresh, *(self.names if step == self.last else ())}
        self.last = step
        with written_whole(self.state) as temporary:
            temporary.write_text(json.dumps({"id": self.id, "last": step, "names": sorted(self.names)}))


def _offline() -> bool:
    return (os.environ.get("WANDB_MODE") or "offline") == "offline"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
