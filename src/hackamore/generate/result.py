"""What a generation tells while it runs, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hackamore.controls.recorded import embed_mask, record
from hackamore.core.image import Picture, from_hint
from hackamore.core.recipe import Recipe, UpscaleRecipe, embed, machine, png_with, save_png
from hackamore.generate.plan import Plan, multiple_of
from hackamore.sampling.loop import Step


@dataclass(frozen=True)
class Progress:
    """Told after every step: how far, and a way to see a rough picture at once.

    ``estimate`` holds the clean latents as estimated now, of the pictures ``first``, ``first + 1`` … of ``total``.
    ``before`` and ``weight``: which shares of the work on these pictures earlier passes were, and this pass is.
    """

    step: Step
    estimate: Tensor
    first: int
    total: int
    before: float = 0.0
    weight: float = 1.0

    @property
    def share(self) -> float:
        """Share of the whole generation that is done, 0 to 1."""
        done = self.before + self.weight * (self.step.index + 1) / self.step.total
        return (self.first + len(self.estimate) * done) / self.total

    def preview(self) -> list[Picture]:
        """A cheap picture of the estimate: three of its channels as colours, at latent size."""
        x = self.estimate[:, :3].float()
        low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return from_hint((x - low) / (high - low).clamp(min=1e-6))


class Image:
    """A finished picture: ``pixels`` H×W×3 uint8, and the Recipe that makes it again."""

    def __init__(self, pixels: Picture, recipe: Recipe) -> None:
        self.pixels, self.recipe = pixels, recipe

    def save(self, path: Path | str) -> None:
        """Write a PNG with the Recipe inside, whole or not at all."""
        save_png(self.pixels, self.recipe, path)

    def png(self) -> bytes:
        """The same PNG as bytes."""
        return png_with(self.pixels, self.recipe)


@dataclass(frozen=True)
class Result:
    """What a generation gives: pictures, their latents N×C×h×w, and the hints of its last pass."""

    images: list[Image]
    latents: Tensor
    hints: list[Picture]
    notices: list[str]


def recipe_of(plan: Plan, k: int) -> Recipe:
    """Everything that determines picture number ``k`` of a plan."""
    base, first, last = plan.base, plan.passes[0], plan.passes[-1]
    begun = None if first.init is None else from_hint(first.init)
    return Recipe(
        base=base.name,
        base_sha256=base.sha256,
        base_options=getattr(base, "options", {}),
        prompt=plan.prompts[k],
        negative=plan.negative,
        seed=plan.seed + k,
        size=first.size,
        scheduler=plan.scheduler,
        steps=first.steps,
        guidance=plan.guidance,
        units=tuple(record(unit, k) for unit in first.units),
        init=None if begun is None else embed(begun[k if len(begun) > 1 else 0]),
        strength=plan.strength,
        mask=embed_mask(first.mask, k),
        upscale=None
        if plan.upscale is None
        else UpscaleRecipe(
            size=last.size,
            strength=plan.upscale.strength,
            steps=last.steps,
            through=plan.upscale.through,
            units=tuple(record(unit, k) for unit in last.units),
        ),
        tile=None if plan.tile is None else plan.tile.sides,
        tile_overlap=None if plan.tile is None else plan.tile.shared(multiple_of(base)),
        fast=plan.fast,
        machine=machine(str(base.device.type), plan.backend.name, base.dtype, torch.get_num_threads()),
    )
