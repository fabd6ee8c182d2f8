"""What of a caption training does not read: it takes what a text encoder reads at a time, and no further chunks."""

from __future__ import annotations

from collections.abc import Callable

from hackamore.bases.base import Base
from hackamore.bases.text import READING


def unread(base: Base) -> Callable[[str], str]:
    """A function: caption → the end of it that ``base`` is not trained on; empty where all of it is."""
    if not callable(getattr(base, "encoders", None)):
        return base.words_lost
    encoder = base.encoders()[0]  # type: ignore[attr-defined]  # both of SDXL's cut alike

    def end(caption: str) -> str:
        with READING:
            ids = encoder.tokenizer(caption, add_special_tokens=False, verbose=False).input_ids
        return str(encoder.tokenizer.decode(ids[encoder.length - 2 :])).strip()

    return end
