"""What a generation will do, checked whole before any of it is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from hackamore.backends.backend import EAGER, Backend
from hackamore.bases.base import Base
from hackamore.controls.place import check_unit, kind_of, resized, resized_mask
from hackamore.controls.unit import Unit
from hackamore.core.effort import EXACT, Effort, Fast, fast_of, usual_steps
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Size, check_size, from_hint, resize, to_hint
from hackamore.sampling.loop import Step
from hackamore.sampling.schedulers import is_flow, make_scheduler
from hackamore.sampling.start import Pictures, as_rows, check_strength, size_of, steps_run
from hackamore.sampling.tiles import Box, Tile
from hackamore.sampling.upscale import Upscale

LARGEST_GUIDANCE = 100.0
MOST_STEPS = 1000
MOST_PICTURES = 1000
STRENGTH = 0.8
"""How strong img2img is when nothing is said; inpainting is 1, so that nothing of what was there shows through."""

Controls = Sequence[Unit] | Callable[[Size], Sequence[Unit]]
"""The units; or a function size → units, so that a second pass has hints made anew at its size."""


@dataclass(frozen=True)
class Pass:
    """One run through the sampling loop at one size.

    ``strength``: the share of ``steps`` that runs; None where the run begins from noise alone. ``init`` N×3×H×W in
    [0, 1] and ``mask`` N×1×H×W (1 is painted anew), at this size. ``boxes``: the tiles, in latent cells (one covers
    all), which fade into each other over ``shared`` cells.
    """

    size: Size
    steps: int
    strength: float | None
    units: tuple[Unit, ...]
    boxes: tuple[Box, ...]
    shared: int
    init: Tensor | None
    mask: Tensor | None


@dataclass(frozen=True)
class Plan:
    """A whole generation: what is the same for all passes, and the passes."""

    base: Base
    prompts: list[str]
    negative: str
    seed: int
    guidance: float
    scheduler: str
    passes: tuple[Pass, ...]
    strength: float | None
    upscale: Upscale | None
    tile: Tile | None
    notices: tuple[str, ...]
    fast: Fast | None = None
    backend: Backend = EAGER
    """What runs the networks: denoiser, controls and the autoencoder's decoder."""

    def effort(self, step: Step) -> Effort:
        """What is computed at a step."""
        return EXACT if self.fast is None else self.fast.at(step.index, step.total)

    @property
    def guided(self) -> bool:
        """Whether each step runs for the negative prompt too."""
        return is_guided(self.base, self.guidance)

    @property
    def flow(self) -> bool:
        """Whether the base is a flow-matching one."""
        return is_flow(self.base.scheduler_config)

    def first_known_by(self) -> tuple[Any, ...]:
        """What determines the first pass, its controls aside (see :class:`hackamore.sampling.loop.Prefix`)."""
        first = self.passes[0]
        begun = tuple(None if x is None else x.numpy().tobytes() for x in (first.init, first.mask))
        told = (tuple(self.prompts), self.negative, self.seed, self.guidance, self.scheduler)
        return (*told, first.size, first.steps, first.strength, first.boxes, *begun)


def on_backend(plan: Plan) -> Plan:
    """The plan with what runs its networks: the base's backend, where a picture is so much work that it pays.

    How many pictures there are has no say, so that each equals the one that is made alone.
    """
    cells = sum(one.steps * sum(box.width * box.height for box in one.boxes) for one in plan.passes)
    controls = tuple(unit.control.name for one in plan.passes for unit in one.units)
    kind = plan.guided, plan.fast, controls, *((one.size, one.boxes[0].width) for one in plan.passes)
    backend = plan.base.backend
    if not backend.worth(kind, (1 + plan.guided) * cells):
        return plan
    return replace(plan, backend=backend.coarse() if plan.fast is not None and plan.fast.bf16 else backend)


def is_guided(base: Base, guidance: float) -> bool:
    """Whether a step is made of two passes, one of them for the negative prompt."""
    return guidance != 1 and not base.distilled


def multiple_of(base: Base) -> int:
    """The sides of a picture must be multiples of it."""
    return int(getattr(base, "multiple", base.scale_factor))


def check(base: Base, prompts: Sequence[str], **settings: Any) -> None:
    """Raise :class:`HackamoreError` for what :func:`generate` would refuse, before anything is made or written."""
    make_plan(base, prompts, **settings)


def make_plan(
    base: Base,
    prompts: Sequence[str],
    *,
    controls: Controls = (),
    negative: str = "",
    seed: int = 0,
    size: Size | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    scheduler: str | None = None,
    init: Pictures | None = None,
    strength: float | None = None,
    mask: Pictures | None = None,
    upscale: Upscale | None = None,
    tile: Tile | None = None,
    fast: Fast | int | None = None,
) -> Plan:
    """The checked plan of a generation; the parameters are those of :func:`hackamore.generate.run.generate`."""
    guidance = base.guidance if guidance is None else guidance
    spared = fast_of(fast)
    steps = usual_steps(spared) if steps is None else steps
    scheduler = scheduler or usual_scheduler(base, spared)
    check_numbers(len(prompts), seed, guidance)
    began = None if init is None else as_rows("start picture", init)
    hidden = None if mask is None else (as_rows("mask", mask).mean(1, keepdim=True) >= 0.5).float()
    size = check_size(size or (base.size if began is None else size_of(began)), multiple_of(base))
    strength = _checked_strength(strength, began, hidden)
    _check_start(began, hidden, size, len(prompts))
    runs = [(size, steps, strength)]
    if upscale is not None:
        runs.append(
            (
                upscale.target(size, multiple_of(base)),
                steps if upscale.steps is None else upscale.steps,
                upscale.strength,
            )
        )
    if tile is not None:
        tile.check(runs[-1][0], multiple_of(base))
    passes: list[Pass] = []
    notices: list[str] = []
    for number, run in enumerate(runs):
        units = _units(controls, run[0], passes[0] if passes else None, notices)
        for unit in units:
            check_unit(unit, base, run[0], len(prompts))
        passes.append(
            _pass(base, scheduler, run, units, tile, began, hidden, "upscale strength" if number else "strength")
        )
    heard = negative if is_guided(base, guidance) else ""
    if heard != negative:
        reason = "this base has no second pass for it" if base.distilled else "guidance 1 makes no second pass for it"
        notices.append(f"the negative prompt is not heard: {reason}")
    notices += _notices(base, [*dict.fromkeys([*prompts, heard])], passes)
    told = (tuple(passes), strength, upscale, tile, tuple(notices))
    return Plan(base, list(prompts), negative, seed, guidance, scheduler, *told, spared)


def usual_scheduler(base: Base, fast: Fast | None = None) -> str:
    """The scheduler of a generation that is told none; that of a fast level where the base has it."""
    if fast is None or fast.scheduler is None or is_flow(base.scheduler_config):
        return base.scheduler
    return fast.scheduler


def check_numbers(pictures: int, seed: int, guidance: float | None, steps: int = 1) -> None:
    """Raise :class:`HackamoreError` for a number out of its range, whatever the base."""
    if not 1 <= pictures <= MOST_PICTURES:
        raise HackamoreError("the number of pictures is out of range", received=pictures, expected="1 to 1000")
    if not 1 <= steps <= MOST_STEPS:
        raise HackamoreError("the number of steps is out of range", received=steps, expected=f"1 to {MOST_STEPS}")
    if not 0 <= seed < 2**63 - pictures:
        raise HackamoreError("the seed is out of range", received=seed, expected="0 to 2^63")
    if guidance is not None and not (math.isfinite(guidance) and 0 <= guidance <= LARGEST_GUIDANCE):
        raise HackamoreError("the guidance is out of range", received=guidance, expected="0 to 100; 1 is none")


def steps_of(
    base: Base,
    *,
    steps: int | None = None,
    init: Any = None,
    strength: float | None = None,
    mask: Any = None,
    fast: Fast | int | None = None,
    **_: Any,
) -> int:
    """How many steps the first pass of a generation with these settings runs."""
    steps = usual_steps(fast_of(fast)) if steps is None else steps
    if init is None:
        return steps
    strength = strength or (STRENGTH if mask is None else 1.0)
    return steps_run(steps, strength, is_flow(base.scheduler_config))


def _checked_strength(strength: float | None, init: Tensor | None, mask: Tensor | None) -> float | None:
    """The strength of the first pass: its default where a picture is begun from, None where none is."""
    if init is None and mask is not None:
        raise HackamoreError("a mask without a start picture", expected="the picture that is painted anew in part")
    if init is None and strength is not None:
        raise HackamoreError(
            "a strength without a start picture", received=strength, expected="a picture to begin from"
        )
    if init is None or strength is not None:
        return strength
    return STRENGTH if mask is None else 1.0


def _check_start(init: Tensor | None, mask: Tensor | None, size: Size, pictures: int) -> None:
    for name, rows in (("start picture", init), ("mask", mask)):
        if rows is None:
            continue
        if size_of(rows) != size:
            raise HackamoreError(
                f"the {name} has another size than the picture",
                received="{}×{}".format(*size_of(rows)),
                expected=f"{size[0]}×{size[1]}",
            )
        if len(rows) not in (1, pictures):
            raise HackamoreError(
                f"{len(rows)} {name}s for {pictures} pictures", expected="one for all, or one for each picture"
            )
    if mask is not None and not bool((mask.amax((1, 2, 3)) > 0).all()):
        raise HackamoreError("the mask hides nothing", received="all black", expected="white where it is painted anew")


def _units(controls: Controls, size: Size, first: Pass | None, notices: list[str]) -> tuple[Unit, ...]:
    """The units at ``size``; those that are given for the first pass alone are resized, and that is noted."""
    if callable(controls):
        return tuple(controls(size))
    if first is None:
        return tuple(controls)
    from hackamore.annotators.hinting import fit_hint

    if controls:
        notices.append(
            f"the hints were made for {first.size[0]}×{first.size[1]} and are resized to {size[0]}×{size[1]}; "
            "a function size → controls makes them anew"
        )

    def larger(unit: Unit) -> Unit:
        kind = kind_of(unit) or "none"
        return resized(unit, size, lambda picture: fit_hint(picture, kind, size, "stretch"))

    return tuple(larger(unit) for unit in controls)


def _pass(
    base: Base,
    scheduler: str,
    run: tuple[Size, int, float | None],
    units: tuple[Unit, ...],
    tile: Tile | None,
    init: Tensor | None,
    mask: Tensor | None,
    name: str,
) -> Pass:
    """The checked pass of a size, a number of steps and a strength (called ``name`` to the user)."""
    size, steps, strength = run
    if not 1 <= steps <= MOST_STEPS:
        raise HackamoreError("the number of steps is out of range", received=steps, expected=f"1 to {MOST_STEPS}")
    make_scheduler(scheduler, base.scheduler_config, steps, base.device, base.timing(steps, size))
    check_strength(name, steps, strength, is_flow(base.scheduler_config))
    factor = base.scale_factor
    boxes, shared = [Box(0, 0, size[0] // factor, size[1] // factor)], 0
    if tile is not None:
        boxes = tile.boxes(size, factor, multiple_of(base))
        shared = tile.shared(multiple_of(base)) // factor
    if init is not None and size_of(init) != size:
        init = to_hint([resize(picture, size, "stretch") for picture in from_hint(init)])
    if mask is not None and size_of(mask) != size:
        mask = (resized_mask(mask, size) >= 0.5).float()
    return Pass(size, steps, strength, units, tuple(boxes), shared, init, mask)


def _notices(base: Base, prompts: list[str], passes: Sequence[Pass]) -> list[str]:
    """What was asked for and could not be done whole."""
    lost = [end for end in map(base.words_lost, prompts) if end]
    cut = [
        f"the prompt is longer than the text encoder reads; cut before: “{end[:40]}{'…' if len(end) > 40 else ''}”"
        for end in lost
    ]
    flow = is_flow(base.scheduler_config)
    heard = {
        unit.control.name for one in passes for unit in one.units if unit.acts(steps_run(one.steps, one.strength, flow))
    }
    silent = [
        f"the control {unit.control.name} is silent at all of the "
        f"{steps_run(passes[0].steps, passes[0].strength, flow)} steps"
        for unit in passes[0].units
        if unit.control.name not in heard
    ]
    return cut + silent
