"""Training data as one thing, whatever its layout: pictures, hints and captions, cut alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hackamore.annotators.pose import draw_people
from hackamore.annotators.recognise import family
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size
from hackamore.core.skeleton import People
from hackamore.data.digests import digests_of
from hackamore.data.evaluation import Example
from hackamore.data.given import check_files, check_flip, sources_of
from hackamore.data.making import SETTLED, Making
from hackamore.data.pairs import refuse_held_out
from hackamore.data.people import people_of
from hackamore.data.roughen import roughened
from hackamore.data.settings import DataSettings
from hackamore.data.sides import mirrored
from hackamore.data.sources.item import Blob, Item
from hackamore.data.sources.layouts import cache_of, read_items
from hackamore.data.views import View, bucket_for, view_of

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Dataset:
    """N examples, each seen in ``variants`` fixed ways; variant 0 is the middle, not mirrored.

    ``kinds`` of hints: each is given by the data (``given``: kind → its name in an item's hints), drawn from key
    points (poses of examples that have them), or made from the pictures (``makings``).
    ``sizes``: (width, height) of each example, all alike unless there are buckets. ``cache``: folder for what is
    computed once.
    """

    items: tuple[Item, ...]
    kinds: tuple[str, ...]
    sizes: list[Size]
    cache: Path
    crops: int = 1
    flip: bool = False
    given: Mapping[str, str] = field(default_factory=dict)
    makings: Mapping[str, Making] = field(default_factory=dict)
    roughen: float = 0.0

    def __len__(self) -> int:
        return len(self.items)

    @property
    def variants(self) -> int:
        """Crops, times two where they are also mirrored."""
        return self.crops * (1 + self.flip)

    @cached_property
    def captions(self) -> list[str]:
        """The caption of every example, empty where there is none."""
        return [item.caption or "" for item in self.items]

    @cached_property
    def texts(self) -> list[str]:
        """The captions, then, of data that are also mirrored, what each says of its mirror image."""
        return self.captions + [mirrored(caption) for caption in self.captions if self.flip]

    def text(self, place: int, variant: int = 0) -> int:
        """The place in ``texts`` of what is said of an example as it is seen."""
        return place + len(self) * self._variant(variant)[1]

    @cached_property
    def groups(self) -> list[NDArray[np.intp]]:
        """Places of examples of equal size, one array a size."""
        sizes = sorted(set(self.sizes))
        told = np.array([sizes.index(size) for size in self.sizes]) if len(sizes) > 1 else np.zeros(len(self), np.intp)
        return [np.flatnonzero(told == k).astype(np.intp) for k in range(len(sizes))]

    @cached_property
    def key(self) -> str:
        """A hash of all that the pictures depend on: contents, sizes, crops, mirroring; no paths."""
        prints = [self.fingerprint(place, v) for place in range(len(self)) for v in range(self.variants)]
        return hashlib.blake2b("\n".join(prints).encode(), digest_size=16).hexdigest()

    def fingerprint(self, place: int, variant: int = 0) -> str:
        """A hash of all that one picture depends on, 32 hexadecimal digits; the same for the same picture anywhere."""
        crop, flip = self._variant(variant)
        name = self.items[place].stem if crop else ""
        told = f"1 {self._digests[place]} {self.sizes[place]} {crop} {flip} {name}"
        return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()

    def name(self, place: int) -> str:
        """What an example is called in sentences: the place of its picture."""
        return self.items[place].picture.name

    def original(self, place: int) -> Size:
        """Width and height of an example's picture as the data has it."""
        return self.items[place].picture.size

    def given_hint(self, place: int, kind: str | None = None) -> Blob | None:
        """The hint that the data gives, as it lies there; None where it is drawn or made."""
        name = self.given.get(kind or self.kinds[0])
        return None if name is None else self.items[place].hints.get(name)

    def view(self, place: int, variant: int = 0) -> View:
        """What is seen of an example."""
        crop, flip = self._variant(variant)
        item = self.items[place]
        return view_of(item.picture.size, self.sizes[place], crop, flip, item.stem)

    def picture(self, place: int, variant: int = 0) -> Picture:
        """The picture H×W×3 uint8 at its size."""
        return self.view(place, variant).picture(self.items[place].picture.picture())

    def hint(self, place: int, variant: int = 0, kind: str | None = None, u: Sequence[float] = SETTLED) -> Picture:
        """The hint of ``kind`` (the first of ``kinds``) H×W×3 uint8, cut and mirrored as the picture is.

        ``u``: uniform numbers that draw the annotator's parameters, where hints are made, and how a hint is varied;
        with the settled ones it is not.
        Raises :class:`HackamoreError` for a kind that it has not, and for a hint that is missing or does not fit.
        """
        kind = kind or self.kinds[0]
        made = self._hint(place, variant, kind, u)
        return made if tuple(u) == SETTLED else roughened(made, kind, u, self.roughen)

    def _hint(self, place: int, variant: int, kind: str, u: Sequence[float]) -> Picture:
        if kind not in self.kinds:
            raise HackamoreError("the data has no such hints", received=kind, expected=", ".join(self.kinds))
        if kind in self.makings:
            fingerprint = self.fingerprint(place, variant) if self.makings[kind].keep else ""
            return self.makings[kind].make(self.picture(place, variant), u, fingerprint)
        people = self.people(place, variant) if family(kind) == "pose" else None
        if people is not None:
            return draw_people(people)
        blob = self.given_hint(place, kind)
        if blob is None:
            raise HackamoreError(f"{self.name(place)} has no {kind} hint")
        return self.view(place, variant).hint(blob.picture(), kind, blob.name)

    def people(self, place: int, variant: int = 0) -> People | None:
        """The people in the picture's pixels, None where the data has no key points of them."""
        blob = self.items[place].people
        return None if blob is None else self.view(place, variant).people(people_of(blob))

    def origin(self, kind: str) -> str:
        """Where hints of ``kind`` come from, in words."""
        if kind in self.makings:
            return f"made from the pictures by the annotator {kind}"
        if family(kind) == "pose" and any(item.people is not None for item in self.items):
            return "drawn from key points"
        blob = self.given_hint(0, kind)
        place = "" if blob is None else Path(blob.name).parent.name
        return f"read from the data ({place})" if place else "read from the data"

    def example(self, place: int) -> Example:
        """The example as an evaluation reads it, its hints given or made as in training, with settled parameters."""
        told = {kind: self.hint(place, kind=kind) for kind in self.kinds}
        item = self.items[place]
        people = self.people(place) if any(family(kind) == "pose" for kind in self.kinds) else None
        return Example(item.stem, item.caption or "", self.picture(place), told, people, item.attributes)

    def subset(self, places: Sequence[int]) -> Dataset:
        """The examples at ``places`` alone."""
        chosen = tuple(self.items[place] for place in places)
        made = replace(self, items=chosen, sizes=[self.sizes[place] for place in places])
        if "_digests" in vars(self):  # what is known of the contents stays known, in other processes too
            vars(made)["_digests"] = [self._digests[place] for place in places]
        return made

    def hash_contents(self) -> None:
        """Hash every picture now, so that its subsets know it."""
        _ = self._digests

    def held_back(self, count: int) -> tuple[Dataset, Dataset]:
        """(training, probe): ``count`` examples are kept out of the training.

        Which ones depends on their names alone: those whose hashes are the lowest. Among examples that are added, one
        with a lower hash takes the place of the last of them, which is trained on from then on.
        """
        if not 0 < count < len(self):
            expected = f"1 to {len(self) - 1}, fewer than the examples"
            raise HackamoreError("so many examples cannot be held back", received=count, expected=expected)
        drawn = [hashlib.blake2b(item.stem.encode(), digest_size=8).digest() for item in self.items]
        order = sorted(range(len(self)), key=lambda place: (drawn[place], place))
        kept, probe = sorted(order[count:]), sorted(order[:count])
        return self.subset(kept), self.subset(probe)

    @cached_property
    def _digests(self) -> list[str]:
        return digests_of([item.picture for item in self.items], self.cache)

    def _variant(self, variant: int) -> tuple[int, bool]:
        """(crop, mirrored) of a variant: first all crops, then all of them mirrored."""
        if not 0 <= variant < self.variants:
            raise ValueError(f"variant {variant} of {self.variants}")
        return variant % self.crops, variant >= self.crops


def open_dataset(
    settings: DataSettings,
    kinds: Sequence[str],
    size: Size,
    *,
    multiple: int = 64,
    strict: bool = True,
    progress: Progress | None = None,
) -> Dataset:
    """The data that ``settings`` describes, with hints of ``kinds``, seen at ``size`` = (width, height).

    ``multiple``: what the sides of buckets are multiples of. ``strict`` refuses missing files and captions here;
    without it they are found when they are read. ``progress``: shards done and shards in all.
    Raises :class:`HackamoreError` for data that cannot be read so, and for worlds that are kept for evaluation.
    """
    items = read_items(settings, kinds, progress)
    refuse_held_out(settings.path, [item.seed for item in items])
    given, makings = sources_of(settings, kinds, items)
    if strict:
        check_files(settings, items, given)
    if settings.flip:
        check_flip(items, given)
    sizes = [size] * len(items)
    if settings.buckets:
        with ThreadPoolExecutor() as pool:
            sizes = list(pool.map(lambda item: _bucket(item, size, multiple, strict), items))
    return Dataset(
        tuple(items),
        tuple(kinds),
        sizes,
        cache_of(settings),
        settings.crops,
        settings.flip,
        given,
        makings,
        roughen=settings.roughen,
    )


def _bucket(item: Item, size: Size, multiple: int, strict: bool) -> Size:
    try:
        return bucket_for(item.picture.size, size, multiple)
    except HackamoreError:
        if strict:
            raise
        return size
