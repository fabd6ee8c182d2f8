"""Generations at work: some of the pictures of one, or of several, sampled as one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hackamore.bases.base import Text
from hackamore.controls.compose import Part, predict_together
from hackamore.controls.memory import Memory
from hackamore.core.effort import Effort
from hackamore.core.errors import Cancelled
from hackamore.core.image import Picture, from_hint
from hackamore.generate.passes import Run, decoded, rows_of
from hackamore.generate.plan import Plan
from hackamore.generate.result import Image, Progress, Result, recipe_of
from hackamore.sampling.guidance import guide
from hackamore.sampling.inpaint import paste
from hackamore.sampling.loop import Denoise, Prefix, Step, sample
from hackamore.sampling.tiles import averaged


@dataclass
class Generation:
    """A plan at work: whom to tell, when to stop, and the latents that are made so far, a picture's by its number."""

    plan: Plan
    progress: Callable[[Progress], None] | None = None
    cancelled: Callable[[], bool] = lambda: False
    prefix: Prefix | None = None
    latents: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runs = [Run(self.plan, one) for one in self.plan.passes]
        self.weights = [run.work / sum(run.work for run in self.runs) for run in self.runs]

    @property
    def total(self) -> int:
        """How many pictures it makes."""
        return len(self.plan.prompts)

    @property
    def alike(self) -> object:
        """Generations for which it is equal may be sampled as one batch; None: this one is sampled alone.

        A second pass, tiles and controls inside the base stay alone.
        """
        plan, first = self.plan, self.plan.passes[0]
        inside = any(hasattr(unit.control, "attach") for unit in first.units)
        if len(self.runs) > 1 or len(first.boxes) > 1 or inside or self.prefix is not None:
            return None
        return id(plan.base), plan.fast, plan.backend.name, plan.scheduler, first.size, first.steps, first.strength

    def shares(self, batch: int) -> Iterator[Share]:
        """Its pictures, ``batch`` at a time."""
        for first in range(0, self.total, batch):
            yield Share(self, slice(first, min(first + batch, self.total)))

    def result(self) -> Result:
        """The finished pictures."""
        plan = self.plan
        latents = torch.cat([self.latents[k][None] for k in range(self.total)])
        pixels = [_pixels(plan, latents[k : k + 1], k) for k in range(self.total)]
        images = [Image(pixels[k], recipe_of(plan, k)) for k in range(self.total)]
        hints = [hint for unit in plan.passes[-1].units for hint in unit.pictures]
        return Result(images, latents, hints, list(plan.notices))


class Share:
    """Some of the pictures of a generation, as a part of a batch that is sampled as one."""

    def __init__(self, generation: Generation, pictures: slice) -> None:
        self.generation, self.pictures = generation, pictures
        self.numbers = range(pictures.start, pictures.stop)
        self.count = len(self.numbers)
        self.stopped: Cancelled | None = None
        self._told: dict[int, tuple[Text, list[Text | None]]] = {}
        self._memories: dict[tuple[int, int], Memory] = {}

    def told(self, number: int) -> tuple[Text, list[Text | None]]:
        """The encoded prompts of pass ``number``, and those of units that read their own."""
        if number not in self._told:
            run = self.generation.runs[number]
            own = [None if unit.prompt is None else run.encode([unit.prompt] * self.count) for unit in run.this.units]
            self._told[number] = run.encode(self.generation.plan.prompts[self.pictures]), own
        return self._told[number]

    def part(self, number: int, tile: int, x: Tensor, effort: Effort) -> Part:
        """What the base and the controls are asked in a tile, ``x`` being the share's latents there."""
        run = self.generation.runs[number]
        units, composition = run.tiles[tile]
        text, own = self.told(number)
        heard = [own[unit] for unit in units]
        both = torch.cat([x, x]) if self.generation.plan.guided and effort.guided else x
        if len(both) < len(text):  # guidance is spared at this step: the prompt's half alone
            text, heard = text[-len(both) :], [None if one is None else one[-len(both) :] for one in heard]
        return Part(composition, both, text, self.pictures, heard, self._memory(number, tile))

    def _memory(self, number: int, tile: int) -> Memory | None:
        """What the fast mode keeps from step to step in a tile of a pass."""
        fast = self.generation.plan.fast
        if fast is not None and (number, tile) not in self._memories:
            self._memories[number, tile] = Memory(fast.carry, fast.deep_layers if fast.deep_every > 1 else 0)
        return self._memories.get((number, tile))

    def guided(self, prediction: Tensor) -> Tensor:
        """The prediction after guidance, where the step has any."""
        return guide(prediction, self.generation.plan.guidance) if len(prediction) > self.count else prediction

    def after(self, number: int, step: Step, seen: Tensor) -> None:
        """Tell how far it is; from then on it is stopped where nobody wants it any more."""
        one = self.generation
        if self.stopped is None and one.progress is not None:
            told = self.pictures.start, one.total, sum(one.weights[:number]), one.weights[number]
            one.progress(Progress(step, seen, *told))
        if self.stopped is None and one.cancelled():
            self.stopped = Cancelled(f"cancelled after step {step.index + 1} of {step.total}")


def sample_together(shares: Sequence[Share]) -> None:
    """Sample the pictures of ``shares`` as one batch and keep their latents; several must be of like generations.

    A share that nobody wants any more costs nothing from then on, and keeps none; when all are such,
    :class:`Cancelled` is raised.
    """
    first = shares[0].generation
    generators = [[torch.Generator().manual_seed(one.generation.plan.seed + k) for k in one.numbers] for one in shares]
    latents: Tensor | None = None
    for number in range(len(first.runs)):
        prefix = None if number or first.plan.fast is not None else first.prefix  # what is kept goes on through steps
        latents = _sampled(shares, number, latents, generators, prefix)
    assert latents is not None
    for one, made in zip(shares, torch.split(latents, [one.count for one in shares]), strict=True):
        if one.stopped is None:
            one.generation.latents |= dict(zip(one.numbers, made, strict=True))


def _sampled(
    shares: Sequence[Share],
    number: int,
    earlier: Tensor | None,
    generators: Sequence[list[torch.Generator]],
    prefix: Prefix | None,
) -> Tensor:
    """Clean latents of pass ``number`` of all ``shares``."""
    counts = [one.count for one in shares]
    schedule, timesteps = shares[0].generation.runs[number].scheduled()
    begun = [
        one.generation.runs[number].begun(one.pictures, earlier, drawn, schedule, timesteps[0])
        for one, drawn in zip(shares, generators, strict=True)
    ]

    def after(step: Step, x: Tensor, estimate: Tensor | None) -> None:
        for one, seen in zip(shares, torch.split(x if estimate is None else estimate, counts), strict=True):
            one.after(number, step, seen)
        if all(one.stopped for one in shares):
            assert shares[0].stopped is not None
            raise shares[0].stopped

    def change(x: Tensor, scheduler: Any, t: Tensor | None) -> Tensor:
        rows = zip(torch.split(x, counts), begun, strict=True)
        return torch.cat([part if kept is None else kept.blend(part, scheduler, t) for part, (_, kept) in rows])

    changed = any(kept is not None for _, kept in begun)
    x = torch.cat([x for x, _ in begun])
    drawn = [one for own in generators for one in own]
    denoise = _denoiser(shares, number)
    return sample(denoise, x, schedule, timesteps, drawn, after, prefix, change if changed else None)


def _denoiser(shares: Sequence[Share], number: int) -> Denoise:
    """The base with the text, the guidance and the controls of each share, on its own rows."""
    this, plan = shares[0].generation.runs[number].this, shares[0].generation.plan
    counts = [one.count for one in shares]

    def denoise(x: Tensor, step: Step) -> Tensor:
        effort = plan.effort(step)

        def predict(tile: int, x: Tensor) -> Tensor:
            rows = torch.split(x, counts)
            wanted = [place for place, one in enumerate(shares) if one.stopped is None]
            parts = [shares[place].part(number, tile, rows[place], effort) for place in wanted]
            made = dict(zip(wanted, predict_together(parts, step.t, step.index, step.total, effort), strict=True))
            return torch.cat(
                [
                    one.guided(made[place]) if place in made else torch.zeros_like(rows[place])
                    for place, one in enumerate(shares)
                ]
            )

        return averaged(x, this.boxes, this.shared, predict)

    return denoise


def _pixels(plan: Plan, latents: Tensor, k: int) -> Picture:
    """The finished picture: what a mask keeps is the start picture, to the pixel."""
    last, made = plan.passes[-1], decoded(plan, latents)
    if last.mask is None or last.init is None:
        return made
    part = slice(k, k + 1)
    (original,) = from_hint(rows_of(last.init, part))
    (mask,) = from_hint(rows_of(last.mask, part).expand(-1, 3, -1, -1))
    return paste(made, original, mask[..., 0])
