"""The door of every base: what sampling, controls and training may ask of a frozen text-to-image model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from hackamore.core.image import Size
from hackamore.core.residuals import Residuals


@dataclass(frozen=True)
class Text:
    """Encoded prompts: ``tokens`` N×L×D, and what else a family conditions on (``added``, by name)."""

    tokens: Tensor
    added: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, part: slice) -> Text:
        return Text(self.tokens[part], {name: value[part] for name, value in self.added.items()})

    @staticmethod
    def cat(parts: Sequence[Text]) -> Text:
        """Several encoded prompts as one batch."""
        return Text(
            torch.cat([p.tokens for p in parts]),
            {name: torch.cat([p.added[name] for p in parts]) for name in parts[0].added},
        )


@dataclass(frozen=True)
class Sites:
    """Where a base accepts residuals, told by widths.

    U-Nets: the channels of each skip, in order, of the mid block, and at the end of each encoder level. Transformers:
    ``width`` of their tokens and how many joint and single-stream blocks they have.
    """

    skips: tuple[int, ...] = ()
    mid: int = 0
    text_width: int = 0
    encoder: tuple[int, ...] = ()
    width: int = 0
    blocks: int = 0
    singles: int = 0


class Base(Protocol):
    """A frozen text-to-image model. It accepts :class:`Residuals` and does not know where they come from."""

    name: str
    family: str
    size: tuple[int, int]
    sites: Sites
    latent_channels: int
    scale_factor: int
    scheduler_config: dict[str, Any]
    scheduler: str
    guidance: float
    sha256: dict[str, str]
    device: torch.device
    dtype: torch.dtype
    distilled: bool
    """Whether guidance is told to the network (FLUX.1 dev) instead of being made of two passes."""

    def encode_text(self, prompts: Sequence[str], size: Size | None = None, guidance: float | None = None) -> Text:
        """Prompts → what :meth:`predict` conditions on, one row a prompt.

        ``size``: (width, height) of the picture, for families that are told it. ``guidance``: for distilled ones.
        """

    def timing(self, steps: int, size: Size) -> dict[str, Any]:
        """What a scheduler's ``set_timesteps`` must further be told for ``steps`` steps of a picture of ``size``."""

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures N×3×H×W in [−1, 1] → latents N×C×H/f×W/f at the scale that the network was trained on."""

    def decode(self, latents: Tensor) -> Tensor:
        """Latents → pictures N×3×H×W in [−1, 1]."""

    def predict(self, x: Tensor, t: Tensor, text: Text, residuals: Residuals | None = None) -> Tensor:
        """The network's prediction (noise, velocity or flow) for noisy latents ``x`` at timestep ``t``."""

    def view(self) -> Base:
        """The same base with a denoising network whose modules can be exchanged without this one changing."""

    def words_lost(self, prompt: str) -> str:
        """The end of ``prompt`` that the text encoder does not see; empty when it sees all."""
