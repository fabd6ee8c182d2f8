"""Pictures to evaluate on: true picture, caption, and the hint of each kind, exact where a world knows it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hackamore.annotators.catalog import make_annotator
from hackamore.annotators.hinting import fit_hint
from hackamore.annotators.pose import fit_people
from hackamore.core.errors import HackamoreError
from hackamore.core.extras import require
from hackamore.core.files import sha256
from hackamore.core.image import Picture, Size, load_picture
from hackamore.core.skeleton import People, first_people
from hackamore.data.pairs import EVALUATION_SEED, Pair, read_pairs

WORLDS = "worlds"
"""The name of the data that is rendered: worlds that no training reads."""
GIVEN = ("seg", "depth", "normal", "pose")
"""Kinds whose hints come with the data; every other kind is made from the true picture by its annotator."""
USUAL = 64
MOST = 100_000


@dataclass(frozen=True)
class Example:
    """One true picture: ``given`` hints by kind, ``people`` where it has key points.

    ``attributes`` is what is known of a world, None for other pictures.
    """

    name: str
    caption: str
    picture: Picture
    given: Mapping[str, Picture] = field(default_factory=dict)
    people: People | None = None
    attributes: Mapping[str, str] | None = None

    def hint(self, kind: str, parameters: Mapping[str, Any]) -> Picture:
        """The hint of ``kind``: as given, or made from the picture with the annotator's ``parameters``."""
        return self.given[kind] if kind in self.given else make_annotator(kind, **parameters)(self.picture)

    def truth(self, kind: str, parameters: Mapping[str, Any]) -> Picture | People:
        """What a reading of ``kind`` is compared with: the hint, or for a pose the people themselves."""
        return self.people if kind == "pose" and self.people is not None else self.hint(kind, parameters)


@dataclass(frozen=True)
class Source:
    """Where ``count`` examples with hints of ``kinds`` come from, checked: worlds, or the ``pairs`` of a ``folder``."""

    count: int
    kinds: tuple[str, ...]
    folder: Path | None = None
    pairs: tuple[Pair, ...] = ()

    def group(self, kind: str) -> str:
        """The name of the examples that ``kind`` is evaluated on: a pose needs worlds with people."""
        if self.folder is not None:
            return "pictures"
        return "people" if kind == "pose" else "worlds"

    def known(self) -> dict[str, Any]:
        """What the examples are known by, without paths: seeds of worlds, or a hash of the folder's files."""
        if self.folder is None:
            return {"worlds from": EVALUATION_SEED}
        parts: list[str] = []
        for pair in self.pairs:
            hints = [path for kind in self.kinds if (path := given_hint(self.folder, kind, pair)) is not None]
            points = [_points(self.folder, pair)] if "pose" in self.kinds else []
            parts += [pair.text, *(sha256(path) for path in (pair.picture, *hints, *points))]
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        return {"folder": self.folder.resolve().name, "hash": digest}

    def read(self, size: Size, progress: Callable[[int], None]) -> dict[str, list[Example]]:
        """The examples of each group, pictures and hints of ``size``; ``progress`` is told how many are read."""
        groups = list(dict.fromkeys(self.group(kind) for kind in self.kinds))
        read: dict[str, list[Example]] = {group: [] for group in groups}
        for place, group in enumerate(groups):
            for k in range(self.count):
                world = group == "people", EVALUATION_SEED + k
                made = self._world(*world, size) if self.folder is None else self._pair(self.folder, k, size)
                read[group].append(made)
                progress(place * self.count + k + 1)
        return read

    def _world(self, people: bool, number: int, size: Size) -> Example:
        from hackamore.data.worlds import TRUTHS
        from hackamore.worlds import render

        world = render(number, size, people=1.0 if people else 0.0)
        given = {kind: TRUTHS[kind](world) for kind in self.kinds if kind in TRUTHS}
        return Example(str(number), world.caption, world.picture, given, world.people, world.attributes)

    def _pair(self, folder: Path, k: int, size: Size) -> Example:
        pair = self.pairs[k]
        paths = {kind: given_hint(folder, kind, pair) for kind in self.kinds}
        given = {kind: fit_hint(load_picture(path), kind, size) for kind, path in paths.items() if path is not None}
        people = fit_people(first_people(_points(folder, pair)), size) if "pose" in self.kinds else None
        return Example(pair.picture.name, pair.text, load_picture(pair.picture, size=size), given, people)


def open_source(data: str | Path, count: int | None, kinds: Collection[str]) -> Source:
    """Examples from ``"worlds"``, or from a folder of pairs; ``count`` is 64, or all where a folder holds fewer.

    Raises :class:`HackamoreError` for a folder that is missing or empty, for a count that it does not hold, and for a
    hint of ``GIVEN`` that is not there.
    """
    if count is not None and not 1 <= count <= MOST:
        raise HackamoreError("the count is out of range", received=count, expected=f"1 to {MOST}")
    if str(data) == WORLDS:
        require("numba", "worlds", "rendering worlds")
        return Source(count or USUAL, tuple(kinds))
    folder = Path(data)
    if not folder.is_dir():
        raise HackamoreError(f"no such folder: {folder}", expected=f"{WORLDS}, or a folder of pairs")
    pairs = read_pairs(folder)
    if count is not None and len(pairs) < count:
        raise HackamoreError(f"{folder} holds too few pairs", received=f"count {count}", expected=f"1 to {len(pairs)}")
    chosen = pairs[: count or USUAL]
    _check_files(folder, chosen, kinds)
    return Source(len(chosen), tuple(kinds), folder, tuple(chosen))


def given_hint(folder: Path, kind: str, pair: Pair) -> Path | None:
    """The file of a hint that comes with the data: in ``folder/<kind>/``, else the index's own for ``GIVEN`` kinds."""
    if (folder / kind).is_dir():
        return folder / kind / pair.picture.name
    return pair.hint if kind in GIVEN else None


def _check_files(folder: Path, pairs: Sequence[Pair], kinds: Collection[str]) -> None:
    for pair in pairs:
        needed = [pair.picture]
        for kind in kinds:
            path = given_hint(folder, kind, pair)
            if path is not None:
                needed.append(path)
            elif kind in GIVEN:
                raise HackamoreError(
                    f"a picture of {folder} has no {kind} hint",
                    received=pair.picture.name,
                    expected=f"a folder {folder / kind}, or a hint in every line of the index",
                )
        needed += [_points(folder, pair)] if "pose" in kinds else []
        absent = next((path for path in needed if not path.is_file()), None)
        if absent is not None:
            what = "OpenPose key points beside the pictures" if absent.suffix == ".json" else None
            raise HackamoreError(f"a file of {folder} is missing: {absent}", expected=what)


def _points(folder: Path, pair: Pair) -> Path:
    return folder / "people" / f"{pair.picture.stem}.json"
