"""Residuals: what controls say to a base in one step."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Residuals:
    """Tensors a base adds to its own features: one for each skip connection, one after the mid block.

    ``skips[i]`` has the shape of the base's i-th skip (N×C×h×w, from the input on); ``mid`` that of the mid block.
    """

    skips: tuple[Tensor, ...] = ()
    mid: Tensor | None = None

    def __add__(self, other: Residuals) -> Residuals:
        """The sum, site by site; a site that one of the two leaves out keeps the other's."""
        skips = tuple(_plus(a, b) for a, b in zip_longest(self.skips, other.skips))
        return Residuals(tuple(s for s in skips if s is not None), _plus(self.mid, other.mid))

    def scaled(self, scale: float) -> Residuals:
        """Every tensor times ``scale``; at 1 the very same tensors."""
        if scale == 1.0:
            return self
        return Residuals(tuple(s * scale for s in self.skips), None if self.mid is None else self.mid * scale)

    def masked(self, mask: Tensor) -> Residuals:
        """Every tensor times ``mask`` (N×1×H×W in [0, 1]), resampled by area to the tensor's own size."""

        def over(x: Tensor) -> Tensor:
            return x * F.adaptive_avg_pool2d(mask.to(x.dtype), (x.shape[-2], x.shape[-1]))

        return Residuals(tuple(over(s) for s in self.skips), None if self.mid is None else over(self.mid))


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b
