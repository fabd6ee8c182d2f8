"""How fast a run learns at each of its steps."""

from __future__ import annotations

import math

from hackamore.training.settings import RunSettings


def learning_rate(step: int, run: RunSettings) -> float:
    """Factor on ``run.lr`` at ``step``: linear rise, flat, cosine fall to ``run.final``."""
    if step < run.warmup:
        return (step + 1) / run.warmup
    begin = max(run.warmup, round(run.flat * run.steps))
    if step < begin:
        return 1.0
    progress = (step - begin) / max(run.steps - begin, 1)
    return run.final + (1 - run.final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
