"""The consistency reward of ControlNet++ (Li et al. 2024, §3.2): the picture has to say what its hint says.

At small timesteps one step denoises well enough: the latents that the prediction implies are decoded, the hint is read
back from the picture, and what differs is a loss. Its gradient goes through the reading, the decoder and the prediction
into the control.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hackamore.bases.decoding import decoded
from hackamore.core.errors import HackamoreError
from hackamore.core.section import setting
from hackamore.training.objective import Objective
from hackamore.training.readers import make_reading
from hackamore.training.settings import RewardSettings

NEAR, SEEN = 0.6, 0.8
"""True pictures must be so much nearer to their own hints than to shuffled ones, as they are, and through the
autoencoder, else the reward teaches nothing."""


@dataclass(frozen=True)
class Sanity:
    """What a reward says of true pictures: mean losses with their ``own`` hints and with ``shuffled`` ones, with their
    own once they went through the autoencoder (``seen``), and the least norm of a picture's ``gradient`` with respect
    to its latents.
    """

    kind: str
    own: float
    shuffled: float
    seen: float
    gradient: float

    @property
    def good(self) -> bool:
        """Near zero where it should be, and able to teach. False also for what is no number."""
        near = self.own <= NEAR * self.shuffled and self.seen <= SEEN * self.shuffled
        return near and math.isfinite(self.gradient) and self.gradient > 0

    @property
    def words(self) -> str:
        """The figures in a sentence."""
        return (
            f"true pictures have a reward loss of {self.own:.3g} with their own {self.kind} hints, {self.seen:.3g} "
            f"through the autoencoder, {self.shuffled:.3g} with other hints; smallest gradient {self.gradient:.2g}"
        )

    def check(self) -> None:
        """Raise :class:`HackamoreError` with the figures where the reward cannot be trained on."""
        if not self.good:
            raise HackamoreError(
                f"the reward does not know a {self.kind} hint from another",
                received=self.words,
                expected=f"at most {NEAR:g} of the other hints' loss, {SEEN:g} through the autoencoder; a gradient",
                remedy=f"hints as the reader knows them, another reader, or {setting('reward.weight', 0)}",
            )


def counts(settings: RewardSettings, share: Tensor, lost: Tensor) -> Tensor:
    """How much the reward of each of a whole batch's N rows counts: the same for all that are looked at, mean 1.

    Those are rows whose timestep, as ``share`` (N) of the schedule, is below ``settings.below`` and whose hint is not
    ``lost`` (bool N), of them at most ``settings.share`` of the batch, the first ones. All zero where there are none.
    It is decided for the whole batch, so that it does not depend on the parts in which that is worked through.
    """
    rows = ((share < settings.below) & ~lost).nonzero()[:, 0][: max(1, math.ceil(settings.share * len(share)))]
    made = torch.zeros(len(share))
    made[rows] = len(share) / max(len(rows), 1)
    return made


class Reward:
    """The reward of hints of ``kind`` on ``base``, whose autoencoder has to stay in memory (``vae``).

    ``parameters``: those of the annotator that made the hints. ``checkpointing`` decodes twice instead of keeping what
    the gradient needs. Raises :class:`HackamoreError` at once for a kind that nothing reads back with a gradient.
    """

    def __init__(
        self,
        base: Any,
        settings: RewardSettings,
        kind: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        checkpointing: bool = False,
    ) -> None:
        self.base, self.settings, self.kind, self.checkpointing = base, settings, kind, checkpointing
        self.reading = make_reading(kind, settings.reader, parameters)

    @property
    def vae(self) -> Any:
        """The autoencoder that it decodes with."""
        return self.base.vae

    def __call__(
        self, x: Tensor, made: Tensor, t: Tensor, hint: Tensor, objective: Objective, counts: Tensor
    ) -> Tensor:
        """The mean over all N rows of their losses times ``counts`` (N, 0 for rows that are not looked at).

        ``made`` is the steered prediction for the noisy latents ``x`` (N×C×h×w) at timesteps ``t`` (N), ``hint``
        N×3×H×W in [0, 1]. A black hint, which says nothing, is not read.
        """
        told = (hint.flatten(1).amax(1) > 0).to(counts.device)
        rows = ((counts > 0) & told).nonzero()[:, 0]
        if not len(rows):
            return made.new_zeros((), dtype=torch.float32)
        clean = objective.clean(x[rows], made[rows], t[rows])
        return (self.losses(clean, hint[rows]) * counts[rows]).sum() / len(counts)

    def losses(self, latents: Tensor, hint: Tensor) -> Tensor:
        """How far pictures with these clean latents are from their hints, N, with a gradient."""
        if self.checkpointing and latents.requires_grad:
            pictures = checkpoint(decoded, self.vae, latents, use_reentrant=False)
        else:
            pictures = decoded(self.vae, latents)
        pictures = (pictures.float() / 2 + 0.5).clamp(0, 1)
        with torch.autocast(pictures.device.type, enabled=False):
            return self.reading(pictures, hint.to(pictures.device, torch.float32))

    def sanity(self, pictures: Tensor, hints: Tensor) -> Sanity:
        """Look at true pictures N×3×H×W in [0, 1] with their own hints and with those of the pictures before them.

        One picture at a time, through the autoencoder where a gradient is asked for, on the device of the pictures.
        Raises :class:`HackamoreError` for a single picture.
        """
        if len(pictures) < 2:
            raise HackamoreError(
                "a reward is checked on several pictures", received=len(pictures), expected="2 or more"
            )
        rows = [self._sane(pictures[k : k + 1], hints[k : k + 1], hints[k - 1 :][:1]) for k in range(len(pictures))]
        own, shuffled, seen, gradients = zip(*rows, strict=True)
        own, shuffled, seen = (sum(losses) / len(rows) for losses in (own, shuffled, seen))
        return Sanity(self.kind, own, shuffled, seen, min(gradients))

    def _sane(self, picture: Tensor, hint: Tensor, other: Tensor) -> tuple[float, float, float, float]:
        with torch.no_grad():
            own, shuffled = (float(self.reading(picture.float(), h.float())) for h in (hint, other))
        with torch.enable_grad():
            latents = self.base.encode(picture * 2 - 1).detach().float().requires_grad_(True)
            loss = self.losses(latents, hint)
            (gradient,) = torch.autograd.grad(loss.sum(), latents)
        return own, shuffled, float(loss.detach()), float(gradient.norm())
