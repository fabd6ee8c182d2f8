"""The sampling loop. It sees neither a network nor a control: its whole contract is one call, ``denoise(x, step)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Step:
    """Where the loop is: ``index`` of ``total``, the timestep ``t``, the noise level ``sigma`` (:func:`sigma_at`)."""

    index: int
    total: int
    t: Tensor
    sigma: float


class Denoise(Protocol):
    """The model, with its text, its guidance and its controls: scaled noisy latents → the scheduler's prediction."""

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        """Predict what the scheduler expects (noise, velocity or flow) for ``x``, N×C×h×w."""


class Prefix:
    """The first ``length`` steps of a run, kept for other runs that differ from it only after them.

    The first run that gets it fills it; those that follow begin where it ends, with the same latents, scheduler state
    and generators, and so give what they would have given from the start.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self._known: object = None
        self._kept: tuple[Tensor, Any, list[Tensor]] | None = None

    def belongs_to(self, known: object) -> bool:
        """Whether its steps are those of a run known by ``known``; the first that asks is the one."""
        self._known = known if self._known is None else self._known
        return bool(self._known == known)

    def keep(self, x: Tensor, scheduler: Any, generators: list[torch.Generator]) -> None:
        """Remember the state before step ``length``, the first time."""
        if self._kept is None:
            self._kept = x.clone(), deepcopy(scheduler), [g.get_state() for g in generators]

    def restore(self, generators: list[torch.Generator]) -> tuple[Tensor, Any] | None:
        """Latents and scheduler as they were, the generators set back; None before a run has filled it."""
        if self._kept is None:
            return None
        x, scheduler, states = self._kept
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        return x.clone(), deepcopy(scheduler)


def noise_like(shape: Sequence[int], seeds: Sequence[int]) -> tuple[Tensor, list[torch.Generator]]:
    """Standard normal noise, N×``shape``: picture k from a CPU generator of its own, seeded with ``seeds[k]``.

    The generators come back too: ancestral schedulers draw from them, so that a picture does not depend on its batch.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.cat([torch.randn(1, *shape, generator=g) for g in generators]), generators


def sample(
    denoise: Denoise,
    x: Tensor,
    scheduler: Any,
    timesteps: Tensor,
    generators: list[torch.Generator] | None = None,
    after: Callable[[Step, Tensor, Tensor | None], None] | None = None,
    prefix: Prefix | None = None,
    change: Callable[[Tensor, Any, Tensor | None], Tensor] | None = None,
) -> Tensor:
    """Run ``x`` (N×C×h×w, at the noise level of ``timesteps[0]``) through ``timesteps``; return clean latents.

    ``after(step, x, x0)`` is called after every step with the new latents and the scheduler's estimate of the clean
    ones, where it makes one; raising from it ends the loop. Steps that ``prefix`` holds already are not run again.
    ``change(x, scheduler, t)`` gives the latents to go on with after each step, ``t`` being the timestep that follows,
    None after the last (inpainting puts back there what stays).
    """
    noisy, first = scheduler_accepts_noise(scheduler), 0
    if prefix is not None and (kept := prefix.restore(generators or [])) is not None:
        (x, scheduler), first = kept, prefix.length
    for index, t in list(enumerate(timesteps))[first:]:
        if prefix is not None and index == prefix.length:
            prefix.keep(x, scheduler, generators or [])
        step = Step(index, len(timesteps), t, sigma_at(scheduler, t))
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        prediction = denoise(scaled, step)
        done = scheduler.step(prediction, t, x, **({"generator": generators} if noisy else {}))
        x = done.prev_sample
        if change is not None:
            x = change(x, scheduler, timesteps[index + 1] if index + 1 < len(timesteps) else None)
        if after is not None:
            after(step, x, getattr(done, "pred_original_sample", None))
    return x


def sigma_at(scheduler: Any, t: Tensor) -> float:
    """The noise level of timestep ``t``, variance-exploding: √(1−ᾱ_t)/√ᾱ_t; of a flow, the share of noise."""
    if not hasattr(scheduler, "alphas_cumprod"):
        return float(t) / float(scheduler.config.num_train_timesteps)
    alpha = float(scheduler.alphas_cumprod[min(int(t), len(scheduler.alphas_cumprod) - 1)])
    return float(((1 - alpha) / max(alpha, 1e-12)) ** 0.5)


def scheduler_accepts_noise(scheduler: Any) -> bool:
    """Whether the scheduler's step draws noise from a generator."""
    import inspect

    return "generator" in inspect.signature(scheduler.step).parameters
