"""Latents as the tokens of a diffusion transformer, and back."""

from __future__ import annotations

import torch
from torch import Tensor

PATCH = 2
"""Latent pixels a side that one token holds, in SD3 and in FLUX."""


def pack(x: Tensor) -> Tensor:
    """Latents N×C×h×w → tokens N×(h/2·w/2)×4C, each of 2×2 latent pixels, row by row."""
    n, channels, height, width = x.shape
    x = x.reshape(n, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(n, (height // PATCH) * (width // PATCH), channels * PATCH**2)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The reverse of :func:`pack`, for latents of ``height``×``width``."""
    n, _, channels = tokens.shape
    x = tokens.reshape(n, height // PATCH, width // PATCH, channels // PATCH**2, PATCH, PATCH)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(n, channels // PATCH**2, height, width)


def places_of(x: Tensor) -> Tensor:
    """Where each token of latents ``x`` is: (0, row, column), L×3 float32, which a rotary embedding reads."""
    rows, columns = x.shape[-2] // PATCH, x.shape[-1] // PATCH
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    places = torch.stack([torch.zeros_like(row), row, column], dim=-1).reshape(-1, 3)
    return places.to(x.device, torch.float32)
