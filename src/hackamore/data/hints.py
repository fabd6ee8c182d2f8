"""Hints for training: read from files, or made from the pictures with random settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hackamore.annotators.canny import Canny
from hackamore.annotators.hinting import fit_hint
from hackamore.annotators.recognise import THIN, family
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Size, load_picture, to_hint
from hackamore.data.cache import cached, stamps
from hackamore.data.pairs import read_pairs

DENSITIES = (0.03, 0.16)
"""Between these shares of edge pixels training varies Canny, so that a control obeys sparse and dense edges alike."""


def hint_source(
    kind: str, folder: Path, pictures: NDArray[np.uint8], size: Size
) -> Callable[[NDArray[np.intp], Tensor], Tensor]:
    """A function (positions, uniform numbers N×2) → hints N×3×H×W in [0, 1].

    ``canny`` is made from the pictures, with a random density; every other kind is read from ``folder/<kind>``
    or, where that does not exist, from the index's own hints.
    """
    if kind == "canny":

        def edges(places: NDArray[np.intp], u: Tensor) -> Tensor:
            low, high = DENSITIES
            made = [
                Canny(density=low + (high - low) * float(share))(np.array(pictures[place]))
                for place, share in zip(places, u[:, 0], strict=True)
            ]
            return to_hint(made)

        return edges
    hints = hint_array(kind, folder, size)

    def stored(places: NDArray[np.intp], u: Tensor) -> Tensor:  # noqa: ARG001
        return to_hint(list(hints[places]))

    return stored


def hint_array(kind: str, folder: Path, size: Size) -> NDArray[np.uint8]:
    """The stored hints of a folder as one array N×H×W×3 uint8, cached."""
    pairs = read_pairs(folder, hint=kind if (folder / kind).is_dir() else None)
    bare = next((pair for pair in pairs if pair.hint is None), None)
    if bare is not None:
        raise HackamoreError(
            f"a picture of the training data has no {kind} hint",
            received=bare.picture,
            expected=f"a folder {folder / kind}, or a hint in every line of the index",
        )
    paths = [pair.hint for pair in pairs if pair.hint is not None]

    def make() -> Any:
        return np.stack([fit_hint(load_picture(path), kind, size) for path in paths])

    return cached(
        folder / ".cache", ("hints", *(("thin",) if family(kind) in THIN else ()), kind, size, stamps(paths)), make
    )
