"""From what a run has shown to what to do: a few plain sentences, the most important first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from hackamore.training.history import (
    LEAST_RISE,
    USED,
    Plateau,
    Probed,
    Rows,
    best,
    known,
    noise,
    plateau,
    probes,
    smoothed,
    sudden,
)

PATIENT = 16_000
"""Samples after which a control that has not begun to learn is worth a word (the paper's 4,000 steps of 4)."""
FORGOT = 0.12
"""A fall of caption accuracy that is no accident of sixteen pictures."""
FELL = 0.15
"""A fall of the figure below its best, as a share of that, that is more than noise."""
LAST = 3
"""Probes that must show no rise before a control counts as finished."""
SETTLED = 0.02
"""A rise below it, over ``LAST`` probes, is none; a share of what is possible."""
SMALL_BATCH = 8
WARMING = 0.75
"""Beyond this share of warm-up, the steps that were done say little of how a run goes."""


@dataclass(frozen=True)
class Course:
    """A run as its log tells it: its rows, its steps, examples a step, whether it is over, and steps of warm-up."""

    rows: Rows
    steps: int
    batch_size: int
    ended: bool = False
    warmup: int = 0

    @cached_property
    def points(self) -> list[Probed]:
        """All probes."""
        return probes(self.rows)

    @cached_property
    def top(self) -> Probed | None:
        """The best probe."""
        return best(self.rows)

    @cached_property
    def done(self) -> int:
        """Steps done, as far as the log knows."""
        return max((int(row["step"]) for row in self.rows), default=0)

    @cached_property
    def goal(self) -> Plateau | None:
        """Where the figure is going."""
        return plateau(self.rows)

    @cached_property
    def losses(self) -> list[float]:
        """The logged losses of denoising, smoothed: a reward, which begins in mid-run, is none of them."""
        names = ["denoising" if known(row, "denoising") is not None else "loss" for row in self.rows]
        told = [known(row, name) for row, name in zip(self.rows, names, strict=True)]
        return smoothed([value for value in told if value is not None])

    @property
    def warming(self) -> bool:
        """Whether nearly all that was done is warm-up."""
        return min(self.warmup, self.done) > WARMING * self.done

    @property
    def finished(self) -> bool:
        """Whether the last ``LAST`` probes brought no rise over the best one before them."""
        if len(self.points) <= LAST or self.top is None or not self.top.begun:
            return False
        before = max(point.figure for point in self.points[:-LAST])
        least = SETTLED if self.top.normalised else SETTLED * abs(before)
        return max(point.figure for point in self.points[-LAST:]) < before + least


def advise(rows: Rows, *, steps: int, batch_size: int, ended: bool = False, warmup: int = 0) -> list[str]:
    """What to do with a run of ``steps`` steps of ``batch_size`` examples, most important first; empty: all is well.

    ``ended``: the run is over, so that what is not reached will not be. ``warmup``: steps below the full learning rate;
    as long as they are nearly all, how the run goes is no reason for advice.
    """
    course = Course(rows, steps, batch_size, ended, warmup)
    if course.warming:
        return [warmed(course)] if ended or warmup > WARMING * steps else []
    told = (rule(course) for rule in RULES)
    return [sentence for sentence in told if sentence is not None]


def warmed(course: Course) -> str:
    """The run hardly had, or will hardly have, its full learning rate."""
    steps = course.done if course.ended else course.steps
    part = "all" if course.warmup >= steps else f"{course.warmup:,}"
    return (
        f"Of its {steps:,} steps {part} {'were' if course.ended else 'are'} warm-up, below the full learning rate, "
        "so how it goes says little. Train it longer, or with a shorter warmup."
    )


def unstable(course: Course) -> str | None:
    """The figure fell far from its best, or the loss rose far above its lowest."""
    top, losses = course.top, course.losses
    if top is not None and top.begun and len(course.points) > 1:
        last = course.points[-1]
        if last.figure < top.figure * (1 - FELL) - 2 * noise(course.points):
            words = f"The control was best at step {top.step:,} ({top}) and has fallen since"
            return f"{words} to {last.figure:.2f}. Use the weights in best/, and a lower lr."
    if len(losses) >= 4 and losses[-1] > 1.5 * min(losses):
        return f"The loss rises (from {min(losses):.3g} to {losses[-1]:.3g}): the run is unstable. Use a lower lr."
    return None


def silent(course: Course) -> str | None:
    """Nothing was learned after many samples."""
    samples = course.done * course.batch_size
    if course.top is None or course.top.begun or samples < min(PATIENT, course.steps * course.batch_size):
        return None
    gain = known(course.points[-1].found, "gain")
    words = f"After {samples:,} samples the pictures do not follow the hint"
    if course.top.normalised and gain is not None and gain >= USED:
        rest = "so it is learning; go on" if not course.ended else "so it had begun to learn; train it longer"
        return f"{words} yet, but the loss makes use of it ({100 * gain:.1f} % smaller than with another's), {rest}."
    return (
        f"{words}. Raise lr, zero_scale or hint_start; if that does not help, check the hints: "
        "their polarity (white lines on black), their colour order, and that each belongs to its picture (--check)."
    )


def unfinished(course: Course) -> str | None:
    """It learns, and there is more to come."""
    top = course.top
    if top is None or not top.begun or course.finished or course.points[-1].step < top.step:
        return None
    goal = course.goal
    reach = 0.0 if goal is None else goal.figure - top.figure
    if goal is None or reach < SETTLED or goal.step <= course.done:
        rising = len(course.points) > 1 and top.figure > course.points[-2].figure + LEAST_RISE
        if course.ended and rising:
            return f"The run ended while the control still got better ({top}). Train it longer."
        return None
    where = f"about {goal.figure:.2f} by step {goal.step:,}"
    if goal.step > course.steps or course.ended:
        return f"It learns ({top}) and is not finished: it is going to {where}, after the run's {course.steps:,} steps."
    return f"It learns ({top}) and is going to {where}."


def unconverged(course: Course) -> str | None:
    """The run is over before the control has begun to follow."""
    if not course.ended or course.top is None or course.top.begun or not course.top.normalised:
        return None
    return (
        f"The run ended before its sudden convergence: at step {course.done:,} the control has learned "
        f"{max(course.top.figure, 0):.2f} of what is possible. Train it longer, or raise lr or hint_start."
    )


def memorising(course: Course) -> str | None:
    """Captions are forgotten, or hints are learned by heart."""
    words = [(p, value) for p in course.points if (value := known(p.found, "captions")) is not None]
    if len(words) >= 4:
        values = smoothed([value for _, value in words], 0.5)
        high = max(values)
        begin = words[values.index(high)][0]
        if high - values[-1] >= FORGOT and words[-1][0].figure >= begin.figure:
            fall = f"from {high:.2f} to {values[-1]:.2f} since step {begin.step:,}"
            return f"Captions are heard less and less ({fall}): stop earlier, use more data, or raise prompt_dropout."
    both = [(known(p.found, "gain_training"), known(p.found, "gain")) for p in course.points]
    told = [(a, b) for a, b in both if a is not None and b is not None]
    if len(told) >= 3:
        training, held = told[-1]
        if training > 2 * max(held, 0) + 2 * USED and held < max(b for _, b in told) - USED:
            return (
                "It learns its training pairs by heart: their hints are worth "
                f"{100 * training:.1f} % of the loss, held-back ones {100 * held:.1f} % and falling. "
                "Use more data, crops or flip, or stop earlier (patience)."
            )
    return None


def finished(course: Course) -> str | None:
    """It does not get better any more: stop, and at which scale to use it."""
    top = course.top
    if top is None or not course.finished or unstable(course) is not None:
        return None
    stop = "" if course.ended else "stop here: "
    words = f"It has not risen for {LAST} probes ({top}, best at step {top.step:,}); {stop}"
    if not top.normalised:
        return words + "try scales from 0.6 to 1.2."
    if top.figure >= 0.85:
        return words + "use it at scale 0.6 to 0.8 where the prompt should have more to say."
    if top.figure >= 0.5:
        return words + "scale 1 to 1.3 follows the hint more closely."
    return words + "more data or a larger form would follow closer; scale 1.3 to 1.6 may help."


def small_batch(course: Course) -> str | None:
    """Probes go up and down by more than they rise, with few examples a step."""
    points = course.points
    if course.batch_size >= SMALL_BATCH or len(points) < 6 or not points[0].normalised:
        return None
    changes = [after.figure - before.figure for before, after in pairwise(points)]
    turns = sum(a * b < 0 for a, b in pairwise(changes)) / max(len(changes) - 1, 1)
    if turns < 0.5 or noise(points) < 0.04:
        return None
    return (
        f"Probes go up and down by {noise(points):.2f}: {course.batch_size} examples a step are few. "
        "Raise batch_size (and accumulate, where memory is short)."
    )


def converged(course: Course) -> str | None:
    """The sudden convergence, once it is seen."""
    jump = sudden(course.rows)
    return None if jump is None else f"{str(jump)[0].upper()}{str(jump)[1:]}."


def flat_loss(course: Course) -> str | None:
    """The loss hardly moves although the control learns: peers' users take that for a failure."""
    losses, points = course.losses, course.points
    if len(losses) < 4 or len(points) < 2 or not points[-1].begun or unstable(course) is not None:
        return None
    middle = losses[len(losses) // 4]
    if abs(losses[-1] - middle) > 0.05 * abs(middle) or points[-1].figure <= points[0].figure:
        return None
    return (
        "The loss hardly moves, and that is normal: most of it is noise that no control can tell. "
        f"Learned: {points[-1]}."
    )


RULES: tuple[Callable[[Course], str | None], ...] = (
    silent,
    unconverged,
    unstable,
    memorising,
    unfinished,
    finished,
    small_batch,
    converged,
    flat_loss,
)
"""All rules, the most important first."""
