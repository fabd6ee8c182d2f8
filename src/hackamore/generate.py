"""Where base, controls and sampler meet: the only place."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.bases.base import Base, Text
from hackamore.controls.compose import Composition
from hackamore.controls.schedule import Schedule
from hackamore.controls.unit import Unit
from hackamore.core.errors import Cancelled, HackamoreError
from hackamore.core.image import Picture, Size, check_size, from_hint
from hackamore.core.recipe import Recipe, UnitRecipe, embed, extract, machine, save_png
from hackamore.sampling.guidance import guide
from hackamore.sampling.loop import Prefix, Step, noise_like, sample
from hackamore.sampling.schedulers import make_scheduler

LARGEST_GUIDANCE = 100.0
MOST_STEPS = 1000
MOST_PICTURES = 1000


@dataclass(frozen=True)
class Progress:
    """Told after every step: how far, and a way to see a rough picture at once.

    ``estimate`` holds the clean latents as estimated now, of the pictures ``first``, ``first + 1`` … of ``total``.
    """

    step: Step
    estimate: Tensor
    first: int
    total: int

    @property
    def share(self) -> float:
        """Share of the whole generation that is done, 0 to 1."""
        return (self.first + len(self.estimate) * (self.step.index + 1) / self.step.total) / self.total

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


@dataclass(frozen=True)
class Result:
    """What a generation gives: pictures, their latents N×C×h×w, and the hints that the controls received."""

    images: list[Image]
    latents: Tensor
    hints: list[Picture]
    notices: list[str]


@torch.inference_mode()
def generate(
    base: Base,
    prompt: str | Sequence[str],
    *,
    controls: Sequence[Unit] = (),
    negative: str = "",
    seed: int = 0,
    num: int = 1,
    size: Size | None = None,
    steps: int = 20,
    guidance: float | None = None,
    scheduler: str | None = None,
    batch: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    prefix: Prefix | None = None,
) -> Result:
    """Make ``num`` pictures of ``prompt`` (a list holds a prompt for each picture), steered by ``controls``.

    ``size`` is (width, height), multiples of 8; ``guidance`` 1 means none. Picture k has the seed ``seed + k`` and
    equals the picture made alone with that seed. ``batch`` pictures are sampled at once (1 on a CPU, 8 elsewhere).
    ``progress`` is called after each step; when ``cancelled()`` is true then, :class:`Cancelled` is raised.
    ``prefix`` shares the first steps of one picture among calls that differ only after them.
    Raises :class:`HackamoreError` for values out of range and for controls of another base.
    """
    prompts = [prompt] * num if isinstance(prompt, str) else list(prompt)
    size = check_size(size or base.size, base.scale_factor)
    guidance = base.guidance if guidance is None else guidance
    name = scheduler or base.scheduler
    check(base, prompts, controls=controls, seed=seed, steps=steps, guidance=guidance, scheduler=name, size=size)
    known = (prompts, negative, seed, size, steps, guidance, name)
    if prefix is not None and (len(prompts) != 1 or not prefix.belongs_to(known)):
        raise HackamoreError(
            "a prefix is shared by runs of one and the same picture", received=f"{len(prompts)} pictures"
        )
    composition = Composition(controls, base)
    guided = guidance != 1 and not base.distilled
    shape = (base.latent_channels, size[1] // base.scale_factor, size[0] // base.scale_factor)

    def make(pictures: slice) -> Tensor:
        """Clean latents of some of the pictures, sampled together."""
        count = len(prompts[pictures])
        text = _encode(base, prompts[pictures], negative, size, guidance, guided)
        own = [
            None if unit.prompt is None else _encode(base, [unit.prompt] * count, negative, size, guidance, guided)
            for unit in controls
        ]
        schedule = make_scheduler(name, base.scheduler_config, steps, base.device, base.timing(steps, size))
        first = pictures.start
        noise, generators = noise_like(shape, range(seed + first, seed + first + count))

        def denoise(x: Tensor, step: Step) -> Tensor:
            both = torch.cat([x, x]) if guided else x
            prediction = composition.predict(both, step.t, text, step.index, step.total, pictures, own)
            return guide(prediction, guidance) if guided else prediction

        def after(step: Step, x: Tensor, estimate: Tensor | None) -> None:
            if progress is not None:
                progress(Progress(step, x if estimate is None else estimate, first, len(prompts)))
            if cancelled():
                raise Cancelled(f"cancelled after step {step.index + 1} of {step.total}")

        start = (noise * getattr(schedule, "init_noise_sigma", 1.0)).to(base.device, base.dtype)
        return sample(denoise, start, schedule, schedule.timesteps, generators, after, prefix)

    batch = batch or (1 if base.device.type == "cpu" else 8)
    latents = torch.cat(
        [make(slice(first, min(first + batch, len(prompts)))) for first in range(0, len(prompts), batch)]
    )
    pixels = from_hint(torch.cat([base.decode(one[None]) for one in latents]).float() / 2 + 0.5)
    recipe = Recipe(
        base=base.name,
        base_sha256=base.sha256,
        prompt="",
        negative=negative,
        seed=seed,
        size=size,
        scheduler=name,
        steps=steps,
        guidance=guidance,
        machine=machine(str(base.device.type), base.dtype, torch.get_num_threads()),
    )
    images = [
        Image(
            pixels[k],
            recipe.model_copy(
                update={
                    "prompt": prompts[k],
                    "seed": seed + k,
                    "units": tuple(_unit_recipe(unit, k) for unit in controls),
                }
            ),
        )
        for k in range(len(prompts))
    ]
    hints = [hint for unit in controls for hint in unit.pictures]
    return Result(images, latents, hints, _notices(base, [*dict.fromkeys([*prompts, negative])], controls, steps))


def _encode(base: Base, prompts: list[str], negative: str, size: Size, guidance: float, guided: bool) -> Text:
    """The text of the batch: for guidance the negative prompt's rows first, as the two halves of one batch."""
    told = base.encode_text(prompts, size, guidance)
    if not guided:
        return told
    return Text.cat([base.encode_text([negative] * len(prompts), size, guidance), told])


def _unit_recipe(unit: Unit, k: int) -> UnitRecipe:
    hints = unit.pictures
    masks = None if unit.mask is None else from_hint(unit.mask.expand(-1, 3, -1, -1))
    strength = unit.strength
    told: dict[str, Any] = (
        {"schedule": str(strength)}
        if isinstance(strength, Schedule)
        else {"scale": strength.scale, "start": strength.start, "end": strength.end}
    )
    return UnitRecipe(
        control=unit.control.name,
        kind=unit.control.condition,
        hint=embed(hints[k if len(hints) > 1 else 0]),
        mask=None if masks is None else embed(masks[k if len(masks) > 1 else 0]),
        sha256=unit.control.sha256,
        **told,
    )


def _notices(base: Base, prompts: list[str], controls: Sequence[Unit], steps: int) -> list[str]:
    """What was asked for and could not be done whole."""
    lost = [end for end in map(base.words_lost, prompts) if end]
    cut = [
        f"the prompt is longer than the text encoder reads; cut before: “{end[:40]}{'…' if len(end) > 40 else ''}”"
        for end in lost
    ]
    silent = [
        f"the control {unit.control.name} is silent at all of the {steps} steps"
        for unit in controls
        if not unit.acts(steps)
    ]
    return cut + silent


def check(
    base: Base,
    prompts: Sequence[str],
    *,
    controls: Sequence[Unit] = (),
    seed: int = 0,
    steps: int = 20,
    guidance: float | None = None,
    scheduler: str | None = None,
    size: Size | None = None,
) -> None:
    """Raise :class:`HackamoreError` for what :func:`generate` would refuse, before anything is made or written."""
    size = check_size(size or base.size, base.scale_factor)
    guidance = base.guidance if guidance is None else guidance
    if not 1 <= len(prompts) <= MOST_PICTURES:
        raise HackamoreError("the number of pictures is out of range", received=len(prompts), expected="1 to 1000")
    if not 0 <= seed < 2**63 - len(prompts):
        raise HackamoreError("the seed is out of range", received=seed, expected="0 to 2^63")
    if not 1 <= steps <= MOST_STEPS:
        raise HackamoreError("the number of steps is out of range", received=steps, expected=f"1 to {MOST_STEPS}")
    if not (math.isfinite(guidance) and 0 <= guidance <= LARGEST_GUIDANCE):
        raise HackamoreError("the guidance is out of range", received=guidance, expected="0 to 100; 1 is none")
    make_scheduler(scheduler or base.scheduler, base.scheduler_config, steps, base.device, base.timing(steps, size))
    for unit in controls:
        if unit.control.sites != base.sites:
            raise HackamoreError(
                f"the control {unit.control.name} was made for another base than {base.name}",
                received=f"widths {unit.control.sites.skips}, text width {unit.control.sites.text_width}",
                expected=f"widths {base.sites.skips}, text width {base.sites.text_width}",
            )
        for name, value in (("hint", unit.hint), ("mask", unit.mask)):
            if value is None:
                continue
            if (value.shape[3], value.shape[2]) != size:
                raise HackamoreError(
                    f"the {name} of {unit.control.name} has another size than the picture",
                    received=f"{value.shape[3]}×{value.shape[2]}",
                    expected=f"{size[0]}×{size[1]}",
                )
            if len(value) not in (1, len(prompts)):
                raise HackamoreError(
                    f"{len(value)} {name}s of {unit.control.name} for {len(prompts)} pictures",
                    expected="one for all, or one for each picture",
                )


def replay(recipe: Recipe, *, find: Path | str = ".", progress: Callable[[Progress], None] | None = None) -> Result:
    """Make the picture of a Recipe again, with the weights that its names stand for now.

    Names that no catalogue knows are looked for in the folder ``find``. Thread count, dtype and backend are as recorded
    where the machine has them; compare the new Recipe with :meth:`Recipe.differences` to learn what was not.
    """
    from hackamore.bases.catalog import BASES, best_device, load_base
    from hackamore.controls.catalog import embedded, load_control

    def found(name: str, known: Collection[str]) -> str | Path:
        if name in known or (Path(find) / name).exists():
            return name if name in known else Path(find) / name
        raise HackamoreError(
            f"{name}, which the recipe names, is neither embedded nor in {Path(find).resolve()}",
            remedy="--find FOLDER, where its folder lies",
        )

    backend = recipe.machine.backend if recipe.machine.backend in ("cpu", best_device().type) else None
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.machine.threads)
    try:
        base = load_base(found(recipe.base, BASES), device=backend, dtype=getattr(torch, recipe.machine.dtype))
        units = []
        for unit in recipe.units:
            settings = (
                {"schedule": unit.schedule} if unit.schedule else unit.model_dump(include={"scale", "start", "end"})
            )
            mask = None if unit.mask is None else extract(unit.mask)
            control = load_control(found(unit.control, embedded()), base)
            units.append(control.unit(extract(unit.hint), mask=mask, **settings))
        return generate(
            base,
            recipe.prompt,
            controls=units,
            negative=recipe.negative,
            seed=recipe.seed,
            size=recipe.size,
            steps=recipe.steps,
            guidance=recipe.guidance,
            scheduler=recipe.scheduler,
            progress=progress,
        )
    finally:
        torch.set_num_threads(threads)
