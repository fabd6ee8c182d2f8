"""The way of a picture: noise or a start picture, and what each pass needs of the base and the controls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from hackamore.backends.backend import EAGER
from hackamore.bases.base import Text
from hackamore.controls.compose import Composition
from hackamore.controls.place import cropped, is_spatial
from hackamore.controls.unit import Unit
from hackamore.core.image import Picture, Size, from_hint, resize, to_hint
from hackamore.generate.plan import Pass, Plan
from hackamore.sampling.inpaint import Kept, latent_mask
from hackamore.sampling.schedulers import make_scheduler
from hackamore.sampling.start import begin, noise_from, noised, steps_run
from hackamore.sampling.tiles import Box
from hackamore.sampling.upscale import enlarge


class Run:
    """A pass at work: what is done once for all pictures is done once here."""

    def __init__(self, plan: Plan, this: Pass) -> None:
        self.plan, self.this, self.base = plan, this, plan.base
        factor = self.base.scale_factor
        self.shape = (self.base.latent_channels, this.size[1] // factor, this.size[0] // factor)
        box = this.boxes[0]
        self.window: Size = (box.width * factor, box.height * factor)
        self._prepared: dict[int, Any] = {}
        self.tiles = [self._tile(box) for box in this.boxes]

    @property
    def work(self) -> float:
        """How much there is to do, in steps × pixels."""
        return self.steps * self.this.size[0] * self.this.size[1]

    @property
    def steps(self) -> int:
        """How many steps run."""
        return steps_run(self.this.steps, self.this.strength, self.plan.flow)

    def _tile(self, box: Box) -> tuple[list[int], Composition]:
        """The units that act in a tile, by their numbers, and their composition there."""
        units = dict(enumerate(self.this.units))
        if len(self.this.boxes) > 1:
            cut = box.times(self.base.scale_factor).of
            parts = {number: cropped(unit, cut, self.window) for number, unit in units.items()}
            units = {number: unit for number, unit in parts.items() if unit is not None}
        composition = Composition(list(units.values()), self.base, self.plan.backend)
        composition.prepared = [self._same(number, unit) for number, unit in units.items()]
        return list(units), composition

    def _same(self, number: int, unit: Unit) -> Any:
        """What a hint that has no place in the picture was prepared to, once for all tiles; None for other hints."""
        if len(self.this.boxes) == 1 or is_spatial(unit.control) or not unit.acts(self.steps):
            return None
        if number not in self._prepared:
            self._prepared[number] = unit.control.prepare(unit.hint, **unit.options)
        return self._prepared[number]

    @cached_property
    def init(self) -> Tensor:
        """Latents of the start pictures."""
        assert self.this.init is not None
        return torch.cat([self.base.encode(one[None] * 2 - 1) for one in self.this.init])

    def scheduled(self) -> tuple[Any, Tensor]:
        """A fresh scheduler and the timesteps that it runs."""
        timing = self.base.timing(self.this.steps, self.window)
        told = self.plan.scheduler, self.base.scheduler_config, self.this.steps, self.base.device, timing
        schedule = make_scheduler(*told)
        return schedule, begin(schedule, self.this.steps, self.this.strength, self.plan.flow)

    def begun(
        self,
        pictures: slice,
        earlier: Tensor | None,
        generators: Sequence[torch.Generator],
        schedule: Any,
        first: Tensor,
    ) -> tuple[Tensor, Kept | None]:
        """Latents of some of the pictures with the noise of timestep ``first``, and what of a start picture stays.

        From the ``earlier`` pass's latents, the start picture or noise.
        """
        this, base = self.this, self.base
        noise = noise_from(generators, self.shape)
        placed = noise.to(base.device, base.dtype)
        kept = None
        if this.mask is not None:
            mask = latent_mask(rows_of(this.mask, pictures), base.scale_factor).to(placed)
            kept = Kept(rows_of(self.init, pictures), placed, mask)
        if earlier is not None:
            earlier = self._enlarged(earlier)
        elif this.init is not None and not (kept is not None and this.strength == 1):
            earlier = rows_of(self.init, pictures).expand_as(placed)
        if earlier is None:
            return (noise * getattr(schedule, "init_noise_sigma", 1.0)).to(base.device, base.dtype), kept
        return noised(schedule, earlier, placed, first), kept

    def encode(self, prompts: list[str]) -> Text:
        """The text of the batch: for guidance the negative prompt's rows first, as the two halves of one batch."""
        plan = self.plan
        told = self.base.encode_text(prompts, self.window, plan.guidance)
        if not plan.guided:
            return told
        return Text.cat([self.base.encode_negative([plan.negative] * len(prompts), self.window, plan.guidance), told])

    def _enlarged(self, latents: Tensor) -> Tensor:
        """The earlier pass's latents at this pass's size."""
        assert self.plan.upscale is not None
        if self.plan.upscale.through == "latents":
            return enlarge(latents, *self.shape[1:])
        pictures = [resize(decoded(self.plan, one[None]), self.this.size, "stretch") for one in latents]
        return torch.cat([self.base.encode(to_hint(picture) * 2 - 1) for picture in pictures])


def rows_of(value: Tensor, pictures: slice) -> Tensor:
    """The rows of some of the pictures; one row serves all."""
    return value if len(value) == 1 else value[pictures]


def decoded(plan: Plan, latents: Tensor) -> Picture:
    """The picture of latents 1×C×h×w; what is decoded in parts, PyTorch decodes."""
    base: Any = plan.base
    parts = getattr(base.vae, "use_tiling", False) or getattr(base.vae, "use_slicing", False)
    backend = EAGER if parts else plan.backend
    seen: Tensor = backend.run(base.vae, base.decode, latents)
    return from_hint(seen.float() / 2 + 0.5)[0]
