"""The zero convolution (ControlNet, Zhang et al. 2023, eq. 2–3 and supplement)."""

from __future__ import annotations

from torch import nn


class ZeroConv2d(nn.Conv2d):
    """A convolution whose weights and bias start at zero: it says nothing until it has learned.

    ``Z(I)_{p,i} = B_i + Σ_j I_{p,j} W_{i,j}``. At W = B = 0 the gradients are ∂Z/∂B = 1, ∂Z/∂I = W = 0 and
    ∂Z/∂W = I: the first step moves only this layer, and from the second step on what lies before it learns too.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel, padding=kernel // 2)
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
