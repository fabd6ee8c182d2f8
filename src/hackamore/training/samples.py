"""The grid of samples: what a control makes of its hints, beside what the base makes alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from hackamore.core.files import written_whole

if TYPE_CHECKING:
    from hackamore.core.image import Picture

CELL = 192
"""Pixels that the longer side of a picture has at least: smaller pictures are enlarged by a whole number."""
GAP = 6
LINES = 4
"""Lines of a caption; the rest is cut with an ellipsis."""
ROWS = ("hint", "with the control", "control off", "true picture")


@dataclass(frozen=True)
class Column:
    """One example: pictures H×W×3 uint8 of one size. ``true`` is None where there is no picture to compare with."""

    hint: Picture
    steered: Picture
    plain: Picture
    true: Picture | None
    caption: str

    @property
    def pictures(self) -> tuple[Picture | None, ...]:
        """In the order of ``ROWS``."""
        return self.hint, self.steered, self.plain, self.true


def write_grid(path: Path | str, columns: Sequence[Column]) -> None:
    """Write a PNG whose rows are hint, steered, plain (control off) and true picture, with captions under the columns.

    Columns may differ in size; every picture is enlarged by one whole number, so that its pixels stay as they are.
    A row that no column has is left out. Raises :class:`ValueError` without columns.
    """
    if not columns:
        raise ValueError("a grid of samples needs a column")
    widest = max(column.hint.shape[1] for column in columns)
    highest = max(column.hint.shape[0] for column in columns)
    factor = max(1, round(CELL / max(widest, highest)))
    width, height = widest * factor, highest * factor
    size = max(13, min(width, height) // 13)
    font = ImageFont.load_default(size)
    rows = [k for k in range(len(ROWS)) if any(column.pictures[k] is not None for column in columns)]
    title, line = size + 8, size + 4
    captions = [wrapped(column.caption, width, font) for column in columns]
    foot = line * max(map(len, captions)) + GAP
    sheet = Image.new("RGB", (GAP + (width + GAP) * len(columns), (title + height) * len(rows) + GAP + foot), "white")
    pen = ImageDraw.Draw(sheet)
    for place, k in enumerate(rows):
        top = place * (title + height)
        pen.text((GAP, top + 3), ROWS[k], fill="#555", font=font)
        for number, column in enumerate(columns):
            corner = GAP + number * (width + GAP), top + title
            _paste(sheet, column.pictures[k], corner, (width, height), factor)
    for number, words in enumerate(captions):
        corner = GAP + number * (width + GAP), len(rows) * (title + height) + GAP
        for below, text in enumerate(words):
            pen.text((corner[0], corner[1] + below * line), text, fill="black", font=font)
    with written_whole(path) as temporary:
        sheet.save(temporary)


def _paste(
    sheet: Image.Image, picture: Picture | None, corner: tuple[int, int], cell: tuple[int, int], factor: int
) -> None:
    """Put ``picture``, enlarged, into the middle of the cell at ``corner``."""
    if picture is None:
        return
    image = Image.fromarray(picture)
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    sheet.paste(image, (corner[0] + (cell[0] - image.width) // 2, corner[1] + (cell[1] - image.height) // 2))


def wrapped(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """``text`` in at most ``LINES`` lines no wider than ``width`` pixels; words that are too long are cut."""
    lines: list[str] = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], f"{lines[LINES - 1]}…"]
    return [_cut(line, width, font) for line in lines]


def _cut(line: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(line) <= width:
        return line
    words = line.removesuffix("…")
    while words and font.getlength(words + "…") > width:
        words = words[:-1]
    return words + "…"


def sample_files(folder: Path) -> list[tuple[int, Path]]:
    """Step and path of the sample pictures in ``folder``, oldest first."""
    found = [(re.fullmatch(r"step-(\d+)\.png", path.name), path) for path in folder.glob("step-*.png")]
    return sorted((int(match[1]), path) for match, path in found if match)
