"""Meadow's inspector: a small network that reads the segmentation of a Meadow-like picture."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hackamore.bases.catalog import MEADOW
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture
from hackamore.core.palette import CLASSES


class Inspector(nn.Module):
    """A U-shaped network of plain convolutions: pictures N×3×H×W in [0, 1] → class logits N×16×H×W."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 72, 96)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Sequential(_block(a, b, 2), _block(b, b)) for a, b in pairwise(widths))
        self.up = nn.ModuleList(
            nn.Sequential(_block(a + b, b)) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], len(CLASSES), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the picture's own size."""
        x = F.silu(self.stem(x * 2 - 1))
        kept = []
        for down in self.down:
            kept.append(x)
            x = down(x)
        for up in self.up:
            skip = kept.pop()
            x = up(torch.cat([F.interpolate(x, size=skip.shape[-2:], mode="nearest"), skip], dim=1))
        logits: Tensor = self.head(x)
        return logits

    @torch.no_grad()
    def read(self, picture: Picture) -> NDArray[np.uint8]:
        """Class indices H×W of a picture H×W×3 uint8."""
        x = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None].to(self.head.weight.device)
        classes: NDArray[np.uint8] = self(x)[0].argmax(0).to(torch.uint8).cpu().numpy()
        return classes


def _block(channels_in: int, channels_out: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(8, channels_out),
        nn.SiLU(),
    )


@lru_cache(maxsize=1)
def load_inspector(path: Path = MEADOW / "inspector" / "seg.safetensors") -> Inspector:
    """The inspector that comes with the package."""
    from safetensors.torch import load_file

    if not path.exists():
        raise HackamoreError(f"the inspector is missing: {path}", remedy="make meadow, or install the package again")
    inspector = Inspector()
    inspector.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
    return inspector.eval().requires_grad_(False)
