"""The stored hints of a folder as one array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hackamore.annotators.hinting import fit_hint
from hackamore.annotators.recognise import THIN, family
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Size, load_picture
from hackamore.data.cache import cached, stamps
from hackamore.data.pairs import read_pairs


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
