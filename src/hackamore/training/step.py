"""One step: forward and backward in parts, clip, move, average."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.training.calm import autocast
from hackamore.training.optimisers import make_optimiser, restore, state_of
from hackamore.training.processes import Processes
from hackamore.training.rates import learning_rate
from hackamore.training.settings import RunSettings
from hackamore.training.state import Average
from hackamore.training.task import Checks, Task

SMALLEST_SCALE = 2.0**-10
"""Of fp16 losses: gradients that are not finite even so are no overflow."""

Batch = dict[str, Tensor]


class Stepper:
    """The trained weights of a task, what moves them, and their average."""

    def __init__(self, task: Task, run: RunSettings, processes: Processes, weights: dict[str, Tensor] | None) -> None:
        self.task, self.run, self.processes = task, run, processes
        task.place(processes.device)
        if weights is not None:
            _load(task, weights)
        if run.compile:
            from hackamore.bases.memory import check_compiler

            check_compiler(processes.device)
            task.compile()
        self._turned = _channels_last(task) if run.channels_last else []
        task.train()
        self.model: Any = processes.joined(task)
        self.named: dict[str, Tensor] = {name: p for name, p in task.named_parameters() if p.requires_grad}
        self.trained = list(self.named.values())
        self.optimiser = make_optimiser(task.groups(), run)
        self.average = Average(self.named, run.ema) if run.ema is not None else None
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=run.precision == "fp16")
        self._unseen: list[tuple[int, Tensor, Tensor]] = []

    def step(self, step: int, batch: Batch, checks: Checks | None) -> tuple[dict[str, Tensor], Tensor, list[str]]:
        """Do step number ``step``: its losses, the gradient's norm before clipping, and what the checks say.

        Raises :class:`WorkFailed` when the gradient is not finite. On a GPU without checks that is found out when
        :meth:`settle` is called, so that the host need not wait for the device at every step.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.run.lr * learning_rate(step, self.run) * group["scale"]
        losses = self._gradients(batch)
        if self.scaler.is_enabled():
            self.scaler.unscale_(self.optimiser)
        norm = _total(torch.nn.utils.clip_grad_norm_(self.trained, self.run.clip))
        warnings = [] if checks is None else checks.gradients(step, losses, norm, batch)
        self._unseen.append((step, norm, losses["loss"]))
        if self.processes.device.type != "cuda" or self.scaler.is_enabled():
            self.settle()
        if self.scaler.is_enabled():  # leaves the step out where the gradient overflowed
            self.scaler.step(self.optimiser)
            self.scaler.update()
        else:
            self.optimiser.step()
        self.optimiser.zero_grad()
        if self.average is not None:
            self.average.update(step)
        return losses, norm, warnings

    def leave(self, averaged: bool) -> None:
        """After the last step: eval mode, the memory format that was there before, and, if told, averaged weights."""
        if averaged and self.average is not None:
            self.average.swap()
        for weight, stride in self._turned:
            if weight.stride() != stride:
                weight.data = torch.empty_strided(weight.shape, stride, dtype=weight.dtype, device=weight.device).copy_(
                    weight.data
                )
        self._turned = []
        self.task.eval()

    def settle(self) -> None:
        """Raise :class:`WorkFailed` where the gradient of a step that was not looked at yet is not finite."""
        unseen, self._unseen = self._unseen, []
        for step, norm, loss in unseen:
            if math.isfinite(norm) or (self.scaler.is_enabled() and self.scaler.get_scale() > SMALLEST_SCALE):
                continue
            raise WorkFailed(
                f"the training broke at step {step}",
                received=f"gradient norm {float(norm)}, loss {float(loss)}",
                remedy="a smaller lr; the last checkpoint is good",
            )

    def _gradients(self, batch: Batch) -> dict[str, Tensor]:
        """Leave the whole batch's gradient on the weights; the losses are means over the process's share."""
        device, total = self.processes.device, _rows(batch)
        parts = list(_parts(batch, total, self.run.accumulate))
        means: dict[str, Tensor] = {}
        for number, (part, rows) in enumerate(parts):
            moved = {name: self._moved(value, device) for name, value in part.items()}
            with self.processes.meeting(self.model, number + 1 == len(parts)):
                with autocast(device, self.run.precision):
                    losses = self.model(moved)
                share = rows / total
                loss = losses["loss"].float()
                self.scaler.scale(loss if share == 1 else loss * share).backward()
            for name, value in losses.items():
                value = value.detach().float() * share
                means[name] = means[name] + value if name in means else value
        return means

    def _moved(self, value: Tensor, device: torch.device) -> Tensor:
        moved = value.to(device, non_blocking=True)
        last = self.run.channels_last and moved.ndim == 4
        return moved.contiguous(memory_format=torch.channels_last) if last else moved

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, whole, on the main process; every process must ask."""
        whole = self.processes.whole
        average = None if self.average is None else {n: whole(w) for n, w in self.average.state().items()}
        return {
            "weights": {name: whole(weight) for name, weight in self.named.items()},
            "optimiser": state_of(self.optimiser, self.named, whole),
            "average": average,
            "scaler": self.scaler.state_dict(),
        }

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> list[str]:
        """Go on from what :meth:`state` gave, the weights being in place; warnings of what could not be kept."""
        warnings = []
        if state["run"].get("optimiser") == self.run.optimiser:
            restore(self.optimiser, self.named, state["optimiser"], self.processes.placed)
        else:
            told = f"{state['run'].get('optimiser')} → {self.run.optimiser}"
            warnings.append(f"the optimiser is another ({told}) and begins without what the old one had gathered")
        if self.average is not None:
            kept = state.get("average") or state["weights"]
            for name, weight in self.average.state().items():
                weight.copy_(self.processes.placed(kept[name], weight))
        if self.scaler.is_enabled() and state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        return warnings


def _rows(batch: Batch) -> int:
    return next((len(value) for value in batch.values() if value.ndim), 1)


def _parts(batch: Batch, total: int, count: int) -> Iterator[tuple[Batch, int]]:
    """``batch`` in ``count`` parts of about as many rows; what has no row for each example is in every part."""
    bounds = [total * number // count for number in range(count + 1)]
    for first, last in pairwise(bounds):
        part = {k: v[first:last] if v.ndim and len(v) == total else v for k, v in batch.items()}
        yield part, last - first


def _total(norm: Any) -> Tensor:
    """A norm as a plain tensor; of shards it is that of all."""
    whole: Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    return whole.detach()


@torch.no_grad()
def _load(task: Task, weights: dict[str, Tensor]) -> None:
    mine = dict(task.named_parameters())
    wrong = [n for n, w in weights.items() if n not in mine or mine[n].shape != w.shape]
    absent = [n for n, p in mine.items() if p.requires_grad and n not in weights]
    if wrong or absent:
        raise HackamoreError(
            "the checkpoint belongs to another network",
            received=", ".join((wrong + absent)[:3]),
            expected="a checkpoint of the same configuration",
            remedy="another output folder, or begin anew without resuming",
        )
    for name, weight in weights.items():
        mine[name].copy_(weight)


def _channels_last(task: Task) -> list[tuple[nn.Parameter, tuple[int, ...]]]:
    """Convolution weights of all that a step runs, in channels-last memory format; how they lay before."""
    networks = (task, *task.frozen())
    found = {id(p): (p, p.stride()) for network in networks for p in network.parameters() if p.ndim == 4}
    for network in networks:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return list(found.values())
