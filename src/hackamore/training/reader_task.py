"""Training of a reader: classes, depth and normals of worlds, from pictures as a reward will show them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hackamore.core import palette
from hackamore.core.image import from_hint
from hackamore.core.weights import save_tensors
from hackamore.data.truth import Truths
from hackamore.evaluation.sheets import write_sheet
from hackamore.training.draws import Draws
from hackamore.training.reader_network import FILE, Reader, agreement
from hackamore.training.trainer import Task

DEPTH, NORMALS = 4.0, 1.0
"""Weights of depth (mean absolute error) and normals (one minus cosine) beside the cross-entropy of the classes."""
THROUGH, SOFT = 0.4, 0.4
"""Shares of the pictures that are seen through an autoencoder and softened; the rest is seen as it is."""


class ReaderTask(Task):
    """Classes, depth and normals at once, from true pictures, softened ones, and those through an autoencoder.

    ``seen``: the pictures of ``truths`` through the autoencoder, folder by folder; without it more are softened.
    One-step denoised pictures, which a reward reads, are as blurred as their noise was strong: hence the softened.
    """

    def __init__(self, truths: Truths, seen: Sequence[NDArray[np.uint8]] | None = None) -> None:
        super().__init__()
        self.truths = truths
        self.seen = truths.pictures if seen is None else list(seen)
        self.starts = np.cumsum([0, *(len(part) for part in truths.pictures)])
        self.reader = Reader().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def groups(self) -> list[dict[str, Any]]:
        """All weights, one rate."""
        return [{"params": list(self.reader.parameters())}]

    def batch(self, draws: Draws) -> dict[str, Tensor]:
        """Pictures N×3×H×W in [0, 1], varied and half of them mirrored, and their truths."""
        places = draws.indices(len(self.truths)).numpy()
        u = draws.uniform(8)
        through = (u[:, 0] < THROUGH).tolist()
        pictures = [
            self._part(self.seen if seen else self.truths.pictures, place)
            for place, seen in zip(places, through, strict=True)
        ]
        x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
        x = noisy(softened(x, u[:, 0] > 1 - SOFT, u[:, 1:3]), u[:, 3:7], draws.normal(*x.shape[1:]))
        classes, depth, normals = (
            torch.from_numpy(np.stack([self._part(part, place) for place in places]))
            for part in (self.truths.classes, self.truths.depth, self.truths.normals)
        )
        batch = {
            "x": x,
            "classes": classes.long(),
            "depth": depth.float() / 255,
            "normals": normals.permute(0, 3, 1, 2).float() / 127.5 - 1,
        }
        flip = u[:, 7] < 0.5
        for name, value in batch.items():
            batch[name] = torch.where(flip.view(-1, *[1] * (value.ndim - 1)), value.flip(-1), value)
        batch["normals"][flip, 0] *= -1
        return batch

    def _part(self, arrays: Sequence[NDArray[np.uint8]], place: int) -> NDArray[np.uint8]:
        part = int(np.searchsorted(self.starts, place, side="right")) - 1
        return np.array(arrays[part][place - self.starts[part]])

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weighted sum as ``loss``, each part, and the share of pixels whose class is right."""
        read = self.reader(batch["x"].contiguous(memory_format=torch.channels_last))
        known = batch["normals"].square().sum(1) > 0.25
        cosine = F.cosine_similarity(read.normals, batch["normals"], dim=1)
        classes = F.cross_entropy(read.classes, batch["classes"])
        depth = (read.depth - batch["depth"]).abs().mean()
        normals = ((1 - cosine) * known).sum() / known.sum().clamp(min=1)
        return {
            "loss": classes + DEPTH * depth + NORMALS * normals,
            "classes": classes,
            "depth": depth,
            "normals": normals,
            "agreement": agreement(read, batch["classes"]),
        }

    def sample(self, path: Path) -> None:
        """Pictures, and what is read from them: classes, depth, normals."""
        places = np.linspace(0, len(self.truths) - 1, 8).astype(int)
        chosen = [self._part(self.truths.pictures, place) for place in places]
        device = next(self.reader.parameters()).device
        read = self.reader(torch.from_numpy(np.stack(chosen)).permute(0, 3, 1, 2).float().to(device) / 255)
        classes = [palette.paint(found) for found in read.classes.argmax(1).to(torch.uint8).cpu().numpy()]
        depth = from_hint(read.depth.clamp(0, 1)[:, None].expand(-1, 3, -1, -1))
        normals = from_hint(F.normalize(read.normals, dim=1) / 2 + 0.5)
        write_sheet(path, chosen + classes + depth + normals, columns=8)

    def export(self, folder: Path) -> None:
        """``reader.safetensors``, fp16."""
        weights = {name: p.detach().half().contiguous() for name, p in self.reader.state_dict().items()}
        save_tensors(weights, folder / FILE)


def softened(x: Tensor, soft: Tensor, u: Tensor) -> Tensor:
    """Pictures N×3×H×W where those of ``soft`` (bool N) lose their detail: means over cells, brought back by cubics.

    ``u`` N×2 in [0, 1): how coarse, 2 to 8 pixels a cell, and how far, from a half to all.
    """
    x = x.clone()
    for place in soft.nonzero()[:, 0].tolist():
        coarse, share = 2 ** (1 + 2 * float(u[place, 0])), 0.5 + 0.5 * float(u[place, 1])
        cells = [max(1, round(side / coarse)) for side in x.shape[-2:]]
        small = F.interpolate(x[place : place + 1], size=cells, mode="area")
        x[place] = torch.lerp(x[place], F.interpolate(small, size=x.shape[-2:], mode="bicubic")[0], share)
    return x


def noisy(x: Tensor, u: Tensor, normal: Tensor) -> Tensor:
    """Pictures with other gains and some noise, in [0, 1]; ``u`` N×4 in [0, 1): three gains, and how much noise."""
    u = u[:, :, None, None]
    return (x * (0.9 + 0.2 * u[:, :3]) + 0.05 * u[:, 3:].square() * normal).clamp(0, 1)
