"""The door of everything that can be trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hackamore.bases.base import Text
from hackamore.training.draws import Draws


class Checks(Protocol):
    """Who looks after the health of a run. What its methods return is a warning; :class:`WorkFailed` stops the run."""

    def begin(self, batch: dict[str, Tensor], first: int = 0) -> list[str]:
        """Before the first step that is run, number ``first``, with its batch."""

    def gradients(self, step: int, losses: dict[str, Tensor], norm: Tensor, batch: dict[str, Tensor]) -> list[str]:
        """After the backward pass, before the optimiser moves; ``norm`` is the gradient's, before clipping."""

    def settled(self) -> list[str]:
        """At each probe and at the end."""


class Task(nn.Module, ABC):
    """What is trained: a module whose ``forward(batch)`` gives named losses, means over the batch.

    The one called ``loss`` is minimised; the others are logged.
    """

    def place(self, device: torch.device) -> None:
        """Move to ``device`` all that a step computes with."""
        self.to(device)

    def frozen(self) -> list[nn.Module]:
        """Networks that a step runs and does not train, where they are no part of the module tree."""
        return []

    def identity(self) -> dict[str, Any]:
        """What its checkpoints belong to, by name, plain values; a run that goes on with others is told so.

        With another ``kind``, ``form`` or ``base`` it does not go on.
        """
        return {}

    @abstractmethod
    def groups(self) -> list[dict[str, Any]]:
        """Optimiser groups: ``params``, and ``scale``, a factor on the learning rate."""

    @abstractmethod
    def batch(self, draws: Draws) -> dict[str, Tensor]:
        """The inputs of one step, from the step's randomness alone; one row an example.

        Called from threads in the background, for several steps at once: it must change nothing that they share
        but caches, whose content is the same whoever fills them.
        """

    @abstractmethod
    def sample(self, path: Path) -> None:
        """Write a PNG that shows how far it is."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the finished weights."""

    def finished(self) -> int:
        """Bytes of what :meth:`export` writes, about: by default what is trained, in fp16."""
        return 2 * sum(weight.numel() for weight in self.parameters() if weight.requires_grad)

    def probe(self) -> dict[str, Any] | None:
        """Figures of how well it does, called with the averaged weights; None where there are none.

        ``normalised``, or ``gain`` where that is None, decides which weights are the best so far.
        """
        return None

    def checks(self) -> Checks | None:
        """Who looks after its health; None for nobody. Asked once a run, the weights in place."""
        return None


def text_of(batch: Mapping[str, Tensor]) -> Text:
    """The text of a batch as the base takes it."""
    added = {name.removeprefix("added."): value for name, value in batch.items() if name.startswith("added.")}
    return Text(batch["text"], added)
