"""What runs a network: PyTorch as it is, or a graph that was compiled from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import nn


class Backend(Protocol):
    """Runs a function that is made of one network, on tensors however nested."""

    name: str
    least: int
    """The smallest work of a picture, in steps × cells of its latents × halves of guidance, that is worth its start."""

    def run(self, network: nn.Module, function: Callable[..., Any], *arguments: Any) -> Any:
        """What ``function(*arguments)`` gives, in which ``network`` is all that has weights."""

    def coarse(self) -> Backend:
        """The same in bf16, where it can be told to compute in it; else itself."""


class Eager:
    """PyTorch, an operation after the other."""

    name = "torch"
    least = 0

    def run(self, network: nn.Module, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call the function."""
        return function(*arguments)

    def coarse(self) -> Eager:
        """Itself: a base computes in the type that it was loaded in."""
        return self


EAGER = Eager()
