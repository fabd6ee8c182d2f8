"""The door of every base: what sampling, controls and training may ask of a frozen text-to-image model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from hackamore.backends.backend import Backend
from hackamore.core.image import Size
from hackamore.core.residuals import Residuals


@dataclass(frozen=True)
class Text:
    """Encoded prompts: ``tokens`` N×L×D, and what else a family conditions on (``added``, by name).

    ``empty``: a chunk without words, 1×L'×D, for families that read long prompts in chunks; shorter prompts are padded
    with it when they are put beside longer ones.
    """

    tokens: Tensor
    added: dict[str, Tensor] = field(default_factory=dict)
    empty: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, part: slice) -> Text:
        return Text(self.tokens[part], {name: value[part] for name, value in self.added.items()}, self.empty)

    def to(self, dtype: torch.dtype) -> Text:
        """The same in another floating-point type; plain numbers (sizes, guidance) keep theirs."""
        added = {name: value if name in TOLD else value.to(dtype) for name, value in self.added.items()}
        return Text(self.tokens.to(dtype), added, None if self.empty is None else self.empty.to(dtype))

    @staticmethod
    def cat(parts: Sequence[Text]) -> Text:
        """Several encoded prompts as one batch; shorter ones are padded with their own empty chunk, or another's."""
        empty = next((p.empty for p in parts if p.empty is not None), None)
        longest = max(p.tokens.shape[1] for p in parts)
        return Text(
            torch.cat([_lengthened(p.tokens, longest, empty if p.empty is None else p.empty) for p in parts]),
            {name: torch.cat([p.added[name] for p in parts]) for name in parts[0].added},
            empty,
        )


def _lengthened(tokens: Tensor, length: int, empty: Tensor | None) -> Tensor:
    """``tokens`` N×L×D with the empty chunk behind them as often as fits into ``length``."""
    if tokens.shape[1] == length or empty is None:
        return tokens
    chunks = (length - tokens.shape[1]) // empty.shape[1]
    return torch.cat([tokens, empty.repeat(len(tokens), chunks, 1)], 1)


TOLD = ("time_ids", "guidance")
"""What is told beside a prompt as plain numbers, which a coarse type would change."""


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
    multiple: int
    """Width and height of a picture are multiples of this."""
    scheduler_config: dict[str, Any]
    scheduler: str
    guidance: float
    sha256: dict[str, str]
    options: dict[str, Any]
    """What it was loaded with beyond its name, by file name, fit for JSON; empty where all is as published."""
    backend: Backend
    """What runs its network in a generation, and the controls that speak to it."""
    distilled: bool
    """Whether guidance is told to the network (FLUX.1 dev) instead of being made of two passes."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type that its network computes in."""

    @property
    def network(self) -> Any:
        """The denoiser."""

    def encode_text(self, prompts: Sequence[str], size: Size | None = None, guidance: float | None = None) -> Text:
        """Prompts → what :meth:`predict` conditions on, one row a prompt.

        ``size``: (width, height) of the picture, for families that are told it. ``guidance``: for distilled ones.
        """

    def encode_negative(self, prompts: Sequence[str], size: Size | None = None, guidance: float | None = None) -> Text:
        """The same for negative prompts, which some families read in another way."""

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
