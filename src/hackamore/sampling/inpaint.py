"""Inpainting with any base: what stays is put back at the noise level of each step, and as pixels at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from torch import Tensor
from torch.nn import functional as F

from hackamore.core.image import Picture
from hackamore.sampling.start import noised

FEATHER = 8
"""Pixels inside the edge of a mask over which the new picture fades in: the width of a latent."""


def latent_mask(mask: Tensor, factor: int) -> Tensor:
    """A mask N×1×H×W for latents of ``factor`` pixels: 1 where any pixel of the latent is painted anew, else 0."""
    return F.max_pool2d((mask >= 0.5).float(), factor)


@dataclass(frozen=True)
class Kept:
    """The part of a picture that stays: clean ``latents`` N×C×h×w, the run's ``noise``, and the latents' ``mask``."""

    latents: Tensor
    noise: Tensor
    mask: Tensor

    def blend(self, x: Tensor, scheduler: Any, t: Tensor | None) -> Tensor:
        """``x`` where the mask is 1, elsewhere the kept latents at the noise level of ``t`` (None: clean).

        The rule of RePaint (Lugmayr et al. 2022, eq. 8) and of diffusers' StableDiffusionInpaintPipeline.
        """
        kept = self.latents if t is None else noised(scheduler, self.latents, self.noise, t)
        return (1 - self.mask) * kept + self.mask * x


def paste(made: Picture, original: Picture, mask: Picture) -> Picture:
    """The original H×W×3 with ``made`` inside the white of ``mask`` (H×W): outside of it no pixel changes.

    The new picture fades in over the first ``FEATHER`` pixels inside the edge, fewer where the white is thin.
    """
    white = (mask >= 128).astype(np.uint8)
    if white.all():
        return made
    depth = cv2.distanceTransform(white, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    feather = min(float(FEATHER), float(depth.max()) / 2)
    share = np.clip(depth / max(feather, 1.0), 0, 1)[..., None]
    mixed = original + share * (made.astype(np.float32) - original)
    pasted: Picture = np.rint(mixed).astype(np.uint8)
    return pasted
