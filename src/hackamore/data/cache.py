"""Arrays computed once from many files, kept on disk under a key of everything they depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hackamore.core.errors import HackamoreError
from hackamore.core.files import written_whole
from hackamore.core.image import load_picture


def cached(folder: Path, key: Sequence[object], make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """The array ``make()`` gives, memory-mapped from ``folder/<hash of key>.npy`` when an earlier call made it."""
    name = hashlib.sha256(repr(tuple(key)).encode()).hexdigest()[:24]
    path = folder / f"{name}.npy"
    if not path.exists():
        array = make()
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.save(file, array)
    loaded: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return loaded


def stamps(paths: Sequence[Path]) -> list[tuple[str, int]]:
    """What a cache of these files depends on: their names and when they changed. A missing one is an error.

    A name is that of the file and its folder, so that the same data, given in another way, is not computed again.
    """
    try:
        return [(f"{path.absolute().parent.name}/{path.name}", path.stat().st_mtime_ns) for path in paths]
    except FileNotFoundError as error:
        raise HackamoreError(f"a file of the training data is missing: {error.filename}") from error


def picture_array(paths: Sequence[Path], size: tuple[int, int], folder: Path, mode: str = "crop") -> NDArray[np.uint8]:
    """All pictures as one array N×H×W×3 uint8, each resized to ``size`` = (width, height) by ``mode``."""

    def make() -> NDArray[np.uint8]:
        array = np.empty((len(paths), size[1], size[0], 3), np.uint8)

        def put(place: int) -> None:
            array[place] = load_picture(paths[place], size=size, mode=mode)

        with ThreadPoolExecutor() as pool:
            list(pool.map(put, range(len(paths))))
        return array

    return cached(folder, ("pictures", size, mode, stamps(paths)), make)
