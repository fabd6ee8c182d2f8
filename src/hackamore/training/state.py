"""Checkpoints: written whole or not at all, a few kept, read without running anything in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.core.files import written_whole


class Average:
    """Exponential moving average of the trained weights, beside the live ones and never over them.

    Of sharded weights each process averages its shards.
    """

    def __init__(self, named: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.names, self.live = tuple(named), tuple(named.values())
        self.weights = [weight.detach().float().clone() for weight in self.live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the live weights; the first steps count for more, so that the start is soon forgotten."""
        rate = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.weights, [weight.detach().float() for weight in self.live], rate)

    def state(self) -> dict[str, Tensor]:
        """Name → averaged weight."""
        return dict(zip(self.names, self.weights, strict=True))

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
        with written_whole(path) as temporary, temporary.open("wb") as file:
            torch.save({**state, "step": step}, file)
    except (OSError, RuntimeError, HackamoreError) as error:
        raise WorkFailed(
            f"the checkpoint of step {step} could not be saved in {folder}; the earlier ones are intact",
            received=_cause(error),
            remedy="free some disk space; the same command then goes on from the newest checkpoint",
        ) from error
    for old in [file for file in checkpoints(folder) if file != path][: 1 - keep or None]:
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What :func:`save_checkpoint` wrote; nothing in the file is run.

    Raises :class:`HackamoreError` naming the file for one that is cut short, hostile, or something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        problem = _problem(path, state)
    except Exception as error:
        problem = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    if problem:
        raise HackamoreError(
            f"the checkpoint {path} cannot be used",
            received=problem,
            expected="a checkpoint written whole by hackamore train",
            remedy="remove it, or begin anew without resuming",
        )
    return state  # type: ignore[no-any-return]


def newest(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest checkpoint that is whole, and a warning for each newer one that is not; None where there is none.

    Raises :class:`HackamoreError` where there are checkpoints and none is whole.
    """
    warnings: list[str] = []
    for path in reversed(found := checkpoints(folder)):
        try:
            return load_checkpoint(path), warnings
        except HackamoreError as error:
            if path == found[0]:
                raise
            warnings.append(f"{error.what} ({error.received}); the one before is used")
    return None, warnings


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints of a run, oldest first."""
    return sorted(p for p in folder.glob("step-*.pt") if re.fullmatch(r"step-\d+\.pt", p.name))


def _problem(path: Path, state: Any) -> str | None:
    """What is wrong with a checkpoint's content."""
    if not isinstance(state, dict):
        return f"a {type(state).__name__}"
    if state.get("step") != int(path.stem.removeprefix("step-")):
        return f"step {state.get('step')!r} inside"
    for part in ("run", "weights", "optimiser", "log"):
        if not isinstance(state.get(part), dict):
            return f"no {part} inside"
    odd = [name for name, value in state["weights"].items() if not isinstance(value, Tensor)]
    return f"{odd[0]} is no tensor" if odd else None


def _cause(error: BaseException) -> str:
    """The operating system's own words, where they lie at the bottom of it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            return seen.strerror or str(seen)
        if isinstance(seen, HackamoreError) and seen.received:
            return str(seen.received)
        seen = seen.__cause__ or seen.__context__
    return str(error).splitlines()[0] if str(error) else type(error).__name__
