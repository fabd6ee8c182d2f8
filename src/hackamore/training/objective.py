"""What is minimised: noising, targets, weights and timesteps, as pure functions of numbers that are drawn elsewhere.

With x₀ the latents and ε the noise, a noisy latent is a·x₀ + s·ε. Signal a and noise s are √ᾱ and √(1−ᾱ) where the
network predicts noise or velocity, and 1−σ and σ where it predicts a rectified flow (Liu et al. 2022).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hackamore.core.errors import HackamoreError
from hackamore.core.section import setting
from hackamore.sampling.schedulers import is_flow, make_scheduler
from hackamore.training.settings import ObjectiveSettings

PREDICTIONS = ("epsilon", "v_prediction", "flow")
FLOW_UNIT = 1000.0
"""A flow's timestep is its σ times this."""


class Objective:
    """The loss of a base whose scheduler configuration is ``scheduler_config``.

    ``prediction``: epsilon, v_prediction or flow. ``steps``: timesteps run from 0 to below it (flow: to it).
    ``warning``: a sentence where the settings differ from what the base was trained for, else None.
    Latents, noise and predictions are N×C×h×w; everything is computed in float32, on the device of its arguments.
    Raises :class:`HackamoreError` for a prediction that the schedule has no form of, and for noise prediction at zero
    terminal signal-to-noise ratio, where the noisy latent is the noise itself and nothing is learned.
    """

    def __init__(self, scheduler_config: dict[str, Any], settings: ObjectiveSettings) -> None:
        own = base_prediction(scheduler_config)
        self.settings, self.prediction = settings, settings.prediction or own
        self.flow = self.prediction == "flow"
        if is_flow(scheduler_config) and not self.flow:
            raise HackamoreError(
                "a flow-matching base has no noise schedule to predict noise or velocity on",
                received=f"prediction {self.prediction}",
                expected="flow, or none, which takes the base's own",
            )
        self.warning = _warning(own, self.prediction)
        self.shift = 1.0
        self.steps = FLOW_UNIT
        self._signal, self._noise = torch.ones(1), torch.zeros(1)
        if self.flow:
            dynamic = scheduler_config.get("use_dynamic_shifting", False)
            self.shift = 1.0 if dynamic else float(scheduler_config.get("shift", 1.0))
        else:
            self._tables(scheduler_config)

    def _tables(self, config: dict[str, Any]) -> None:
        """Signal and noise of every timestep."""
        rescale = self.settings.zero_terminal_snr or bool(config.get("rescale_betas_zero_snr", False))
        if rescale and self.prediction == "epsilon":
            raise HackamoreError(
                "noise cannot be predicted at zero terminal signal-to-noise ratio: nothing would be learned there",
                received="prediction epsilon with zero_terminal_snr",
                expected="v_prediction",
                remedy=f"a base that predicts velocity, or {setting('objective.zero_terminal_snr', False)}",
            )
        signal = make_scheduler("ddim", config).alphas_cumprod.double().sqrt()
        if self.settings.zero_terminal_snr:  # what is zero at the end already stays as it is
            signal = zero_terminal(signal)
        self.steps = float(len(signal))
        self._signal, self._noise = signal.float(), (1 - signal.square()).sqrt().float()

    def noise(self, normal: Tensor, offsets: Tensor) -> Tensor:
        """Noise N×C×h×w from standard normal numbers of that shape and ``offsets`` N×C, one a channel.

        Offset noise (Guttenberg 2023) lets a base learn very dark and very light pictures.
        """
        if not self.settings.offset_noise:
            return normal
        return normal + self.settings.offset_noise * offsets.reshape(*normal.shape[:2], *[1] * (normal.ndim - 2))

    def timesteps(self, u: Tensor) -> Tensor:
        """Timesteps N of uniform numbers N in [0, 1): whole numbers for noise and velocity, 1000·σ for a flow.

        uniform: T·u. cubic: T·(1 − u³), more of the high noise (T2I-Adapter §3.4). logit-normal: T·sigmoid(m + s·z)
        with z the normal number whose cumulative probability is u (Esser et al. 2024, eq. 19).
        A flow's σ is then shifted as its sampler does it, σ ← k·σ / (1 + (k−1)·σ) (ibid., eq. 23).
        """
        share = self._share(u.double())
        if self.flow:
            return (FLOW_UNIT * self.shift * share / (1 + (self.shift - 1) * share)).float()
        return (share * self.steps).long().clamp(max=int(self.steps) - 1)

    def _share(self, u: Tensor) -> Tensor:
        match self.settings.timesteps:
            case "uniform":
                return u
            case "cubic":
                return 1 - u**3
            case "logit-normal":
                return torch.sigmoid(self.settings.logit_mean + self.settings.logit_std * torch.special.ndtri(u))

    def share(self, t: Tensor) -> Tensor:
        """How far up the schedule timesteps N lie, 0 to 1: 1 is pure noise."""
        return t.float() / self.steps

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Signal a and noise s of timesteps N, float32."""
        if self.flow:
            sigma = t.float() / FLOW_UNIT
            return 1 - sigma, sigma
        return self._signal.to(t.device)[t], self._noise.to(t.device)[t]

    def noisy(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network sees: a·x₀ + s·ε."""
        a, s = self._beside(latents, t)
        return a * latents.float() + s * noise.float()

    def target(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What it should say: ε (Ho et al. 2020, eq. 14), a·ε − s·x₀ (Salimans & Ho 2022, eq. 12), or ε − x₀."""
        latents, noise = latents.float(), noise.float()
        if self.prediction == "epsilon":
            return noise
        if self.flow:
            return noise - latents
        a, s = self._beside(latents, t)
        return a * noise - s * latents

    def clean(self, x: Tensor, made: Tensor, t: Tensor) -> Tensor:
        """The latents x₀ that the prediction ``made`` for the noisy ``x`` implies: one-step denoising."""
        x, made = x.float(), made.float()
        a, s = self._beside(x, t)
        if self.prediction == "epsilon":
            return (x - s * made) / a
        return x - s * made if self.flow else a * x - s * made

    def weight(self, t: Tensor) -> Tensor:
        """Weights N of the squared errors: ones, or min-SNR's (Hang et al. 2023, §3.4).

        They weigh the error of x₀ by min(γ, SNR), SNR = a²/s², whatever is predicted: min(γ, SNR)/SNR for noise,
        min(γ, SNR)/(SNR + 1) for velocity, min(γ, SNR)·σ² for a flow.
        """
        gamma = self.settings.min_snr
        a, s = (level.double() for level in self.levels(t))
        if gamma is None:
            return torch.ones_like(a, dtype=torch.float32)
        if self.prediction == "epsilon":
            return (gamma * (s / a).square()).clamp(max=1).float()
        known = torch.minimum(gamma * s.square(), a.square())  # min(γ, SNR)·s²; for velocity s² = 1/(SNR + 1)
        return known.float()

    def loss(self, made: Tensor, target: Tensor, t: Tensor) -> Tensor:
        """The weighted mean of the squared errors."""
        errors = (made.float() - target.float()).square().flatten(1).mean(1)
        return (self.weight(t) * errors).mean()

    def _beside(self, latents: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        a, s = (level.reshape(-1, *[1] * (latents.ndim - 1)) for level in self.levels(t))
        return a, s


def base_prediction(config: dict[str, Any]) -> str:
    """What a base with this scheduler configuration predicts. Another than the known ones is an error."""
    told = "flow" if is_flow(config) else str(config.get("prediction_type") or "epsilon")
    if told not in PREDICTIONS:
        raise HackamoreError(
            "what the base predicts cannot be trained", received=f"prediction_type {told}", expected=PREDICTIONS
        )
    return told


def zero_terminal(signal: Tensor) -> Tensor:
    """Signal levels √ᾱ shifted and scaled so that the last is 0 and the first stays (Lin et al. 2023, algorithm 1)."""
    first, last = signal[0], signal[-1]
    return (signal - last) * first / (first - last)


def dropped(u: Tensor, settings: ObjectiveSettings) -> tuple[Tensor, Tensor]:
    """Which examples lose their prompt and which their hint, bool N each, from uniform numbers ``u`` N×3.

    The three numbers decide on prompt, hint and both independently of each other, so a prompt is lost with probability
    1 − (1 − prompt_dropout)·(1 − joint_dropout).
    """
    both = u[:, 2] < settings.joint_dropout
    return (u[:, 0] < settings.prompt_dropout) | both, (u[:, 1] < settings.hint_dropout) | both


def _warning(own: str, chosen: str) -> str | None:
    if own == chosen:
        return None
    return (
        f"the base predicts {own}, the control is trained to make it predict {chosen}: what it makes is only right "
        f"with a sampler set to {chosen}, and it has to unlearn its own first"
    )
