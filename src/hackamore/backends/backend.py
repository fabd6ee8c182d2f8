"""What runs a network: PyTorch as it is, or a graph that was compiled from it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

from torch import nn


class Backend(Protocol):
    """Runs a function that is made of one network, on tensors however nested."""

    name: str

    def worth(self, kind: Hashable, work: int) -> bool:
        """Whether it is worth its start for a picture: ``work`` is its steps × cells of latents × halves of guidance.

        Pictures of one ``kind`` are served by the same graphs.
        """

    def run(self, network: nn.Module, function: Callable[..., Any], *arguments: Any) -> Any:
        """What ``function(*arguments)`` gives, in which ``network`` is all that has weights."""

    def coarse(self) -> Backend:
        """The same in bf16, where it can be told to compute in it; else itself."""


class Eager:
    """PyTorch, an operation after the other."""

    name = "torch"

    def worth(self, kind: Hashable, work: int) -> bool:
        """Always."""
        return True

    def run(self, network: nn.Module, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call the function."""
        return function(*arguments)

    def coarse(self) -> Eager:
        """Itself: a base computes in the type that it was loaded in."""
        return self


EAGER = Eager()
