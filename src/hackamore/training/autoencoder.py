"""Meadow's autoencoder: first the encoder learns the whitened patches and the decoder to see through them, then both
go on together, held to white latents and to as much texture as the true pictures have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from hackamore.core.image import from_hint
from hackamore.evaluation.sheets import write_sheet
from hackamore.training.draws import Draws
from hackamore.training.patches import Patches
from hackamore.training.trainer import Task

PINNED_LOGVAR = -20.0
Encoder = Literal["patches", "joint", "still"]
"""What the encoder learns while the decoder does."""


def new_autoencoder(channels: tuple[int, ...] = (16, 32, 64, 128)) -> AutoencoderKL:
    """An untrained ``AutoencoderKL`` of Meadow's shape: four levels, one layer a block, four latent channels."""
    levels = len(channels)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )
    pin_variance(vae)
    return vae


@torch.no_grad()
def pin_variance(vae: AutoencoderKL) -> None:
    """Make the posterior a point: its log-variance is constant and negligible."""
    half = vae.quant_conv.weight.shape[0] // 2
    vae.quant_conv.weight[half:] = 0
    vae.quant_conv.bias[half:] = PINNED_LOGVAR


@dataclass(frozen=True)
class Weights:
    """What the parts of the decoder's loss count beside the L1 of pixels."""

    edges: float = 0.5
    texture: float = 0.0
    roughness: float = 0.0


class Codec:
    """A finished autoencoder, between pictures in [−1, 1] and latents; it is no part of what is trained."""

    def __init__(self, folder: Path) -> None:
        self.vae = AutoencoderKL.from_pretrained(folder).float().eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Pictures N×3×H×W → latents N×4×H/8×W/8."""
        z: Tensor = self.vae.to(x.device).encode(x).latent_dist.mean
        return z

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Latents → pictures."""
        x: Tensor = self.vae.to(z.device).decode(z).sample
        return x


def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbours of N×C×H×W, along rows and along columns."""
    return x.diff(dim=-1), x.diff(dim=-2)


def coarsened(x: Tensor) -> Tensor:
    """Means of 2×2 neighbours of N×C×H×W: what turns with every pixel is gone, everything slower is there."""
    return F.avg_pool2d(x, 2, stride=1)


def roughness(x: Tensor) -> Tensor:
    """Mean magnitude of the gradients of N×C×H×W in squares of 16 pixels, a little above 0 even for flat ones.

    Magnitudes, not their squares: of those a few bright specks bring as many as texture does. Of the coarsened
    picture: a mesh that turns with every pixel is the cheapest roughness there is, and nothing that a world has.
    """
    across, down = gradients(coarsened(x.float()))
    inside = across[..., :-1, :].abs() + down[..., :-1].abs()
    return F.avg_pool2d(inside.mean(1, keepdim=True), 16, 8, ceil_mode=True) + 0.02


def _both(parts: Iterable[Tensor]) -> Tensor:
    """Their sum."""
    return torch.stack(list(parts)).sum()


def whiteness(z: Tensor) -> Tensor:
    """How far latents N×C×h×w are from zero mean and the identity as covariance."""
    flat = z.float().permute(1, 0, 2, 3).flatten(1)
    away = torch.cov(flat) - torch.eye(len(flat), device=z.device)
    return 0.02 * away.square().mean() + 0.02 * flat.mean(1).square().mean()


class AutoencoderTask(Task):
    """Decoder: L1, L1 of gradients, of 4×4 means, of local mean gradient magnitudes, and of how rough each part is.

    Whoever minimises an error alone blurs: what cannot be foretold is left out. ``weights.roughness`` counts by how
    much (the natural logarithm) each part of a picture is smoother or rougher than the true one.
    ``encoder``: ``patches`` learns their latents by mean squared error; ``still`` learns nothing; ``joint`` learns
    whatever serves the decoder, with latents of zero mean and a covariance held to the identity, so that no dimension
    collapses.
    """

    def __init__(
        self,
        pictures: NDArray[np.uint8],
        patches: Patches,
        crop: int = 64,
        encoder: Encoder = "patches",
        weights: Weights = Weights(),
        init: Path | None = None,
    ) -> None:
        super().__init__()
        self.pictures, self.crop, self.encoder, self.weights = pictures, crop, encoder, weights
        self.patches = patches
        self.vae = new_autoencoder() if init is None else AutoencoderKL.from_pretrained(init).float()
        if encoder == "still":
            self.vae.encoder.requires_grad_(False)
            self.vae.quant_conv.requires_grad_(False)

    def groups(self) -> list[dict[str, Any]]:
        """All weights, one rate."""
        if self.encoder == "still":
            return [{"params": [*self.vae.decoder.parameters(), *self.vae.post_quant_conv.parameters()]}]
        return [{"params": list(self.vae.parameters())}]

    def batch(self, draws: Draws) -> dict[str, Tensor]:
        """Random crops N×3×crop×crop in [−1, 1]."""
        places = draws.indices(len(self.pictures)).tolist()
        corners = draws.uniform(2).tolist()
        room = np.array(self.pictures.shape[1:3]) - self.crop + 1
        crops = []
        for place, corner in zip(places, corners, strict=True):
            top, left = (int(c) for c in np.array(corner) * room)
            crops.append(self.pictures[place, top : top + self.crop, left : left + self.crop])
        x = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1
        return {"x": x, "noise": draws.normal(4, self.crop // 8, self.crop // 8)}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch; the decoder sees true latents for one half, the encoder's for the other."""
        x = batch["x"]
        with torch.set_grad_enabled(self.encoder != "still" and torch.is_grad_enabled()):
            mean = self.vae.encode(x).latent_dist.mean
        if self.encoder == "still":
            seen, encoder = mean, mean.new_zeros(())
        elif self.encoder == "joint":
            seen, encoder = mean, whiteness(mean)
        else:
            z = self.patches.encode(x)
            seen, encoder = z.clone(), 0.5 * F.mse_loss(mean, z)
            seen[1::2] = mean[1::2].detach()
        made = self.vae.decode(seen + 0.03 * batch["noise"]).sample
        error = F.l1_loss(made, x)
        rough, smooth = gradients(x), gradients(made)
        edges = _both(F.l1_loss(a, b) for a, b in zip(smooth, rough, strict=True))
        coarse = F.l1_loss(F.avg_pool2d(made, 4), F.avg_pool2d(x, 4))
        slow = zip(gradients(coarsened(made)), gradients(coarsened(x)), strict=True)
        texture = _both(F.l1_loss(F.avg_pool2d(a.abs(), 4), F.avg_pool2d(b.abs(), 4)) for a, b in slow)
        weights = self.weights
        away = (roughness(made) / roughness(x)).log().abs().mean() if weights.roughness else made.new_zeros(())
        loss = error + weights.edges * edges + 0.5 * coarse + weights.texture * texture + weights.roughness * away
        return {
            "loss": loss + encoder,
            "l1": error,
            "edges": edges,
            "texture": texture,
            "encoder": encoder,
            "energy": _both(a.square().mean() for a in smooth) / _both(b.square().mean() for b in rough),
            "psnr": 10 * torch.log10(4 / F.mse_loss(made, x)),
        }

    def sample(self, path: Path) -> None:
        """True pictures above their reconstructions."""
        chosen = self.pictures[:: max(1, len(self.pictures) // 8)][:8]
        x = (torch.from_numpy(np.array(chosen)).permute(0, 3, 1, 2).float() / 127.5 - 1).to(self.patches.mean.device)
        made = self.vae.decode(self.vae.encode(x).latent_dist.mean).sample
        write_sheet(path, from_hint(torch.cat([x, made]) / 2 + 0.5), columns=8)

    def export(self, folder: Path) -> None:
        """``folder/vae`` in diffusers' layout, fp16."""
        import copy

        vae = copy.deepcopy(self.vae)
        pin_variance(vae)
        vae.to(torch.float16).save_pretrained(folder / "vae")
