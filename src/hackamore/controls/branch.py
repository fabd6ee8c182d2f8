"""ControlNet: a trainable copy of a U-Net's encoder that speaks through zero convolutions (Zhang et al. 2023, §3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hackamore.bases.base import Sites, Text
from hackamore.bases.forward import embed, run_encoder
from hackamore.bases.unet import encoder_of
from hackamore.controls.hint import HintEncoder
from hackamore.controls.unit import Unit
from hackamore.controls.zero import ZeroConv2d
from hackamore.core.errors import HackamoreError
from hackamore.core.residuals import Residuals

HINT_WIDTHS = {64: (16, 32, 64, 96)}
"""Hint encoder widths by the base's first width; others take the paper's (16, 32, 96, 256)."""


class Branch(nn.Module):
    """A ControlNet for a U-Net base, made structurally from it, at any width and depth.

    Fresh from a base it changes nothing, bit for bit: all that leaves it passes a :class:`ZeroConv2d`. ``pools``: its
    residuals are averaged over the picture (shuffle controls). ``only_mid``: it speaks after the mid block alone, and
    the skips hear zeros. ``trunk``: an encoder to use in place of a copy of the base's, whose weights are filled in
    afterwards. It computes in its own floating-point type, whatever the latents come in, and answers in theirs.
    """

    options = ("hidden",)

    def __init__(
        self,
        base: Any,
        condition: str | None = None,
        widths: tuple[int, ...] | None = None,
        *,
        trunk: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.condition = condition
        self.name = condition or "control"
        self.sha256: dict[str, str] = {}
        self.pools = self.only_mid = False
        self._bases = (base,)
        self.sites: Sites = base.sites
        self.trunk: Any = trunk or encoder_of(base.bare).requires_grad_(True).train()
        if base.scale_factor != HintEncoder.STRIDE:
            expected = f"{HintEncoder.STRIDE} pixels, the hint encoder's stride"
            raise HackamoreError(
                "no hint encoder fits this base", received=f"latents of {base.scale_factor}", expected=expected
            )
        first = base.sites.skips[0]
        self.hint_encoder = HintEncoder(first, widths or HINT_WIDTHS.get(first, (16, 32, 96, 256)))
        self.zero_skips = nn.ModuleList(ZeroConv2d(width, width) for width in base.sites.skips)
        self.zero_mid = ZeroConv2d(base.sites.mid, base.sites.mid)
        if trunk is None:
            self.to(base.device, base.dtype)

    @property
    def base(self) -> Any:
        """The base it was made for; no part of the module tree, so that no optimiser or checkpoint sees it."""
        return self._bases[0]

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of its weights."""
        return self.zero_mid.weight.dtype

    @property
    def outputs(self) -> int:
        """How many layer weights it has: one a skip, and one for the mid block."""
        return len(self.sites.skips) + 1

    def prepare(self, hint: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Encode the hint, N×3×H×W in [0, 1]: once per generation, not at every step.

        ``hidden``, 1×1×H×W: for inpainting controls, 1 where the picture is hidden; there the hint becomes −1.
        """
        weight = self.zero_mid.weight
        if hidden is not None:
            hint = torch.where(hidden > 0.5, -1.0, hint)
        features: Tensor = self.hint_encoder(hint.to(weight.device, weight.dtype))
        return features

    def residuals(self, x: Tensor, t: Tensor, text: Text, prepared: Tensor) -> Residuals:
        """Run the copy on the noisy latents and the encoded hint: a residual for each skip, one for the mid block."""
        if prepared.shape[-2:] != x.shape[-2:]:
            raise HackamoreError(
                "the hint and the picture differ in size",
                received=f"a hint of {prepared.shape[-1] * 8}×{prepared.shape[-2] * 8}",
                expected=f"{x.shape[-1] * 8}×{x.shape[-2] * 8}",
            )
        dtype = self.trunk.conv_in.weight.dtype
        inside, text = x.to(dtype), text.to(dtype)
        embedded = embed(self.trunk, inside, t, text)
        skips, mid = run_encoder(self.trunk, inside, embedded, text, prepared.to(dtype))
        residuals = self.spoken(skips, mid).to(x.dtype)
        return residuals.pooled() if self.pools else residuals

    def spoken(self, skips: Sequence[Tensor], mid: Tensor) -> Residuals:
        """What the zero convolutions make of the copy's skips and its mid block's output."""
        if self.only_mid:
            told = tuple(torch.zeros_like(skip, dtype=self.dtype) for skip in skips)
        else:
            told = tuple(zero(skip.to(self.dtype)) for zero, skip in zip(self.zero_skips, skips, strict=True))
        return Residuals(told, self.zero_mid(mid.to(self.dtype)))

    @torch.no_grad()
    def speak_after_mid(self) -> None:
        """Keep the mid block's output only: the skips' zero convolutions become zero, for good (``only_mid``)."""
        for parameter in self.zero_skips.requires_grad_(False).parameters():
            parameter.zero_()
        self.only_mid = True

    def forward(self, x: Tensor, t: Tensor, text: Text, hint: Tensor) -> Residuals:
        """Both in one, for training."""
        return self.residuals(x, t, text, self.prepare(hint))

    def unit(self, hint: Any, **settings: Any) -> Unit:
        """Bind the control to a hint; scale, window, schedule and mask as in :class:`Unit`."""
        return Unit(self, hint, **settings)


def new_control(base: Any, condition: str | None = None) -> Any:
    """A fresh ControlNet for ``base``: zero-initialised, so it changes nothing until it is trained.

    A :class:`Branch` for a U-Net, copies of the first blocks for SD3 and FLUX.
    """
    if hasattr(base, "transformer"):
        from hackamore.controls.blocks import new_blocks

        return new_blocks(base, condition)
    return Branch(base, condition)
