"""Checkpoints: written whole or not at all, a few kept, read without running anything in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.core.files import written_whole


class Average:
    """Exponential moving average of a module's trained parameters, beside the live weights and never over them."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.names, self.live = zip(*((n, p) for n, p in module.named_parameters() if p.requires_grad), strict=True)
        self.weights = [p.detach().float().clone() for p in self.live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the live weights; the first steps count for more, so that the start is soon forgotten."""
        rate = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.weights, [p.detach().float() for p in self.live], rate)

    def state(self) -> dict[str, torch.Tensor]:
        """Name → averaged weight."""
        return dict(zip(self.names, self.weights, strict=True))

    @torch.no_grad()
    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what :meth:`state` gave."""
        for name, weight in zip(self.names, self.weights, strict=True):
            weight.copy_(state[name])

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange live and averaged weights; call twice to be back, bit for bit."""
        for live, average in zip(self.live, self.weights, strict=True):
            kept = live.detach().clone()
            live.copy_(average)
            average.copy_(kept)


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int = 2) -> Path:
    """Write ``folder/step-N.pt`` atomically, then remove all but the newest ``keep``.

    Raises :class:`WorkFailed` when the disk does not take it; the earlier checkpoints are untouched then.
    """
    path = folder / f"step-{step:08d}.pt"
    try:
        with written_whole(path) as temporary:
            torch.save({**state, "step": step}, temporary)
    except (OSError, RuntimeError) as error:
        raise WorkFailed(
            f"the checkpoint of step {step} could not be saved; the earlier ones are intact",
            received=str(error),
            remedy="free some disk space, then go on with --resume",
        ) from error
    for old in [file for file in checkpoints(folder) if file != path][: 1 - keep or None]:
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint of a run, or None where there is none."""
    found = checkpoints(folder)
    if not found:
        return None
    try:
        state: dict[str, Any] = torch.load(found[-1], map_location="cpu", weights_only=True)
    except Exception as error:
        raise HackamoreError(
            f"the checkpoint {found[-1]} cannot be read",
            received=type(error).__name__,
            expected="a checkpoint written by hackamore train",
            remedy="remove it to go on from the one before",
        ) from error
    return state


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints of a run, oldest first."""
    return sorted(p for p in folder.glob("step-*.pt") if re.fullmatch(r"step-\d+\.pt", p.name))
