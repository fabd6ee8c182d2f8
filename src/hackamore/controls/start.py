"""How loud a fresh control's encoded hint is inside its copy, before anything is learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hackamore.bases.tokens import PATCH, pack

ROWS = 8
"""How many made-up hints and latents set the loudness where no real ones are given."""


@torch.no_grad()
def start_hint(network: Any, strength: float) -> bool:
    """Give the last layer of a fresh hint encoder random weights, so that it speaks ``strength`` times as loud as x.

    That is: the standard deviation of the encoded hint is ``strength`` times that of the first layer's output on noisy
    latents, to which it is added. All that leaves the network still passes zero convolutions, so that a base with it
    is the base, bit for bit; but a hint that is heard inside reaches them from the first step on, with one zero less
    to be learned before. ``network``: a ControlNet, union, Control-LoRA, ControlNet-XS, or one of SD3 or FLUX.
    Returns False for one whose way from the hint has no such layer (T2I-Adapters); it stays as it is.
    """
    layer = hint_layer(network)
    if layer is None:
        return False
    nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    tune_hint(network, strength)
    return True


@torch.no_grad()
def tune_hint(network: Any, strength: float, hints: Tensor | None = None, latents: Tensor | None = None) -> None:
    """Scale the weights that :func:`start_hint` gave until ``hints`` are ``strength`` times as loud as ``latents``.

    ``hints`` N×3×H×W in [0, 1], ``latents`` noisy ones N×C×h×w; by default lines and soft spots, and noise.
    """
    layer = hint_layer(network)
    if layer is None:
        return
    heard = _heard(network, latents)
    said = _said(network, hints)
    layer.weight.mul_(strength * heard.float().std() / said.float().std().clamp_min(1e-12))


def hint_layer(network: Any) -> Any:
    """The last layer on the hint's way into the copy, which starts at zero; None where there is none."""
    network = getattr(network, "branch", network)
    if hasattr(network, "hint_encoder"):
        return network.hint_encoder.conv_out
    if hasattr(network, "controlnet_cond_embedding"):
        return network.controlnet_cond_embedding.conv_out
    if hasattr(network, "net"):
        patches = getattr(network.net, "pos_embed_input", None)
        return network.net.controlnet_x_embedder if patches is None else patches.proj
    return None


def _heard(network: Any, latents: Tensor | None) -> Any:
    """What the copy's first layer makes of noisy latents."""
    network = getattr(network, "branch", network)
    layer = hint_layer(network)
    if hasattr(network, "net"):
        channels = network.base.latent_channels
        x = torch.randn(ROWS, channels, 4 * PATCH, 4 * PATCH) if latents is None else latents
        x = x.to(layer.weight.device, layer.weight.dtype)
        embed = getattr(network.net, "x_embedder", None)
        return network._embeds[0].proj(x) if embed is None else embed(pack(x))
    first = getattr(network, "trunk", network).conv_in
    x = torch.randn(ROWS, first.in_channels, 8, 8) if latents is None else latents
    return first(x.to(first.weight.device, first.weight.dtype))


def _said(network: Any, hints: Tensor | None) -> Any:
    """What the hint encoder makes of hints."""
    network = getattr(network, "branch", network)
    layer = hint_layer(network)
    if hints is not None or not hasattr(network, "net"):
        made = network.prepare(_made_up() if hints is None else hints)
        return made["tokens"] if isinstance(made, dict) else made
    x = torch.randn(ROWS, network.base.latent_channels, 4 * PATCH, 4 * PATCH)  # latents of hints have about unit size
    x = x.to(layer.weight.device, layer.weight.dtype)
    return layer(pack(x)) if isinstance(layer, nn.Linear) else layer(x)


def _made_up() -> Tensor:
    """Hints of both sorts, 8×3×64×64: soft spots of colour, and thin bright lines on black."""
    soft = F.interpolate(torch.rand(ROWS // 2, 3, 8, 8), scale_factor=8, mode="bilinear")
    grey = F.interpolate(torch.rand(ROWS // 2, 1, 8, 8), scale_factor=8, mode="bilinear")
    lines = ((grey - 0.5).abs() < 0.03).float().expand(-1, 3, -1, -1)
    return torch.cat([soft, lines])
