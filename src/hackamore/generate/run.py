"""The way of a picture: noise or a start picture, the passes, pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from hackamore.bases.base import Base, Text
from hackamore.controls.compose import Composition
from hackamore.controls.place import cropped, is_spatial
from hackamore.controls.unit import Unit
from hackamore.core.errors import Cancelled, HackamoreError
from hackamore.core.image import Picture, Size, from_hint, resize, to_hint
from hackamore.generate.plan import Controls, Pass, Plan, make_plan
from hackamore.generate.result import Image, Progress, Result, recipe_of
from hackamore.sampling.guidance import guide
from hackamore.sampling.inpaint import Kept, latent_mask, paste
from hackamore.sampling.loop import Denoise, Prefix, Step, sample
from hackamore.sampling.schedulers import make_scheduler
from hackamore.sampling.start import Pictures, begin, noise_from, noised, steps_run
from hackamore.sampling.tiles import Box, Tile, averaged
from hackamore.sampling.upscale import Upscale, enlarge

After = Callable[[Step, Tensor, Tensor | None], None]


@torch.inference_mode()
def generate(
    base: Base,
    prompt: str | Sequence[str],
    *,
    controls: Controls = (),
    negative: str = "",
    seed: int = 0,
    num: int = 1,
    size: Size | None = None,
    steps: int = 20,
    guidance: float | None = None,
    scheduler: str | None = None,
    init: Pictures | None = None,
    strength: float | None = None,
    mask: Pictures | None = None,
    upscale: Upscale | None = None,
    tile: Tile | None = None,
    batch: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    prefix: Prefix | None = None,
) -> Result:
    """Make ``num`` pictures of ``prompt`` (a list holds a prompt for each picture), steered by ``controls``.

    ``size`` is (width, height), multiples of 8; ``guidance`` 1 means none. Picture k has the seed ``seed + k`` and
    equals the picture made alone with that seed. ``batch`` pictures are sampled at once (1 on a CPU, 8 elsewhere).
    ``init``: pictures to begin from, one for all or one for each; ``strength`` in (0, 1] is the share of the steps that
    run on them (0.8; windows count these). ``mask``: white where ``init`` is painted anew (strength 1); the rest stays
    to the pixel. ``upscale``: a second pass at a larger size, for which ``controls`` may be a function size → units.
    ``tile``: denoise in overlapping tiles.
    ``progress`` is called after each step; when ``cancelled()`` is true then, :class:`Cancelled` is raised.
    ``prefix`` shares the first steps of one picture among calls that differ only after them.
    Raises :class:`HackamoreError` for values out of range and for controls of another base, before any work.
    """
    plan = make_plan(
        base,
        [prompt] * num if isinstance(prompt, str) else list(prompt),
        controls=controls, negative=negative, seed=seed, size=size, steps=steps, guidance=guidance,
        scheduler=scheduler, init=init, strength=strength, mask=mask, upscale=upscale, tile=tile,
    )  # fmt: skip
    total = len(plan.prompts)
    if prefix is not None and (total != 1 or not prefix.belongs_to(plan.first_known_by())):
        raise HackamoreError("a prefix is shared by runs of one and the same picture", received=f"{total} pictures")
    runs = [Run(plan, one) for one in plan.passes]
    weights = [run.work / sum(run.work for run in runs) for run in runs]

    def make(pictures: slice) -> Tensor:
        """Clean latents of some of the pictures, sampled together."""
        generators = [torch.Generator().manual_seed(plan.seed + k) for k in range(pictures.start, pictures.stop)]
        latents: Tensor | None = None
        for number, run in enumerate(runs):
            before, weight = sum(weights[:number]), weights[number]

            def after(
                step: Step, x: Tensor, estimate: Tensor | None, before: float = before, weight: float = weight
            ) -> None:
                if progress is not None:
                    seen = x if estimate is None else estimate
                    progress(Progress(step, seen, pictures.start, total, before, weight))
                if cancelled():
                    raise Cancelled(f"cancelled after step {step.index + 1} of {step.total}")

            latents = run.latents(pictures, latents, generators, after, None if number else prefix)
        assert latents is not None
        return latents

    batch = batch or (1 if base.device.type == "cpu" else 8)
    latents = torch.cat([make(slice(first, min(first + batch, total))) for first in range(0, total, batch)])
    pixels = [_pixels(plan, latents[k : k + 1], k) for k in range(total)]
    images = [Image(pixels[k], recipe_of(plan, k)) for k in range(total)]
    return Result(
        images, latents, [hint for unit in plan.passes[-1].units for hint in unit.pictures], list(plan.notices)
    )


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
        return steps_run(self.this.steps, self.this.strength, self.plan.flow) * self.this.size[0] * self.this.size[1]

    def _tile(self, box: Box) -> tuple[list[int], Composition]:
        """The units that act in a tile, by their numbers, and their composition there."""
        units = dict(enumerate(self.this.units))
        if len(self.this.boxes) > 1:
            cut = box.times(self.base.scale_factor).of
            parts = {number: cropped(unit, cut, self.window) for number, unit in units.items()}
            units = {number: unit for number, unit in parts.items() if unit is not None}
        composition = Composition(list(units.values()), self.base)
        composition.prepared = [self._same(number, unit) for number, unit in units.items()]
        return list(units), composition

    def _same(self, number: int, unit: Unit) -> Any:
        """What a hint that has no place in the picture was prepared to, once for all tiles; None for other hints."""
        total = steps_run(self.this.steps, self.this.strength, self.plan.flow)
        if len(self.this.boxes) == 1 or is_spatial(unit.control) or not unit.acts(total):
            return None
        if number not in self._prepared:
            self._prepared[number] = unit.control.prepare(unit.hint, **unit.options)
        return self._prepared[number]

    @cached_property
    def init(self) -> Tensor:
        """Latents of the start pictures."""
        assert self.this.init is not None
        return torch.cat([self.base.encode(one[None] * 2 - 1) for one in self.this.init])

    def latents(
        self,
        pictures: slice,
        earlier: Tensor | None,
        generators: list[torch.Generator],
        after: After,
        prefix: Prefix | None,
    ) -> Tensor:
        """Clean latents of some of the pictures, from the ``earlier`` pass's, the start picture or noise."""
        plan, this, base = self.plan, self.this, self.base
        timing = base.timing(this.steps, self.window)
        schedule = make_scheduler(plan.scheduler, base.scheduler_config, this.steps, base.device, timing)
        timesteps = begin(schedule, this.steps, this.strength, plan.flow)
        noise = noise_from(generators, self.shape)
        placed = noise.to(base.device, base.dtype)
        kept = None
        if this.mask is not None:
            mask = latent_mask(_rows(this.mask, pictures), base.scale_factor).to(placed)
            kept = Kept(_rows(self.init, pictures), placed, mask)
        if earlier is not None:
            earlier = self._enlarged(earlier)
        elif this.init is not None and not (kept is not None and this.strength == 1):
            earlier = _rows(self.init, pictures).expand_as(placed)
        if earlier is None:
            x = (noise * getattr(schedule, "init_noise_sigma", 1.0)).to(base.device, base.dtype)
        else:
            x = noised(schedule, earlier, placed, timesteps[0])
        change = None if kept is None else kept.blend
        return sample(self._denoiser(pictures), x, schedule, timesteps, generators, after, prefix, change)

    def _denoiser(self, pictures: slice) -> Denoise:
        """The base with its text, its guidance and its controls, for some of the pictures."""
        plan, count = self.plan, pictures.stop - pictures.start
        text = self._encode(plan.prompts[pictures])
        own = [None if unit.prompt is None else self._encode([unit.prompt] * count) for unit in self.this.units]

        def denoise(x: Tensor, step: Step) -> Tensor:
            def predict(number: int, part: Tensor) -> Tensor:
                units, composition = self.tiles[number]
                both = torch.cat([part, part]) if plan.guided else part
                told = [own[unit] for unit in units]
                prediction = composition.predict(both, step.t, text, step.index, step.total, pictures, told)
                return guide(prediction, plan.guidance) if plan.guided else prediction

            return averaged(x, self.this.boxes, self.this.shared, predict)

        return denoise

    def _encode(self, prompts: list[str]) -> Text:
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
        pictures = [resize(_decoded(self.base, one[None]), self.this.size, "stretch") for one in latents]
        return torch.cat([self.base.encode(to_hint(picture) * 2 - 1) for picture in pictures])


def _rows(value: Tensor, pictures: slice) -> Tensor:
    """The rows of some of the pictures; one row serves all."""
    return value if len(value) == 1 else value[pictures]


def _decoded(base: Base, latents: Tensor) -> Picture:
    return from_hint(base.decode(latents).float() / 2 + 0.5)[0]


def _pixels(plan: Plan, latents: Tensor, k: int) -> Picture:
    """The finished picture: what a mask keeps is the start picture, to the pixel."""
    last, made = plan.passes[-1], _decoded(plan.base, latents)
    if last.mask is None or last.init is None:
        return made
    part = slice(k, k + 1)
    (original,), (mask,) = from_hint(_rows(last.init, part)), from_hint(_rows(last.mask, part).expand(-1, 3, -1, -1))
    return paste(made, original, mask[..., 0])
