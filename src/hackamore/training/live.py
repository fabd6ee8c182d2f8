"""Bytes of tensors that are alive: what a step keeps, counted without running it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, every tensor that is made is counted until it is gone.

    ``known``: tensors that were there before, whose views are not counted.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = {id(storage): storage for storage in (tensor.untyped_storage() for tensor in known)}
        self._alive: dict[int, tuple[int, weakref.ref[Any]]] = {}
        self._events: list[tuple[int, int]] = []
        """(number of a storage, bytes that come or, negative, go)."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and look at what it made."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._note(leaf)
        return made

    @property
    def now(self) -> int:
        """Bytes that are alive."""
        return sum(size for _, size in self._events)

    def peak(self, without: Iterable[Tensor] = ()) -> int:
        """The most bytes that were alive at once; ``without``: tensors that are alive and do not count."""
        apart = {self._alive[key][0] for tensor in without if (key := id(tensor.untyped_storage())) in self._alive}
        return max(accumulate((size for number, size in self._events if number not in apart), initial=0))

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, number, size = id(storage), len(self._events), storage.nbytes()
        if key in self._known or key in self._alive:
            return

        def gone(_: Any) -> None:
            del self._alive[key]
            self._events.append((number, -size))

        self._alive[key] = number, weakref.ref(storage, gone)
        self._events.append((number, size))


@dataclass(frozen=True)
class Counted:
    """Bytes at the peak: of all tensors that were made, and without the gradients; ``gradients``: all of them.

    ``simulated``: counted on tensors without content; else on real ones, with one row, times the rows.
    """

    peak: int
    others: int
    gradients: int
    simulated: bool


def count_step(loss: Callable[[int], Tensor], weights: list[Tensor], known: list[Tensor], rows: int) -> Counted:
    """What forward and backward of ``loss(rows)`` keep alive at their peak, beside the tensors ``known``.

    ``loss`` makes its own inputs. Shapes alone are run through the networks (FakeTensorMode): the count is that of a
    real step to the byte, and takes neither its time nor its memory. A network whose course depends on values is run
    with one real row instead.
    """
    try:
        fake = FakeTensorMode(allow_non_fake_inputs=True)
        mirrored: list[Tensor] = [fake.from_tensor(tensor) for tensor in known]
        with fake:
            return _count(loss, weights, mirrored, rows, simulated=True)
    except RuntimeError:
        one = _count(loss, weights, known, 1, simulated=False)
        return Counted(one.gradients + one.others * rows, one.others * rows, one.gradients, False)


def count_run(run: Callable[[], object], known: list[Tensor]) -> int:
    """Bytes that ``run()`` keeps alive at its peak without a graph, on shapes alone; 0 where that cannot be told."""
    try:
        fake = FakeTensorMode(allow_non_fake_inputs=True)
        mirrored: list[Tensor] = [fake.from_tensor(tensor) for tensor in known]
        with torch.no_grad(), fake, Live(mirrored) as live:
            run()
    except RuntimeError:
        return 0
    return int(live.peak())


def _count(
    loss: Callable[[int], Tensor], weights: list[Tensor], known: list[Tensor], rows: int, *, simulated: bool
) -> Counted:
    with Live(known) as live:
        made = torch.autograd.grad(loss(rows), weights, allow_unused=True)
        gradients = [gradient for gradient in made if gradient is not None]
        held = sum(gradient.untyped_storage().nbytes() for gradient in gradients)
        return Counted(live.peak(), live.peak(without=gradients), held, simulated)
