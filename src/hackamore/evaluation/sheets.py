"""Contact sheets: pictures in a grid with a line of words under each."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hackamore.core.files import written_whole


def write_sheet(
    path: Path | str, pictures: Sequence[NDArray[np.uint8]], captions: Sequence[str] = (), columns: int = 4
) -> None:
    """Write ``pictures`` (H×W×3 uint8, one size) as a PNG grid, ``captions`` under them."""
    height, width = pictures[0].shape[:2]
    strip = 34 if captions else 0
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + 4) + 4, rows * (height + strip + 4) + 4), "white")
    pen = ImageDraw.Draw(sheet)
    for place, picture in enumerate(pictures):
        left, top = 4 + place % columns * (width + 4), 4 + place // columns * (height + strip + 4)
        sheet.paste(Image.fromarray(picture), (left, top))
        if place < len(captions):
            words = textwrap.wrap(captions[place], max(10, width // 5))[:3]
            pen.multiline_text((left, top + height), "\n".join(words), fill="black", spacing=0, font_size=9)
    with written_whole(path) as temporary:
        sheet.save(temporary)
