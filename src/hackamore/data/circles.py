"""Circles to fill: the smallest paired data that shows whether a control learns.

A filled circle on a flat ground; the hint is its outline, the caption names both colours. The idea is that of the
ControlNet tutorial's data: the place must come from the hint, the colours from the caption.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hackamore.core.errors import HackamoreError
from hackamore.core.files import written_whole
from hackamore.core.image import Picture, load_picture

COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (0, 0, 0), "grey": (128, 128, 128), "silver": (192, 192, 192), "white": (255, 255, 255),
    "tan": (210, 180, 140), "khaki": (240, 230, 140), "pink": (255, 192, 203), "plum": (221, 160, 221),
    "salmon": (250, 128, 114), "sienna": (160, 82, 45), "olive": (128, 128, 0), "navy": (0, 0, 128),
}  # fmt: skip
"""CSS colours that the smallest base can paint, and with names of one short word, so that captions fit its encoder.

Pure red or green is no colour of a landscape: Meadow's autoencoder returns them up to 97 levels away, these within 29.
"""

APART = 120.0
"""A circle and its ground differ by at least this distance in RGB: neighbours such as pink and plum never meet."""
LEAST_SIDE, MOST_SIDE = 16, 4096
MOST = 1_000_000
PICTURES, HINTS = "target", "source"
LAYOUTS = {
    "prompt.json": ("source", "target", "prompt"),
    "metadata.jsonl": ("conditioning_image_file_name", "image_file_name", "text"),
}
"""The indexes and their columns: hint, picture, caption."""


@dataclass(frozen=True)
class Circle:
    """One circle: its centre and radius as shares of the shorter side, measured from the middle; two colours."""

    x: float
    y: float
    radius: float
    colour: str
    ground: str

    @property
    def caption(self) -> str:
        """What a user would say of it."""
        article = "an" if self.colour[0] in "aeiou" else "a"
        other = "an" if self.ground[0] in "aeiou" else "a"
        return f"{article} {self.colour} circle on {other} {self.ground} ground"

    def picture(self, size: tuple[int, int]) -> Picture:
        """The filled circle, its edge blended over one pixel, H×W×3 uint8; ``size`` is (width, height)."""
        inside = np.clip(0.5 - self._beyond(size), 0, 1)[..., None]
        blended = inside * np.array(COLOURS[self.colour]) + (1 - inside) * np.array(COLOURS[self.ground])
        return np.asarray(blended + 0.5, np.uint8)

    def hint(self, size: tuple[int, int]) -> Picture:
        """Its outline, white on black, one pixel wide for every 256 of the shorter side, H×W×3 uint8."""
        wide = max(1, round(min(size) / 256))
        line = np.abs(self._beyond(size)) <= wide / 2
        return np.repeat(np.where(line, np.uint8(255), np.uint8(0))[..., None], 3, axis=2)

    def _beyond(self, size: tuple[int, int]) -> NDArray[np.float64]:
        """How many pixels each pixel's centre lies outside the circle, H×W; inside it is negative."""
        side = min(size)
        across, down = ((np.arange(n) + 0.5 - n / 2) / side for n in size)
        distance: NDArray[np.float64] = np.hypot(across[None] - self.x, down[:, None] - self.y) - self.radius
        return distance * side


def make_circle(number: int) -> Circle:
    """Circle ``number``: always the same one, wholly inside the picture, its colours well apart."""
    draw = np.random.default_rng(number)
    radius = float(draw.uniform(0.12, 0.36))
    x, y = (float(draw.uniform(-1, 1) * (0.43 - radius)) for _ in range(2))
    colour, ground = COLOUR_PAIRS[int(draw.integers(len(COLOUR_PAIRS)))]
    return Circle(x, y, radius, colour, ground)


def write_circles(
    folder: Path | str,
    count: int,
    size: int | tuple[int, int] = 128,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw circles ``seed`` … ``seed + count − 1`` into ``folder`` and return it.

    Layout: ``target/NUMBER.png``, ``source/NUMBER.png`` and two indexes of all that is there, ``prompt.json`` (the
    official one, JSON lines: source, target, prompt) and ``metadata.jsonl``. ``size``: (width, height), or one number
    for a square. What an earlier call wrote is kept. ``progress`` gets (done, count).
    Raises :class:`HackamoreError` for numbers out of range, for a folder that holds another size or cannot be written.
    """
    folder = Path(folder)
    wide = (size, size) if isinstance(size, int) else size
    _check(folder, count, wide, seed)
    with ThreadPoolExecutor(8) as pool:  # threads: drawing is quick, waiting for the disk is not
        written = pool.map(lambda number: _write_one(folder, number, wide), range(seed, seed + count))
        for done, _ in enumerate(written, start=1):
            if progress is not None:
                progress(done, count)
    numbers = sorted(_numbers(folder))
    for index in LAYOUTS:
        with written_whole(folder / index) as path:
            path.write_text(_lines(index, numbers), encoding="utf-8")
    return folder


def _check(folder: Path, count: int, size: tuple[int, int], seed: int) -> None:
    if not 1 <= count <= MOST:
        raise HackamoreError("the count is out of range", received=count, expected=f"1 to {MOST:,}")
    if seed < 0 or seed + count > 10**8:
        raise HackamoreError("the seed is out of range", received=seed, expected=f"0 to {10**8 - count:,}")
    if min(size) < LEAST_SIDE or max(size) > MOST_SIDE:
        expected = f"sides of {LEAST_SIDE} to {MOST_SIDE} pixels"
        raise HackamoreError("no circle can be drawn at this size", received=f"{size[0]}×{size[1]}", expected=expected)
    _check_folder(folder, size)


def _check_folder(folder: Path, size: tuple[int, int]) -> None:
    """Other data's index is not overwritten, and all circles of a folder have one size."""
    for index in LAYOUTS:
        known = (folder / index).read_text(encoding="utf-8") if (folder / index).is_file() else ""
        if known != _lines(index, [int(number) for number in re.findall(rf'"{PICTURES}/(\d{{8}})\.png"', known)]):
            expected = "circles that this command drew, or an empty folder"
            raise HackamoreError(f"{folder} holds other data", received=folder / index, expected=expected)
    present = next((folder / PICTURES).glob("*.png"), None)
    if present is None:
        return
    height, width = load_picture(present).shape[:2]
    if (width, height) != size:
        raise HackamoreError(
            f"{folder} holds pictures of another size",
            received=f"{size[0]}×{size[1]}",
            expected=f"{width}×{height}, as they are",
            remedy="another folder",
        )


def _write_one(folder: Path, number: int, size: tuple[int, int]) -> None:
    circle = make_circle(number)
    for part, draw in ((HINTS, circle.hint), (PICTURES, circle.picture)):
        path = folder / part / f"{number:08d}.png"
        if not path.exists():
            with written_whole(path) as temporary:
                Image.fromarray(draw(size)).save(temporary, compress_level=1)


def _numbers(folder: Path) -> Iterable[int]:
    """The circles that are there, hint and picture: none of another origin, and nothing half written."""
    names = (path.stem for path in (folder / PICTURES).glob("*.png") if (folder / HINTS / path.name).exists())
    return (int(name) for name in names if name.isdecimal() and len(name) == 8)


def _lines(index: str, numbers: Iterable[int]) -> str:
    """The text of an index: one JSON object a circle."""
    rows = ((f"{HINTS}/{n:08d}.png", f"{PICTURES}/{n:08d}.png", make_circle(n).caption) for n in numbers)
    return "".join(json.dumps(dict(zip(LAYOUTS[index], row, strict=True))) + "\n" for row in rows)


def _apart(one: str, other: str) -> bool:
    return float(np.linalg.norm(np.subtract(COLOURS[one], COLOURS[other]))) >= APART


COLOUR_PAIRS: tuple[tuple[str, str], ...] = tuple(
    (colour, ground) for colour in COLOURS for ground in COLOURS if _apart(colour, ground)
)
"""All (circle, ground) colours that can be told apart."""
