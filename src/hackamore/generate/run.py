"""The way of pictures: a plan, its passes, a batch at a time, pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from hackamore.bases.base import Base
from hackamore.core.effort import Fast
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Size
from hackamore.generate.plan import Controls, make_plan, on_backend
from hackamore.generate.result import Progress, Result
from hackamore.generate.sharing import Generation, sample_together
from hackamore.sampling.loop import Prefix
from hackamore.sampling.start import Pictures
from hackamore.sampling.tiles import Tile
from hackamore.sampling.upscale import Upscale


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
    steps: int | None = None,
    guidance: float | None = None,
    scheduler: str | None = None,
    init: Pictures | None = None,
    strength: float | None = None,
    mask: Pictures | None = None,
    upscale: Upscale | None = None,
    tile: Tile | None = None,
    fast: Fast | int | None = None,
    batch: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    prefix: Prefix | None = None,
) -> Result:
    """Make ``num`` pictures of ``prompt`` (a list holds a prompt for each picture), steered by ``controls``.

    ``size`` is (width, height), multiples of 8; ``steps`` 20 where none are told; ``guidance`` 1 means none. Picture k
    has the seed ``seed + k`` and equals the picture made alone with that seed. ``batch`` pictures are sampled at once
    (1 on a CPU, 8 elsewhere).
    ``init``: pictures to begin from, one for all or one for each; ``strength`` in (0, 1] is the share of the steps that
    run on them (0.8; windows count these). ``mask``: white where ``init`` is painted anew (strength 1); the rest stays
    to the pixel. ``upscale``: a second pass at a larger size, for which ``controls`` may be a function size → units.
    ``tile``: denoise in overlapping tiles. ``fast``: a level of the fast mode (1 to 3), or policies of one's own, which
    spare work and change the picture (:class:`hackamore.core.effort.Fast`); None computes all.
    ``progress`` is called after each step; when ``cancelled()`` is true then, :class:`Cancelled` is raised.
    ``prefix`` shares the first steps of one picture among calls that differ only after them.
    Raises :class:`HackamoreError` for values out of range and for controls of another base, before any work.
    """
    generation = begun(
        base, prompt,
        controls=controls, negative=negative, seed=seed, num=num, size=size, steps=steps, guidance=guidance,
        scheduler=scheduler, init=init, strength=strength, mask=mask, upscale=upscale, tile=tile, fast=fast,
        progress=progress, cancelled=cancelled, prefix=prefix,
    )  # fmt: skip
    for share in generation.shares(batch or usual_batch(base)):
        sample_together([share])
    return generation.result()


def begun(
    base: Base,
    prompt: str | Sequence[str],
    *,
    num: int = 1,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    prefix: Prefix | None = None,
    **settings: Any,
) -> Generation:
    """The checked generation that :func:`generate` describes, before any work."""
    plan = on_backend(make_plan(base, [prompt] * num if isinstance(prompt, str) else list(prompt), **settings))
    total = len(plan.prompts)
    if prefix is not None and (total != 1 or not prefix.belongs_to(plan.first_known_by())):
        raise HackamoreError("a prefix is shared by runs of one and the same picture", received=f"{total} pictures")
    return Generation(plan, progress, cancelled, prefix)


def usual_batch(base: Base) -> int:
    """How many pictures are sampled at once where nothing is said: 1 on a CPU, 8 elsewhere."""
    return 1 if base.device.type == "cpu" else 8
