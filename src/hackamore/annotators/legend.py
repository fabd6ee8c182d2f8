"""A palette's legend: which colour is which class, as a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture
from hackamore.core.palette import Palette

ROW, SWATCH, MARGIN, LETTERS = 24, 32, 8, 14
ROWS = 32
"""Rows of a column at most."""


def legend(palette: Palette, classes: NDArray[np.uint8] | None = None) -> Picture:
    """Swatches with their names, H×W×3: all of a palette, or those that occur in ``classes`` H×W, in its order."""
    shown = list(range(len(palette.names))) if classes is None else np.unique(classes).tolist()
    if not shown:
        raise HackamoreError("a legend of no classes", expected="at least one pixel")
    font = ImageFont.load_default(LETTERS)
    columns = -(-len(shown) // ROWS)
    rows = -(-len(shown) // columns)
    wide = SWATCH + 3 * MARGIN + max(round(font.getlength(palette.names[number])) for number in shown)
    picture = Image.new("RGB", (columns * wide + MARGIN, rows * ROW + 2 * MARGIN), "white")
    draw = ImageDraw.Draw(picture)
    for place, number in enumerate(shown):
        x, y = MARGIN + place // rows * wide, MARGIN + place % rows * ROW
        colour = tuple(int(channel) for channel in palette.colours[number])
        draw.rectangle((x, y + 3, x + SWATCH - 1, y + ROW - 4), fill=colour, outline=(128, 128, 128))
        draw.text((x + SWATCH + MARGIN, y + ROW // 2), palette.names[number], fill="black", font=font, anchor="lm")
    return np.array(picture)
