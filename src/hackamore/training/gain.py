"""The hint gain: how much smaller the loss is with a picture's own hint than with another picture's.

It needs no sampling and no annotator, so it is known for every condition, and long before pictures follow the hint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hackamore.bases.base import Text
from hackamore.bases.weighting import literal
from hackamore.core.image import to_hint
from hackamore.data.evaluation import Example
from hackamore.training.calm import autocast, undisturbed

SHARES = (0.5, 0.7, 0.9)
"""The timesteps, as shares of the schedule: where a picture's plan is laid, the hint says most."""

Losses = Callable[[int, Tensor], Tensor]
"""(which of ``SHARES``, for each of N examples the place of the one whose hint it gets) → their losses N."""


class Mixing(Protocol):
    """What is asked of an objective; ``steps``: its timesteps run from 0 to this."""

    @property
    def steps(self) -> float:
        """How many timesteps there are."""

    def timesteps(self, u: Tensor) -> Tensor:
        """Timesteps from uniform numbers."""

    def noisy(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Latents with noise."""

    def target(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the prediction is compared with."""


@dataclass(frozen=True)
class Encoded:
    """N examples of one size, ready for a loss, on the CPU: latents N×C×h×w, text, and hints N×3×H×W in [0, 1].

    ``kinds``: N numbers, which of a union's kinds each hint is; None for other controls.
    """

    latents: Tensor
    text: Text
    hints: Tensor
    kinds: Tensor | None = None

    def __len__(self) -> int:
        return len(self.latents)


def encoded(
    base: Any, examples: Sequence[Example], kind: str, number: int | None = None, precision: str = "no"
) -> list[Encoded]:
    """``examples`` with their hints of ``kind`` (a union's kind ``number``), a group for each size that occurs.

    Of a size that only one example has no hint can be exchanged: it is left out.
    """
    sizes: dict[tuple[int, ...], list[Example]] = {}
    for example in examples:
        sizes.setdefault(example.picture.shape, []).append(example)
    made = []
    for some in sizes.values():
        if len(some) < 2:
            continue
        height, width = some[0].picture.shape[:2]
        with torch.no_grad(), autocast(base.device, precision):
            latents = [base.encode(to_hint(example.picture) * 2 - 1).float().cpu() for example in some]
            told = base.encode_text([literal(example.caption) for example in some], (width, height))
            length = base.encode_text([""], (width, height)).tokens.shape[1]  # training cuts longer captions too
        text = Text(told.tokens[:, :length].cpu(), {name: value.cpu() for name, value in told.added.items()})
        hints = to_hint([example.hint(kind, {}) for example in some])
        numbers = None if number is None else torch.full((len(some),), number)
        made.append(Encoded(torch.cat(latents), text, hints, numbers))
    return made


class Gain:
    """Measures the hint gain of a control under training, the same noise and timesteps each time.

    ``predict(x, t, text, hint, kind)`` is the steered prediction, ``objective`` mixes noise in and tells the target,
    ``groups`` are examples. ``networks``: those that are put into evaluation mode meanwhile.
    """

    def __init__(
        self,
        predict: Callable[..., Tensor],
        objective: Mixing,
        groups: Sequence[Encoded],
        networks: Iterable[nn.Module] = (),
        *,
        precision: str = "no",
        seed: int = 0,
        batch: int = 16,
    ) -> None:
        self.predict, self.objective, self.groups = predict, objective, list(groups)
        self.networks, self.precision, self.seed, self.batch = list(networks), precision, seed, batch

    def __call__(self) -> float:
        """(loss with other hints − loss with own hints) ÷ loss with own hints; NaN without two examples."""
        own = other = 0.0
        with undisturbed(self.networks), torch.no_grad():
            for group in self.groups:
                generator = torch.Generator().manual_seed(self.seed)
                noise = torch.randn((len(SHARES), *group.latents.shape), generator=generator)
                mine, theirs = paired_losses(partial(self._losses, group, noise), len(group))
                own, other = own + mine, other + theirs
        return (other - own) / own if own > 0 else float("nan")

    def _losses(self, group: Encoded, noise: Tensor, share: int, hints: Tensor) -> Tensor:
        """The losses of all examples at one timestep, example k with the hint of example ``hints[k]``."""
        made, device = [], self._device(group)
        for first in range(0, len(group), self.batch):
            rows = torch.arange(first, min(first + self.batch, len(group)))
            t = self._timesteps(SHARES[share], len(rows)).to(device)
            clean, added = group.latents[rows].to(device), noise[share, rows].to(device)
            more = {name: value[rows].to(device) for name, value in group.text.added.items()}
            text = Text(group.text.tokens[rows].to(device), more)
            kinds = None if group.kinds is None else group.kinds[rows].to(device)
            with autocast(device, self.precision):
                x = self.objective.noisy(clean, added, t)
                found = self.predict(x, t, text, group.hints[hints[rows]].to(device), kinds)
            wanted = self.objective.target(clean, added, t)
            made.append((found.float() - wanted.float()).square().flatten(1).mean(1))
        return torch.cat(made)

    def _device(self, group: Encoded) -> torch.device:
        """Where the networks compute."""
        return next((p.device for network in self.networks for p in network.parameters()), group.latents.device)

    def _timesteps(self, share: float, count: int) -> Tensor:
        """The timestep at a share of the schedule, in the objective's own number type."""
        like = self.objective.timesteps(torch.tensor([0.5]))
        return torch.full((count,), share * self.objective.steps).to(like.dtype)


def paired_losses(losses: Losses, count: int) -> tuple[float, float]:
    """Summed losses of ``count`` examples at all timesteps, with their own hints and with those of others.

    The hints are moved on by one and by half the set, so that no example meets its own.
    """
    places = torch.arange(count)
    shifts = sorted({1 % count, count // 2 % count} - {0})
    own = other = 0.0
    for share in range(len(SHARES)):
        own += float(losses(share, places).sum())
        moved = [float(losses(share, places.roll(-shift)).sum()) for shift in shifts]
        other += sum(moved) / len(moved)
    return own, other
