"""Whitened principal components of 8×8 patches: the latents that Meadow's autoencoder is taught."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn


class Patches(nn.Module):
    """A linear autoencoder: latents of zero mean, unit variance and no correlation on what it was fitted to."""

    mean: Tensor
    down: Tensor
    up: Tensor

    def __init__(self, channels: int = 4, side: int = 8) -> None:
        super().__init__()
        self.side = side
        self.register_buffer("mean", torch.zeros(3 * side * side))
        self.register_buffer("down", torch.zeros(channels, 3, side, side))
        self.register_buffer("up", torch.zeros(channels, 3, side, side))

    def fit(self, pictures: NDArray[np.uint8], most: int = 2000) -> Patches:
        """Fit on at most ``most`` of ``pictures``, N×H×W×3 uint8."""
        chosen = pictures[:: max(1, len(pictures) // most)][:most]
        x = torch.from_numpy(np.array(chosen)).permute(0, 3, 1, 2).float() / 127.5 - 1
        flat = F.unfold(x, self.side, stride=self.side).transpose(1, 2).reshape(-1, 3 * self.side**2).double()
        mean = flat.mean(0)
        values, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat))
        count = self.down.shape[0]
        values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count].T
        vectors = vectors * torch.where(vectors.sum(1, keepdim=True) < 0, -1.0, 1.0)
        shape = self.down.shape
        self.mean.copy_(mean)
        self.down.copy_((vectors / values.sqrt()[:, None]).reshape(shape))
        self.up.copy_((vectors * values.sqrt()[:, None]).reshape(shape))
        return self

    def encode(self, x: Tensor) -> Tensor:
        """Pictures N×3×H×W in [−1, 1] → latents N×C×H/8×W/8."""
        offset = (self.down.flatten(1) @ self.mean)[:, None, None]
        return F.conv2d(x, self.down, stride=self.side) - offset

    def decode(self, z: Tensor) -> Tensor:
        """Latents → the best linear reconstruction, N×3×H×W."""
        tiles = z.shape[-2:]
        mean = self.mean.reshape(1, 3, self.side, self.side).repeat(1, 1, *tiles)
        return F.conv_transpose2d(z, self.up, stride=self.side) + mean
