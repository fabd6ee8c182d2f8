"""How much memory a training takes, told before it begins, and what to change where it does not fit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from hackamore.bases.base import Base
from hackamore.core.image import Size
from hackamore.data.check_report import Finding
from hackamore.training.forms.trained import Trained
from hackamore.training.free import free_memory, in_words
from hackamore.training.settings import MemorySettings, RewardSettings, RunSettings
from hackamore.training.tally import WIDTH, Tally, light_weights, optimiser_bytes

STEP = "a step"
COMFORT = 0.9
"""A training that takes more than this share of what is free fits barely."""


@dataclass(frozen=True)
class Advice:
    """A change, in words and as a setting, and the bytes that it saves in a step."""

    what: str
    remedy: str
    saves: int


@dataclass(frozen=True)
class Estimate:
    """Bytes by phase (``caching``, ``a step``, ``a probe``) and, within each, by what takes them.

    ``free``: what this machine, or the GPU, has for it. ``disk``: what the caches take there. ``simulated``: the step
    was counted on shapes alone, else measured with one row. ``advice``: in the order in which to try it.
    """

    phases: Mapping[str, Mapping[str, int]]
    free: int
    device: str
    disk: int = 0
    simulated: bool = True
    advice: tuple[Advice, ...] = field(default=())

    @property
    def needed(self) -> int:
        """Bytes of the phase that takes most."""
        return max(sum(parts.values()) for parts in self.phases.values())

    @property
    def fits(self) -> bool:
        """Whether there is room for it."""
        return self.needed <= self.free

    def facts(self) -> dict[str, str]:
        """What it takes, in words."""
        phase, parts = max(self.phases.items(), key=lambda item: sum(item[1].values()))
        of = ", ".join(f"{name} {in_words(size)}" for name, size in parts.items() if size)
        how = "counted on shapes" if self.simulated else "from one real row"
        facts = {
            "memory": f"about {in_words(self.needed)} of {in_words(self.free)} free ({self.device}), most in {phase}"
        }
        facts["of that"] = f"{of} ({how})"
        return facts | ({"caches on disk": f"at most {in_words(self.disk)}"} if self.disk else {})

    def findings(self) -> list[Finding]:
        """A problem where it does not fit, with what to change; a warning where it fits barely."""
        if self.needed <= COMFORT * self.free:
            return []
        what = f"the training needs about {in_words(self.needed)}, and {in_words(self.free)} are free"
        return [Finding("warning" if self.fits else "problem", "memory", what, (), self.change())]

    def change(self) -> str:
        """What to change, until it fits, each with what is needed after it."""
        told, left = [], self.needed
        for advice in self.advice:
            if left <= COMFORT * self.free:
                break
            left -= advice.saves
            settings = " ".join(f"--set {one}" for one in advice.remedy.split())
            told.append(f"{settings} ({advice.what}: then about {in_words(left)})")
        fits = left <= self.free
        return "; ".join([*told, *([] if fits else ["a smaller size, or a machine with more memory"])])

    def lines(self) -> list[str]:
        """All of it in plain words."""
        return [
            *(f"{name}: {words}" for name, words in self.facts().items()),
            *(f"{finding.level}: {finding.line()}" for finding in self.findings()),
        ]

    def json(self) -> dict[str, Any]:
        """All of it in bytes, fit for JSON."""
        return {
            "phases": {phase: dict(parts) for phase, parts in self.phases.items()},
            "needed": self.needed,
            "free": self.free,
            "disk": self.disk,
            "simulated": self.simulated,
            "advice": [{"what": a.what, "set": a.remedy, "saves": a.saves} for a in self.advice],
        }


def estimate(
    base: Base,
    form: Trained,
    run: RunSettings,
    memory: MemorySettings,
    sizes: Sequence[Size],
    *,
    variants: int = 1,
    captions: int = 0,
    ahead: bool = True,
    reward: RewardSettings | None = None,
    processes: int = 1,
    free: int | None = None,
) -> Estimate:
    """What training ``form`` beside ``base`` takes of the memory that each process computes in.

    ``sizes``: (width, height) of every example; the largest counts. ``variants`` and ``captions``: how many views an
    example has, and how many different captions there are, for the caches. ``ahead``: all of them are encoded before
    the first step, so that what encodes them is gone then. ``free``: bytes, else what is free now.
    ``form`` and ``base`` are as before afterwards. Raises :class:`HackamoreError` for gradient checkpointing of a form
    that has none.
    """
    tally = Tally(base, form, run, max(sizes, key=lambda size: size[0] * size[1]), processes)
    with tally.recomputing() if memory.gradient_checkpointing else nullcontext():
        counted = tally.step()
    ahead, rewarded = ahead and memory.cache, reward is not None and reward.weight > 0
    encoded = 0 if ahead else tally.encoding(1 if memory.cache else tally.share)["encoding"]
    gone = ahead and not form.needs_autoencoder and not rewarded
    step = tally.held() | {
        "autoencoder and text encoders": 0 if gone else tally.others,
        "gradients": counted.gradients * (2 if processes > 1 else 1),  # what is sent has a buffer of its own
        "activations": tally.activations(counted),
        "batches": tally.batches(),
        "encoding": encoded,
        "reward": tally.rewarding(reward.share) if reward is not None and rewarded else 0,
    }
    phases = {STEP: step, "a probe": tally.held() | tally.decoding()}
    if ahead:
        phases["caching"] = tally.encoding()
    disk = 2 * (len(sizes) * variants * math.prod(tally.shape) + captions * tally.tokens) if memory.cache else 0
    there = free_memory(base.device) if free is None else free
    made = Estimate(phases, there, base.device.type, disk, counted.simulated)
    return (
        made
        if made.needed <= COMFORT * there
        else replace(made, advice=tuple(_advice(tally, memory, step, there, rewarded)))
    )


def _advice(
    tally: Tally, memory: MemorySettings, step: Mapping[str, int], free: int, rewarded: bool
) -> Iterator[Advice]:
    """What to change, the cheapest first; each saving is what is left to save after those before it."""
    activations = step["activations"]
    if not memory.gradient_checkpointing and tally.form.form != "xs":
        with tally.recomputing():
            after = tally.activations(tally.step())
        if after < activations:
            yield Advice("slower by about a third", "memory.gradient_checkpointing=true", activations - after)
            activations = after
    if tally.rows > 1:
        parts = _parts(tally.rows, activations, sum(step.values()) - activations, free)
        saved = activations - activations // parts
        yield Advice("the same batch in parts", f"run.accumulate={parts * tally.run.accumulate}", saved)
    if tally.run.optimiser == "adamw":
        saved = step["optimiser"] - optimiser_bytes(
            tally.weights, tally.run.model_copy(update={"optimiser": "adamw8bit"})
        )
        yield Advice("moments in a byte each", "run.optimiser=adamw8bit", saved)
    if memory.base_dtype == "fp32":
        saved = step["base"] * (WIDTH["fp32"] - WIDTH["bf16"]) // WIDTH["fp32"]
        yield Advice("the base in half precision", "memory.base_dtype=bf16", saved)
    others = step["autoencoder and text encoders"]
    if others and not rewarded and not tally.form.needs_autoencoder:
        remedy = "memory.ahead=true" if memory.cache else "memory.cache=true memory.ahead=true"
        yield Advice("pictures and captions encoded once, before the first step", remedy, others + step["encoding"])
    if rewarded:
        yield Advice("no reward", "reward.weight=0", step["reward"])
    light = light_weights(tally.base)
    trained = sum(weight.numel() for weight in tally.weights)
    if light is not None and light < trained:
        each = sum(step[name] for name in ("control", "gradients", "optimiser", "average"))
        yield Advice("a smaller form", "control.form=t2i-adapter-light", each * (trained - light) // trained)


def _parts(rows: int, activations: int, rest: int, free: int) -> int:
    """The fewest parts of ``rows`` that fit, or as many as there are rows."""
    able = [parts for parts in range(2, rows + 1) if rows % parts == 0]
    return next((parts for parts in able if rest + activations // parts <= COMFORT * free), rows)
