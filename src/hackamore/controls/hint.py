"""The hint encoder: from a picture-sized hint to features at the size of the latents (paper §3.2, network E)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from hackamore.controls.zero import ZeroConv2d


class HintEncoder(nn.Module):
    """3×3 convolutions with SiLU between; each further width halves the size; the last layer starts at zero.

    ``widths`` has four entries for a stride of 8. Module names are those of diffusers' ``controlnet_cond_embedding``.
    """

    STRIDE = 8

    def __init__(self, channels_out: int, widths: tuple[int, ...] = (16, 32, 96, 256), channels_in: int = 3) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels_in, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for narrow, wide in pairwise(widths):
            self.blocks.append(nn.Conv2d(narrow, narrow, 3, padding=1))
            self.blocks.append(nn.Conv2d(narrow, wide, 3, padding=1, stride=2))
        self.conv_out = ZeroConv2d(widths[-1], channels_out, kernel=3)

    def forward(self, hint: Tensor) -> Tensor:
        """Hints N×C×H×W in [0, 1] → features N×channels_out×H/8×W/8."""
        x = F.silu(self.conv_in(hint))
        for block in self.blocks:
            x = F.silu(block(x))
        features: Tensor = self.conv_out(x)
        return features
