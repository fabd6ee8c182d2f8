"""Everything that is known of rendered worlds, as arrays: what inspectors learn from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hackamore.core import palette
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Size
from hackamore.core.skeleton import JOINTS, People, first_people
from hackamore.data.cache import cached, picture_array, stamps
from hackamore.data.hints import hint_array
from hackamore.data.pairs import training_pairs

MOST_PEOPLE = 3


@dataclass(frozen=True)
class Truths:
    """N worlds of H×W: ``pictures`` and ``normals`` N×H×W×3, ``classes`` and ``depth`` N×H×W, all uint8.

    They are lists of memory maps, one a folder. ``people`` N×3×18×3 float32: x, y in pixels, confidence;
    ``attributes``: a dictionary each.
    """

    pictures: list[NDArray[np.uint8]]
    classes: list[NDArray[np.uint8]]
    depth: list[NDArray[np.uint8]]
    normals: list[NDArray[np.uint8]]
    people: NDArray[np.float32]
    attributes: list[dict[str, str]]

    def __len__(self) -> int:
        return len(self.attributes)


def read_truths(folders: Sequence[Path], size: Size) -> Truths:
    """The truths of folders that ``hackamore world --hint seg --hint depth --hint normal`` wrote, with ``--hint pose``
    where there are people. Held-out worlds are refused.
    """
    parts = [_read(folder, size) for folder in folders]
    return Truths(
        pictures=[p.pictures[0] for p in parts],
        classes=[p.classes[0] for p in parts],
        depth=[p.depth[0] for p in parts],
        normals=[p.normals[0] for p in parts],
        people=np.concatenate([p.people for p in parts]),
        attributes=[row for p in parts for row in p.attributes],
    )


def people_array(pictures: Sequence[People], size: Size) -> NDArray[np.float32]:
    """People of pictures as N×3×18×3, in pixels of pictures of ``size``; who is missing has confidence 0."""
    array = np.zeros((len(pictures), MOST_PEOPLE, len(JOINTS), 3), np.float32)
    for place, picture in enumerate(pictures):
        scale = size[0] / picture.size[0], size[1] / picture.size[1]
        for k, person in enumerate(picture.people[:MOST_PEOPLE]):
            array[place, k] = person.moved(scale).body
    return array


def _read(folder: Path, size: Size) -> Truths:
    pairs = training_pairs(folder)
    paths = [pair.picture for pair in pairs]
    absent = [part for part in ("seg", "depth", "normal") if not (folder / part).is_dir()]
    if absent:
        raise HackamoreError(
            f"{folder} lacks the truths {', '.join(absent)}",
            remedy=f"hackamore world --out {folder} --hint seg --hint depth --hint normal --hint pose",
        )
    cache = folder / ".cache"
    classes = cached(
        cache,
        ("classes", size, stamps(paths)),
        lambda: np.stack([palette.read(np.asarray(picture)) for picture in hint_array("seg", folder, size)]),
    )
    depth = cached(
        cache, ("depth", size, stamps(paths)), lambda: np.ascontiguousarray(hint_array("depth", folder, size)[..., 0])
    )
    points = [folder / "people" / f"{path.stem}.json" for path in paths]
    nobody = People((), size)
    people = people_array([first_people(path) if path.exists() else nobody for path in points], size)
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").split("\n")
    attributes = [json.loads(line)["attributes"] for line in lines if line.strip()]
    return Truths(
        [picture_array(paths, size, cache)],
        [classes],
        [depth],
        [hint_array("normal", folder, size)],
        people,
        attributes,
    )
