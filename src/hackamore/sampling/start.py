"""Where sampling begins: from noise alone, or from a picture brought to the noise level of a later step (img2img)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size, load_picture, to_hint

Pictures = Tensor | Picture | Sequence[Picture]
"""Pictures H×W×3 uint8, or a tensor N×3×H×W in [0, 1]."""


def as_rows(name: str, value: Pictures) -> Tensor:
    """``value`` as a tensor N×3×H×W in [0, 1], rounded to 8 bits, so that the Recipe holds what was begun from.

    Raises :class:`HackamoreError` for another shape or range, and for pictures of different sizes.
    """
    if not isinstance(value, Tensor):
        pictures = [load_picture(one) for one in ([value] if isinstance(value, np.ndarray) else value)]
        sizes = list(dict.fromkeys(f"{one.shape[1]}×{one.shape[0]}" for one in pictures))
        if len(sizes) != 1:
            received = ", ".join(sizes) or "none"
            raise HackamoreError(f"the {name}s are not of one size", received=received, expected="pictures of one size")
        return to_hint(pictures)
    rows = value[None] if value.ndim == 3 else value
    if rows.ndim != 4 or rows.shape[1] not in (1, 3):
        expected = "N×3×H×W, or pictures H×W×3 uint8"
        raise HackamoreError(f"the {name} has the wrong shape", received=tuple(value.shape), expected=expected)
    low, high = float(rows.min()), float(rows.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        received, expected = f"{low:.3g} to {high:.3g}", "values in [0, 1], not [−1, 1]"
        raise HackamoreError(f"the {name} is out of range", received=received, expected=expected)
    return (rows.float().clamp(0, 1) * 255).round().div(255).expand(-1, 3, -1, -1).cpu()


def size_of(rows: Tensor) -> Size:
    """(width, height) of pictures N×C×H×W."""
    return rows.shape[3], rows.shape[2]


def steps_run(steps: int, strength: float | None, flow: bool) -> int:
    """How many of ``steps`` run at ``strength`` (None and 1: all), the last ones, as diffusers counts them.

    ⌊steps · strength⌋; of a flow-matching base ⌈steps · strength⌉.
    """
    if strength is None:
        return steps
    return steps - int(max(steps - min(steps * strength, steps), 0)) if flow else min(int(steps * strength), steps)


def check_strength(name: str, steps: int, strength: float | None, flow: bool) -> None:
    """Raise :class:`HackamoreError` for a strength that is no share of the steps, or that leaves none to run."""
    if strength is None:
        return
    if not (math.isfinite(strength) and 0 < strength <= 1):
        expected = "above 0, to 1: the share of the steps that run"
        raise HackamoreError(f"the {name} is out of range", received=strength, expected=expected)
    if not steps_run(steps, strength, flow):
        received = f"{name} {strength:g} of {steps} steps"
        raise HackamoreError("no step is left to run", received=received, expected=f"at least {1 / steps:.3g}")


def begin(scheduler: Any, steps: int, strength: float | None, flow: bool) -> Tensor:
    """The timesteps that run at ``strength``; the scheduler is told where it begins."""
    first = steps - steps_run(steps, strength, flow)
    if strength is not None and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    timesteps: Tensor = scheduler.timesteps[first:]
    return timesteps


def noised(scheduler: Any, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """``latents`` N×C×h×w with ``noise`` of the level of timestep ``t``."""
    at = t.reshape(1).to(latents.device)
    if hasattr(scheduler, "scale_noise"):  # flow matching
        flowed: Tensor = scheduler.scale_noise(latents, at, noise)
        return flowed
    made: Tensor = scheduler.add_noise(latents, noise, at)
    return made


def noise_from(generators: Sequence[torch.Generator], shape: Sequence[int]) -> Tensor:
    """Standard normal noise N×``shape``, each picture's from its own generator."""
    return torch.cat([torch.randn(1, *shape, generator=generator) for generator in generators])
