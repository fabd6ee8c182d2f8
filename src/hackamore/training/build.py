"""From settings to the task of training a control: the data opened and encoded once, examples held back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hackamore.core.image import Size, check_size, to_hint
from hackamore.data.check import check_data
from hackamore.data.dataset import Dataset, open_dataset
from hackamore.data.evaluation import Example
from hackamore.data.views import bucket_multiple
from hackamore.training.caches import latents_of, texts_of
from hackamore.training.control import ControlTask
from hackamore.training.control_stage import ControlStage
from hackamore.training.gain import Gain, encoded
from hackamore.training.memory import Parts, check_there
from hackamore.training.objective import Objective
from hackamore.training.probe import Probe, probe_examples
from hackamore.training.reward import Reward
from hackamore.training.settings import ProbeSettings

FEWEST = 5
"""At most one example in so many is held back; data that would give fewer than two is not probed."""
LOOKED = 64
"""Examples that are looked at before every run."""
CALIBRATED, SANE = 16, 8
"""Examples on which a fresh hint encoder is tuned, and on which a reward is tried before it counts."""


@dataclass(frozen=True)
class Held:
    """What is trained on, and what is kept for probes and samples, by kind of hint."""

    dataset: Dataset
    examples: Mapping[str, Sequence[Example]]
    back: int = 0
    """How many examples the training is without."""

    @property
    def shown(self) -> Sequence[Example]:
        """Examples for a sheet of samples: held back ones, else the first of the data."""
        held = next(iter(self.examples.values()), ())
        return held or [self.dataset.example(place) for place in range(min(6, len(self.dataset)))]


def build(base: Any, make: Callable[[], Any], stage: ControlStage) -> ControlTask:
    """The task of training, as ``stage`` says, the form on ``base`` that ``make`` gives once the data are there.

    Pictures and captions are encoded here, all of them or each when it is first read, as ``memory.ahead`` says.
    Afterwards the base's autoencoder and text encoders are out of memory, where no step needs them.
    Raises :class:`HackamoreError` for data that does not fit, and for a reward that is none.
    """
    check_there(base)
    run = stage.run
    objective = Objective(base.scheduler_config, stage.objective)
    held = hold_back(stage, stage.size or base.size, base)
    dataset = held.dataset
    folder = dataset.cache if stage.memory.cache else None
    ahead = encodes_ahead(stage, dataset, base)
    latents = latents_of(dataset, base, run.precision, folder, ahead=ahead)
    texts = texts_of(dataset.texts, base, folder, sizes=dataset.sizes * (1 + dataset.flip), ahead=ahead)
    form = make()
    base = form.base
    _calibrate(form, dataset, latents, objective, run.seed)
    if stage.memory.gradient_checkpointing:
        form.recompute()
    parts = Parts(base)
    task = ControlTask(
        form,
        dataset,
        latents,
        texts,
        objective,
        lr=run.lr,
        precision=run.precision,
        shown=held.shown,
        rewards=_rewards(form, stage, held),
        reward_weight=stage.reward.weight,
        reward_from=round(stage.reward.start * run.steps),
        eight_bits=stage.control.eight_bits,
        probe=_probe(form, stage, held, objective) if stage.probe.every else None,
        parts=parts,
        held_back=held.back,
        found=suspicions(dataset),
    )
    if ahead and not form.needs_autoencoder and not stage.reward.weight:
        parts.release()
    return task


def suspicions(dataset: Dataset) -> list[str]:
    """What a look at a few examples, evenly spread, finds wrong with the data: a small ``--check`` before every run."""
    places = sorted({k * len(dataset) // LOOKED for k in range(LOOKED)})
    report = check_data(dataset.subset(places))
    told = [f"of {len(places)} examples that were looked at: {words}" for words in (*report.problems, *report.warnings)]
    return [*told, *(["hackamore train --check looks at all of them"] if told else [])]


def encodes_ahead(stage: ControlStage, dataset: Dataset, base: Any) -> bool:
    """Whether everything is encoded before the first step."""
    if not stage.memory.cache:
        return False
    seen = stage.run.steps * stage.run.batch_size
    twice = seen >= 2 * len(dataset) * dataset.variants
    return (twice or base.device.type != "cpu") if stage.memory.ahead is None else stage.memory.ahead


def open_data(stage: ControlStage, size: Size, base: Any, *, strict: bool = True) -> Dataset:
    """The training data of ``stage``; ``strict`` as in :func:`open_dataset`.

    Raises :class:`HackamoreError` for a size that the base cannot make.
    """
    check_size(size, base.multiple)
    multiple = bucket_multiple(size, base.multiple, len(base.sites.encoder))
    return open_dataset(stage.data, stage.kinds, size, multiple=multiple, strict=strict)


def hold_back(stage: ControlStage, size: Size, base: Any) -> Held:
    """Open the data and keep some of it, or other data, for probes."""
    dataset, settings = open_data(stage, size, base), stage.probe
    count = settings.count if settings.data is not None else min(settings.count, len(dataset) // FEWEST)
    if not settings.every or count < 2:
        return Held(dataset, {})
    told = ProbeSettings.model_validate({**settings.model_dump(), "count": count})
    rest, examples = probe_examples(told, stage.kinds, size, dataset)
    return Held(rest, examples, len(dataset) - len(rest))


def _calibrate(form: Any, dataset: Dataset, latents: Any, objective: Objective, seed: int) -> None:
    """Tune a fresh hint encoder's loudness on real hints and latents of one size."""
    places = [int(place) for place in max(dataset.groups, key=len)[:CALIBRATED]]
    hints = to_hint([dataset.hint(place, kind=dataset.kinds[k % len(dataset.kinds)]) for k, place in enumerate(places)])
    clean = latents.read(places)
    generator = torch.Generator().manual_seed(seed)
    t = objective.timesteps(torch.rand(len(places), generator=generator))
    form.calibrate(hints, objective.noisy(clean, torch.randn(clean.shape, generator=generator), t))


def _rewards(form: Any, stage: ControlStage, held: Held) -> list[Reward]:
    """The reward of each kind of hint, tried on true pictures; none where rewards have no weight."""
    if not stage.reward.weight:
        return []
    places = [int(place) for place in max(held.dataset.groups, key=len)[:SANE]]
    pictures = to_hint([held.dataset.picture(place) for place in places])
    rewards = []
    for kind in stage.kinds:
        making, twice = held.dataset.makings.get(kind), stage.memory.gradient_checkpointing
        told = {} if making is None else making.parameters
        reward = Reward(form.base, stage.reward, kind, told, checkpointing=twice)
        reward.sanity(pictures, to_hint([held.dataset.hint(place, kind=kind) for place in places])).check()
        rewards.append(reward)
    return rewards


def _probe(form: Any, stage: ControlStage, held: Held, objective: Objective) -> Probe | None:
    """The examination of ``form`` on what was held back."""
    if not held.examples:
        return None
    base, precision, seed = form.base, stage.run.precision, stage.probe.seed
    some = list(next(iter(held.examples.values())))
    seen = [held.dataset.example(int(place)) for place in max(held.dataset.groups, key=len)[: len(some)]]

    def gain(examples: Sequence[Example]) -> Gain:
        groups = [
            group
            for number, kind in enumerate(stage.kinds)
            for group in encoded(base, examples, kind, number if len(stage.kinds) > 1 else None, precision)
        ]
        return Gain(form.predict, objective, groups, [form], precision=precision, seed=seed)

    return Probe(
        base,
        form.unit,
        held.examples,
        stage.kinds if len(stage.kinds) > 1 else stage.kinds[0],
        stage.probe,
        gain(some),
        training_gain=gain(seen),
        networks=[form],
        precision=precision,
        unlocked=stage.control.unlocked,
    )
