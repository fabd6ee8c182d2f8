"""The randomness of one training step, as a pure function of seed and step.

Because nothing else is random, a run that is killed and resumed, or resumed on another number of processes,
continues the same run: same order of data, same noise, same dropouts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Draws:
    """What step ``step`` of a run draws: always for the whole batch, of which process ``rank`` keeps its share."""

    def __init__(self, seed: int, step: int, batch: int, rank: int = 0, processes: int = 1) -> None:
        if batch % processes:
            raise ValueError(f"a batch of {batch} cannot be shared by {processes} processes")
        self.seed, self.step, self.batch = seed, step, batch
        share = batch // processes
        self._mine = slice(rank * share, (rank + 1) * share)
        self._generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)

    def indices(self, count: int) -> Tensor:
        """Positions in a data set of ``count``: every item once an epoch, in an order of its own each epoch."""
        places = range(self.step * self.batch, (self.step + 1) * self.batch)
        chosen = [_order(self.seed, place // count, count)[place % count] for place in places]
        return torch.stack(chosen)[self._mine]

    def places(self, groups: Sequence[NDArray[Any]]) -> Tensor:
        """Places of one batch, all of one of the ``groups`` (examples of equal size).

        Every group has a stream of its own, in which every item comes once an epoch; groups take turns in proportion
        to their sizes, evenly spread. With one group it is :meth:`indices`.
        """
        counts = tuple(len(group) for group in groups)
        period, slot = divmod(self.step, sum(counts))
        turns = _turns(self.seed, period, counts)
        group = int(turns[slot])
        count = counts[group]
        turn = period * count + int((turns[:slot] == group).sum())
        seed = self.seed + 7919 * group
        chosen = [_order(seed, k // count, count)[k % count] for k in range(turn * self.batch, (turn + 1) * self.batch)]
        return torch.from_numpy(np.asarray(groups[group], np.int64))[torch.stack(chosen)][self._mine]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal noise of ``shape`` for every item."""
        return torch.randn(self.batch, *shape, generator=self._generator)[self._mine]

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1) of ``shape`` for every item."""
        return self.mine(self.uniform_of_all(*shape))

    def uniform_of_all(self, *shape: int) -> Tensor:
        """As :meth:`uniform`, for the items of all processes: what a step decides for its whole batch at once."""
        return torch.rand(self.batch, *shape, generator=self._generator)

    def mine(self, rows: Tensor) -> Tensor:
        """This process's share of ``rows``, one for each item of the whole batch."""
        return rows[self._mine]


@lru_cache(maxsize=32)
def _order(seed: int, epoch: int, count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed((seed * 7_368_787 + epoch) % 2**63))


@lru_cache(maxsize=4)
def _turns(seed: int, period: int, counts: tuple[int, ...]) -> NDArray[np.intp]:
    """Which group has each turn of a period of ``sum(counts)``: group g ``counts[g]`` times, evenly spread."""
    generator = torch.Generator().manual_seed((seed * 9_576_890_767 + period) % 2**63)
    offsets = torch.rand(len(counts), generator=generator, dtype=torch.float64).numpy()
    times = np.concatenate([(np.arange(count) + offset) / count for count, offset in zip(counts, offsets, strict=True)])
    owners = np.repeat(np.arange(len(counts)), counts)
    return owners[np.argsort(times, kind="stable")]
