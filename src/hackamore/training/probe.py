"""Control fidelity while a control trains: what the loss, which hardly moves, does not tell.

A probe samples held-back examples with fixed seeds, reads the hints back, and puts the figure between its floor (the
same pictures against shuffled hints) and its ceiling (the true pictures through the autoencoder).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hackamore.annotators.catalog import ANNOTATORS
from hackamore.annotators.hinting import fit_hint
from hackamore.annotators.inspector import load_inspector
from hackamore.bases.weighting import literal
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size, from_hint, load_picture, to_hint
from hackamore.core.skeleton import People
from hackamore.data.evaluation import GIVEN, Example, Source, open_source
from hackamore.data.sources.item import OWN
from hackamore.evaluation.features import caption_hits, told
from hackamore.evaluation.fidelity import KINDS, normalise, scores
from hackamore.evaluation.score import Reading, Score
from hackamore.generate import generate
from hackamore.training.calm import autocast, undisturbed
from hackamore.training.settings import ProbeSettings

Found = dict[str, float | None]
"""What a probe found, by name."""
DIGITS = 6


class Held(Protocol):
    """What is asked of a data set that examples are held back from."""

    def held_back(self, count: int) -> tuple[Any, Any]:
        """The set without ``count`` examples, and those."""

    def example(self, place: int) -> Example:
        """One example with its hints."""

    def __len__(self) -> int:
        """How many there are."""


def probe_examples(
    settings: ProbeSettings, kinds: Sequence[str], size: Size, dataset: Any
) -> tuple[Any, dict[str, list[Example]]]:
    """What is left of ``dataset`` to train on, and the examples of each kind of hint.

    They come from ``settings.data`` (``worlds``, or a folder of pairs), else ``settings.count`` of the data set's own
    are held back. Raises :class:`HackamoreError` for data that holds too few, or no hints of a kind.
    """
    if settings.data is None:
        rest, held = dataset.held_back(settings.count)
        some = [held.example(place) for place in range(len(held))]
        return rest, dict.fromkeys(kinds, some)
    foreign = [kind for kind in kinds if kind not in ANNOTATORS and kind not in GIVEN]
    if foreign:
        raise HackamoreError(
            f"no other data has hints of the kind {foreign[0]}",
            received=f"probe.data {settings.data}",
            remedy="leave probe.data out, so that examples are held back from the training data",
        )
    source = open_source(settings.data, settings.count, kinds)
    groups = source.read(size, lambda done: None)  # noqa: ARG005
    examples = {kind: groups[source.group(kind)] for kind in kinds}
    return dataset, {kind: _as_trained(dataset, source, kind, some) for kind, some in examples.items()}


def _as_trained(dataset: Any, source: Source, kind: str, examples: Sequence[Example]) -> list[Example]:
    """``examples`` of other data with hints of ``kind`` as ``dataset`` has them: its index's own, or made alike."""
    making = None if dataset is None else dataset.makings.get(kind)
    own = dataset is not None and dataset.given.get(kind) == OWN
    made = []
    for place, example in enumerate(examples):
        told = example.given.get(kind)
        path = source.pairs[place].hint if own and source.pairs else None
        if told is None and path is not None and path.is_file():
            told = fit_hint(load_picture(path), kind, (example.picture.shape[1], example.picture.shape[0]))
        if told is None and making is not None:
            told = making.annotator()(example.picture)
        made.append(example if told is None else replace(example, given={**example.given, kind: told}))
    return made


class Probe:
    """A fixed examination of a control; calling it gives its findings, and leaves no trace in the run.

    ``unit_of(hint, kind)`` binds the control to hints N×3×H×W of one of a union's kinds (None for other controls).
    ``examples``: for all kinds, or by kind; ``kind``: the control's condition, or a union's. ``gain``: the hint gain
    on held-back examples, ``training_gain`` that on training ones. ``batch`` pictures are sampled at once, under the
    autocast of ``precision``. ``networks`` are put into evaluation mode meanwhile. ``unlocked``: the base is trained
    too, so that what it makes with the control off is not the same at every probe.

    It finds ``figure``, ``floor``, ``ceiling``, ``normalised``, ``off`` (the figure with the control off), ``idle``
    (that one normalised: what captions alone bring, 0.29 for Meadow's segmentation), ``gain``, ``gain_training``, and
    where examples are worlds ``captions``, the share of what captions say that the inspector sees; None is unknown. Of
    a union ``normalised`` and ``idle`` are means over its kinds, whose own findings are called ``canny.figure`` and so
    on. ``notices`` say what cannot be measured, and why.
    """

    def __init__(
        self,
        base: Any,
        unit_of: Callable[[Tensor, str | None], Unit],
        examples: Sequence[Example] | Mapping[str, Sequence[Example]],
        kind: str | Sequence[str] | None,
        settings: ProbeSettings,
        gain: Callable[[], float] | None = None,
        batch: int = 16,
        *,
        training_gain: Callable[[], float] | None = None,
        networks: Sequence[nn.Module] = (),
        precision: str = "no",
        unlocked: bool = False,
    ) -> None:
        self.base, self.settings, self.gain, self.training_gain = base, settings, gain, training_gain
        self.networks, self.precision, self.unlocked = list(networks), precision, unlocked
        self.union = not isinstance(kind, str) and kind is not None
        kinds = [kind] if isinstance(kind, str) else list(kind or ())
        by_kind = examples if isinstance(examples, Mapping) else dict.fromkeys(kinds, examples)
        self.parts: dict[str, _Part] = {}
        self.notices: tuple[str, ...] = (
            () if kinds else ("the control has no condition, so the hint gain alone counts",)
        )
        for name in kinds:
            some = by_kind.get(name, ())
            reason = _unreadable(settings.kind or name, name, some)
            if reason is None:
                self.parts[name] = _Part(self, unit_of, some, name, settings.kind or name, batch)
            else:
                self.notices += (f"{reason}; of {name} the hint gain alone is probed",)

    def __call__(self) -> Found:
        """Examine the control as it is now."""
        with undisturbed(self._all_networks()):
            found = self._figures()
            found["gain"] = None if self.gain is None else _number(self.gain())
            if self.training_gain is not None:
                found["gain_training"] = _number(self.training_gain())
        return found

    def _figures(self) -> Found:
        found: Found = dict.fromkeys(("figure", "floor", "ceiling", "normalised", "off", "idle"))
        each = {name: part() for name, part in self.parts.items()}
        if not self.union:
            return found | next(iter(each.values()), {})
        for name in ("normalised", "idle", "captions"):
            values = [value for told in each.values() if (value := told.get(name)) is not None]
            found |= {name: _number(float(np.mean(values)))} if values else {}
        for kind, row in each.items():
            found |= {f"{kind}.{name}": value for name, value in row.items()}
        return found

    def _all_networks(self) -> list[nn.Module]:
        own = [part for part in self.base.parts().values() if isinstance(part, nn.Module)]
        return [*self.networks, *own]


class _Part:
    """The probe of one kind of hint: its examples, its score, and what needs measuring only once."""

    def __init__(
        self,
        probe: Probe,
        unit_of: Callable[[Tensor, str | None], Unit],
        examples: Sequence[Example],
        kind: str,
        read_as: str,
        batch: int,
    ) -> None:
        self.probe, self.unit_of, self.examples = probe, unit_of, list(examples)
        self.kind, self.batch = kind, batch
        self.score: Score = scores(read_as)[0]
        self.hints = [example.hint(kind, {}) for example in examples]
        self.truths: list[Reading] = [example.truth(kind, {}) for example in examples]
        known = [(example.caption, example.attributes) for example in examples]
        self.words = [told(caption, attributes or {}) for caption, attributes in known]
        self.worlds = any(self.words)
        self._ceiling: float | None = None
        self._off: Found | None = None

    def __call__(self) -> Found:
        pictures = self._sampled(self._unit)
        figure, floor = self._measured(pictures)
        if self._ceiling is None:
            seen = [_through(self.probe.base, example.picture, self.probe.precision) for example in self.examples]
            self._ceiling, _ = self._measured(seen)
        if self._off is None or self.probe.unlocked:
            self._off = self._without()
        ceiling = self._ceiling
        normalised = self._normalised(figure, floor, ceiling)
        found = {"figure": figure, "floor": floor, "ceiling": ceiling, "normalised": normalised}
        found |= self._off
        if self.worlds:
            hits = np.array([caption_hits(load_inspector(), *one) for one in zip(pictures, self.words, strict=True)])
            found["captions"] = _number(float(hits[:, 0].sum() / hits[:, 1].sum()))
        return found

    def _without(self) -> Found:
        """The control off."""
        figure, floor = self._measured(self._sampled(lambda some: []))  # noqa: ARG005
        return {"off": figure, "idle": self._normalised(figure, floor, self._ceiling)}

    def _normalised(self, figure: float | None, floor: float | None, ceiling: float | None) -> float | None:
        """The share of what is possible; None where one of the three is unknown."""
        if figure is None or floor is None or ceiling is None:
            return None
        return _number(normalise(figure, floor, ceiling, self.score.better))

    def _unit(self, some: Sequence[int]) -> list[Unit]:
        hints = to_hint([self.hints[place] for place in some])
        return [self.unit_of(hints, self.kind if self.probe.union else None)]

    def _sampled(self, units: Callable[[Sequence[int]], list[Unit]]) -> list[Picture]:
        """A picture for each example, examples of a size together, always with the same seeds."""
        base, settings = self.probe.base, self.probe.settings
        made: dict[int, Picture] = {}
        for (height, width), places in self._sizes().items():
            for first in range(0, len(places), self.batch):
                some = places[first : first + self.batch]
                with autocast(base.device, self.probe.precision):
                    result = generate(
                        base,
                        [literal(self.examples[place].caption) for place in some],
                        controls=units(some),
                        seed=settings.seed + some[0],
                        size=(width, height),
                        steps=settings.steps,
                        guidance=settings.guidance,
                        batch=len(some),
                    )
                made |= {place: image.pixels for place, image in zip(some, result.images, strict=True)}
        return [made[place] for place in range(len(self.examples))]

    def _measured(self, pictures: Sequence[Picture]) -> tuple[float | None, float | None]:
        """The figure of ``pictures``, and their floor; hints are shuffled among pictures of one size."""
        readings = [self.score.read(picture) for picture in pictures]
        figure = self.score.figure(self.score.tally(readings, self.truths).mean(0))
        moved = []
        for places in self._sizes().values():
            some = [[told[place] for place in places] for told in (readings, self.truths)]
            tallies = self.score.shuffled(*some)
            moved += [] if tallies is None else [tallies]
        floor = self.score.figure(np.concatenate(moved).mean(0)) if moved else None
        return _number(figure), _number(floor)

    def _sizes(self) -> dict[tuple[int, ...], list[int]]:
        """(height, width) → the places of the examples of that size."""
        sizes: dict[tuple[int, ...], list[int]] = {}
        for place, example in enumerate(self.examples):
            sizes.setdefault(example.picture.shape[:2], []).append(place)
        return sizes


def _unreadable(read_as: str, kind: str, examples: Sequence[Example]) -> str | None:
    """Why the hint cannot be read back from a picture, or None where it can."""
    if read_as not in KINDS:
        near = get_close_matches(read_as, KINDS, n=1, cutoff=0.75)
        asked = f" (did you mean {near[0]}?)" if near else ""
        return f"there is no control-fidelity figure for {read_as}{asked}"
    if len(examples) < 2:
        return "a probe needs two examples"
    if read_as == "pose" and not all(isinstance(example.truth(kind, {}), People) for example in examples):
        return "the figure of pose needs key points, and the examples have drawings"
    return None


def _through(base: Any, picture: Picture, precision: str) -> Picture:
    """A picture through the autoencoder and back."""
    with torch.inference_mode(), autocast(base.device, precision):
        seen = base.decode(base.encode(to_hint(picture) * 2 - 1)).float() / 2 + 0.5
    return from_hint(seen)[0]


def _number(value: float | None) -> float | None:
    return round(float(value), DIGITS) if value is not None and math.isfinite(value) else None
