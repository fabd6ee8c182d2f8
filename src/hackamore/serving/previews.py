"""Rough pictures while a generation runs: its latents as colours, without the autoencoder."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hackamore.core.image import from_hint, png, to_hint

LONGEST = 256
"""Pixels of a preview's longer side, at most."""
WORLDS = 6
SIDE = 128
RIDGE = 1e-3
"""How strongly channels that hardly differ are kept from exploding."""


class Previews:
    """Previews by base: linear maps from latents to colours, each fitted once to pictures of our own worlds.

    Every base's latents hold, roughly, a small picture in other colours; a least-squares fit finds them.
    """

    def __init__(self) -> None:
        self._maps: dict[tuple[str, ...], Tensor] = {}
        self._lock = threading.Lock()

    def png(self, base: Any, latents: Tensor) -> bytes:
        """A PNG of clean latents C×h×w as estimated, at most :data:`LONGEST` pixels a side."""
        known = (base.name, *base.sha256.values())
        with self._lock:
            if known not in self._maps:
                self._maps[known] = fitted(base)
        told = self._maps[known]
        x = latents.float().cpu()
        flat = torch.cat([x.flatten(1), torch.ones(1, x[0].numel())])
        colours = (told @ flat).reshape(1, 3, *x.shape[1:]).clamp(0, 1)
        factor = min(base.scale_factor, LONGEST / max(x.shape[1:]))
        size = [max(1, round(side * factor)) for side in x.shape[1:]]
        return png(from_hint(F.interpolate(colours, size, mode="bicubic", align_corners=False).clamp(0, 1))[0])


@torch.inference_mode()
def fitted(base: Any) -> Tensor:
    """3×(C+1) of a base: colours in [0, 1] = map · (latents, 1)."""
    from hackamore.worlds import render

    pictures = to_hint([np.ascontiguousarray(render(seed, SIDE).picture) for seed in range(WORLDS)])
    latents = torch.cat([base.encode(one[None] * 2 - 1) for one in pictures]).float().cpu()
    colours = F.adaptive_avg_pool2d(pictures, (latents.shape[2], latents.shape[3]))
    known = latents.movedim(1, 0).flatten(1)
    known = torch.cat([known, torch.ones(1, known.shape[1])])
    wanted = colours.movedim(1, 0).flatten(1)
    square = known @ known.T
    ridge = RIDGE * square.diagonal().mean() * torch.eye(len(square))
    solved: Tensor = torch.linalg.solve(square + ridge, known @ wanted.T)
    return solved.T
