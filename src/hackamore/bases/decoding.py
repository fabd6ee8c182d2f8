"""From latents to pictures, with a gradient where one is asked for."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def decoded(vae: Any, latents: Tensor) -> Tensor:
    """Latents N×C×h×w at a base's scale → pictures N×3×H×W in [−1, 1]; a gradient flows back through it.

    ``vae`` is diffusers' ``AutoencoderKL``; it computes in its own floating-point type, on the latents' device.
    """
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    unscaled = latents.to(vae.dtype) / vae.config.scaling_factor + shift
    pictures: Tensor = vae.decode(unscaled).sample
    return pictures
