"""T2I-Adapter: a small network that reads the hint alone, once, and feeds the base's encoder (Mou et al. 2023)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hackamore.bases.base import Sites, Text
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError
from hackamore.core.residuals import Residuals


class Place(NamedTuple):
    """Where a base takes a feature: its channels, and the pixels of the picture that one of its cells spans."""

    width: int
    stride: int


class AdapterBlock(nn.Module):
    """x + conv(ReLU(conv(x))), the first convolution 3×3, the second 1×1 (light adapters: 3×3)."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.block1 = nn.Conv2d(width, width, 3, padding=1)
        self.block2 = nn.Conv2d(width, width, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """N×width×h×w → the same."""
        changed: Tensor = self.block2(F.relu(self.block1(x)))
        return x + changed


class AdapterLevel(nn.Module):
    """Halve the size where the base does, change the width, and think for a few blocks.

    Light adapters think at a quarter of the width and end in a 1×1 convolution. Module names are diffusers'.
    """

    def __init__(self, width_in: int, width: int, blocks: int, *, down: bool, light: bool) -> None:
        super().__init__()
        inner = width // 4 if light else width
        self.down = down
        self.in_conv = nn.Conv2d(width_in, inner, 1) if light or width_in != width else None
        self.resnets = nn.ModuleList(AdapterBlock(inner, 3 if light else 1) for _ in range(blocks))
        self.out_conv = nn.Conv2d(inner, width, 1) if light else None

    def forward(self, x: Tensor) -> Tensor:
        """N×width_in×h×w → N×width×h×w, or half as high and wide, rounded up as the base's own levels are."""
        if self.down:
            x = F.avg_pool2d(x, 2, ceil_mode=True)
        for layer in (self.in_conv, *self.resnets, self.out_conv):
            x = x if layer is None else layer(x)
        return x


class Adapter(nn.Module):
    """A T2I-Adapter for a U-Net base, made structurally from it: full or light, at any width and depth.

    Feature k is added at the end of encoder level k; on bases whose first level has no attention (SDXL) the one beyond
    the last level is added after the mid block. ``channels_in``: 3, or 1 for adapters that read the hint as grey.
    ``blocks``: residual blocks a level, 2 (light: 4).

    Fresh from a base it changes nothing, bit for bit: its first convolution, the last one of every residual block (in
    light adapters the last one of every level), and the biases between start at zero, so every feature is zero.
    """

    reads_prompt = False
    steady = True
    """It says the same at every step."""

    def __init__(
        self,
        base: Any,
        condition: str | None = None,
        *,
        channels_in: int = 3,
        light: bool = False,
        blocks: int | None = None,
    ) -> None:
        super().__init__()
        self.places = places_of(base)
        self.condition = condition
        self.name = condition or "adapter"
        self.sha256: dict[str, str] = {}
        self.sites: Sites = base.sites
        self._bases = (base,)
        self.channels_in, self.light, self.blocks = channels_in, light, blocks or (4 if light else 2)
        widths = [place.width for place in self.places]
        read = channels_in * self.stride**2
        self.conv_in = None if light else nn.Conv2d(read, widths[0], 3, padding=1)
        widths_in = [read if light else widths[0], *widths[:-1]]
        self.body = nn.ModuleList(
            AdapterLevel(before, width, self.blocks, down=down, light=light)
            for before, width, down in zip(widths_in, widths, self.downs, strict=True)
        )
        self._silence()

    @property
    def base(self) -> Any:
        """The base it was made for; no part of the module tree, so that no optimiser or checkpoint sees it."""
        return self._bases[0]

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of its weights."""
        return next(self.parameters()).dtype

    @property
    def stride(self) -> int:
        """The side, in pixels, of the squares of the hint that become one cell of the first feature."""
        return self.places[0].stride

    @property
    def downs(self) -> tuple[bool, ...]:
        """For each level, whether it begins by halving the size."""
        return (False, *(after.stride > before.stride for before, after in pairwise(self.places)))

    @property
    def outputs(self) -> int:
        """How many layer weights it has: one a feature."""
        return len(self.places)

    def prepare(self, hint: Tensor) -> tuple[Tensor, ...]:
        """Run the adapter on the hint, N×3×H×W in [0, 1]: once per generation. Its features, the first level's first.

        A side that is no multiple of :attr:`stride` is filled up with its last row or column, as the base's own
        halvings round up.
        """
        weight = next(self.parameters())
        x = hint.to(weight.device, weight.dtype)
        x = x.mean(1, keepdim=True) if self.channels_in == 1 else x
        below, right = (-side % self.stride for side in x.shape[-2:])
        x = F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x
        x = F.pixel_unshuffle(x, self.stride)
        x = x if self.conv_in is None else self.conv_in(x)
        features = []
        for level in self.body:
            x = level(x)
            features.append(x)
        return tuple(features)

    def residuals(self, x: Tensor, t: Tensor, text: Text, prepared: tuple[Tensor, ...]) -> Residuals:
        """The very same features at every step: neither the latents nor the timestep nor the text matter."""
        latent = self.base.scale_factor
        expected = tuple(-(-side * latent // self.stride) for side in x.shape[-2:])
        if tuple(prepared[0].shape[-2:]) != expected:
            height, width = (side * self.stride for side in prepared[0].shape[-2:])
            raise HackamoreError(
                "the hint and the picture differ in size",
                received=f"a hint of about {width}×{height}",
                expected=f"{x.shape[-1] * latent}×{x.shape[-2] * latent}",
            )
        return Residuals(encoder=prepared).to(x.dtype)

    def forward(self, x: Tensor, t: Tensor, text: Text, hint: Tensor) -> Residuals:
        """Both in one, for training."""
        return self.residuals(x, t, text, self.prepare(hint))

    def unit(self, hint: Any, **settings: Any) -> Unit:
        """Bind the control to a hint; scale, window, schedule and mask as in :class:`Unit`."""
        return Unit(self, hint, **settings)

    def _silence(self) -> None:
        """Start with features that are exactly zero, and still learn from the first step on.

        Full: zero goes in, the linear path carries it, and no block adds to it; the first step moves the first
        convolution and the blocks' last ones. Light: the first step moves the levels' last convolutions.
        """
        for name, parameter in self.named_parameters():
            inner = name.endswith("in_conv.bias") and not self.light  # on the linear path, where a bias would speak
            if name in self.silent or inner:
                nn.init.zeros_(parameter)

    @property
    def silent(self) -> tuple[str, ...]:
        """The names of the parameters of those layers that start at zero, so that the adapter says nothing."""
        parts = ("out_conv",) if self.light else ("conv_in", "block2")
        return tuple(name for name, _ in self.named_parameters() if name.split(".")[-2] in parts)


def places_of(base: Any) -> tuple[Place, ...]:
    """Where ``base`` takes features, in order; raises :class:`HackamoreError` for a base that is no U-Net.

    A level with attention takes its feature before it halves the size, one without after that (Stable Diffusion's
    last level does not halve; SDXL's first does).
    """
    if not hasattr(base, "unet"):
        raise HackamoreError("no T2I-Adapter can be made for this base", received=base.family, expected="a U-Net base")
    places, stride = [], base.scale_factor
    levels = list(base.unet.down_blocks)
    attends = [bool(getattr(level, "has_cross_attention", False)) for level in levels]
    for width, level, attending in zip(base.sites.encoder, levels, attends, strict=True):
        after = stride if level.downsamplers is None else 2 * stride
        places.append(Place(width, stride if attending else after))
        stride = after
    return (*places, *([] if attends[0] else [Place(base.sites.mid, stride)]))


def new_adapter(base: Any, condition: str | None = None, *, light: bool = False, channels_in: int = 3) -> Adapter:
    """A fresh T2I-Adapter for ``base``: it changes nothing until it is trained."""
    return Adapter(base, condition, light=light, channels_in=channels_in).to(base.device, base.dtype)
