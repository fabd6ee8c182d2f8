"""Residuals: what controls say to a base in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hackamore.core.errors import HackamoreError

Rule = Literal["share", "run", "turn"]


@dataclass(frozen=True)
class Residuals:
    """Tensors that a base adds to its own features, by where it adds them.

    U-Nets: ``encoder[k]`` at the end of encoder level k, before its skip is stored, one beyond the levels after the mid
    block (T2I-Adapter); ``skips[i]`` to the i-th skip (N×C×h×w, from the input on) as it enters the decoder; ``mid``
    after the mid block (ControlNet). Transformers: ``blocks[i]`` after the i-th joint block, ``singles[i]`` after the
    i-th single-stream block, N×L×C over the image tokens, row by row; ``rule`` says how fewer of them serve all blocks
    of a base (see :func:`spread_over`).
    """

    skips: tuple[Tensor, ...] = ()
    mid: Tensor | None = None
    encoder: tuple[Tensor, ...] = ()
    blocks: tuple[Tensor, ...] = ()
    singles: tuple[Tensor, ...] = ()
    rule: Rule = "share"

    def __len__(self) -> int:
        """How many outputs the control has, the mid's among them."""
        return len(self.encoder) + len(self.skips) + (self.mid is not None) + len(self.blocks) + len(self.singles)

    def __add__(self, other: Residuals) -> Residuals:
        """The sum, site by site; a site that one of the two leaves out keeps the other's."""
        return Residuals(
            _sum(self.skips, other.skips),
            _plus(self.mid, other.mid),
            _sum(self.encoder, other.encoder),
            _sum(self.blocks, other.blocks),
            _sum(self.singles, other.singles),
        )

    def mapped(self, change: Callable[[Tensor, int], Tensor]) -> Residuals:
        """Every output through ``change(tensor, i)``, i counting from the shallowest to the deepest."""
        encoder = tuple(change(x, i) for i, x in enumerate(self.encoder))
        skips = tuple(change(x, i) for i, x in enumerate(self.skips, len(encoder)))
        mid = None if self.mid is None else change(self.mid, len(encoder) + len(skips))
        before = len(encoder) + len(skips) + (mid is not None)
        blocks = tuple(change(x, i) for i, x in enumerate(self.blocks, before))
        singles = tuple(change(x, i) for i, x in enumerate(self.singles, before + len(blocks)))
        return Residuals(skips, mid, encoder, blocks, singles, self.rule)

    def scaled(self, scale: float) -> Residuals:
        """Every tensor times ``scale``; at 1 the very same tensors."""
        return self if scale == 1.0 else self.mapped(lambda x, _: x * scale)

    def to(self, dtype: torch.dtype) -> Residuals:
        """Every tensor in the floating-point type ``dtype``; those that have it are the very same.

        Under autocast they stay as they are: there the networks choose, and a coarse residual keeps a decoder coarse.
        """
        return self.mapped(lambda x, _: x if torch.is_autocast_enabled(x.device.type) else x.to(dtype))

    def weighted(self, weights: Sequence[float]) -> Residuals:
        """Output i times ``weights[i]``, as many as there are outputs."""
        return self.mapped(lambda x, i: x * weights[i])

    def masked(self, mask: Tensor) -> Residuals:
        """Every tensor times ``mask`` (N×1×H×W in [0, 1]), resampled by area to the tensor's own size."""
        return self.mapped(lambda x, _: x * mask_for(mask, x))

    def pooled(self) -> Residuals:
        """Every map N×C×h×w averaged over its pixels, the same at each of them (shuffle controls)."""
        return self.mapped(lambda x, _: x.mean((2, 3), keepdim=True).expand_as(x))

    def behind(self, rows: int) -> Residuals:
        """The same for a batch with ``rows`` further rows before it, to which nothing is said."""
        return self.mapped(lambda x, _: torch.cat([x.new_zeros(rows, *x.shape[1:]), x]))

    def doubled(self) -> Residuals:
        """The same for a batch of twice the rows: said to both halves."""
        return self.mapped(lambda x, _: torch.cat([x, x]))

    def last(self, rows: int) -> Residuals:
        """What is said to the last ``rows`` of the batch."""
        return self.mapped(lambda x, _: x[-rows:])

    def along(self, earlier: Residuals, share: float) -> Residuals:
        """Carried on: this plus ``share`` times what it grew since ``earlier``, which has the same outputs."""
        before = [*earlier.encoder, *earlier.skips, *(() if earlier.mid is None else (earlier.mid,))]
        before += [*earlier.blocks, *earlier.singles]
        return self.mapped(lambda x, i: x + share * (x - before[i]))

    def spread(self, blocks: int, singles: int) -> Residuals:
        """One residual for each of a transformer's ``blocks`` and ``singles``; fewer serve several."""
        wide = spread_over(self.blocks, blocks, self.rule)
        single = spread_over(self.singles, singles, "run" if self.rule == "turn" else self.rule)
        return Residuals(self.skips, self.mid, self.encoder, wide, single)


def mask_for(mask: Tensor, x: Tensor) -> Tensor:
    """``mask`` N×1×H×W resampled by area to the pixels of ``x`` N×C×h×w, or to its tokens N×L×C, as N×L×1.

    Tokens are pixels of the picture halved so many times, each time rounded up, as U-Nets and patches halve it.
    """
    mask = mask.to(x.device, x.dtype)
    if x.ndim == 4:
        return F.adaptive_avg_pool2d(mask, (x.shape[-2], x.shape[-1]))
    height, width = mask.shape[-2:]
    while height * width > x.shape[1]:
        height, width = -(-height // 2), -(-width // 2)
    if height * width != x.shape[1]:
        raise HackamoreError(
            "the mask fits nothing that the control says", received=f"{mask.shape[-1]}×{mask.shape[-2]}"
        )
    return F.adaptive_avg_pool2d(mask, (height, width)).flatten(2).transpose(1, 2)


def spread_over(outputs: Sequence[Tensor], sites: int, rule: Rule) -> tuple[Tensor, ...]:
    """One of the K ``outputs`` for each of N ``sites``: site i takes ⌊i·K/N⌋ (``share``), ⌊i/⌈N/K⌉⌋ (``run``) or
    i mod K (``turn``).
    """
    if not outputs:
        return ()
    count = len(outputs)
    run = -(-sites // count)
    chosen = [{"share": i * count // sites, "run": i // run, "turn": i % count}[rule] for i in range(sites)]
    return tuple(outputs[i] for i in chosen)


def _sum(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    summed = (_plus(a, b) for a, b in zip_longest(ours, theirs))
    return tuple(x for x in summed if x is not None)


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b
