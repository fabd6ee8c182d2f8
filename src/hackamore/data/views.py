"""How an example is seen: which part of it, how large, and whether mirrored. Picture and hint are seen alike."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from hackamore.annotators.hinting import fit_hint
from hackamore.annotators.recognise import family
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size, resize
from hackamore.core.skeleton import People

SLACK = 0.02
"""By such a share the aspect ratio of a hint may differ from its picture's; the two are cropped alike then."""
LEAST_CROP = 0.75
"""A crop beside the middle keeps at least this share of the sides of the largest one."""
WIDEST = 2.5
"""The longer side of a bucket is at most so many times the shorter one."""


@dataclass(frozen=True)
class View:
    """A rectangle of a picture of ``whole`` = (width, height), brought to ``size``, then mirrored where ``flip``.

    ``box``: left, top, width and height in whole pixels of that picture.
    """

    whole: Size
    box: tuple[int, int, int, int]
    size: Size
    flip: bool = False

    def picture(self, picture: Picture) -> Picture:
        """What is seen of the picture, H×W×3 uint8 at ``size``."""
        return self._turned(resize(self._cut(picture), self.size, "stretch"))

    def hint(self, hint: Picture, kind: str, name: str = "the hint") -> Picture:
        """What is seen of its hint, which may have another resolution but not another aspect ratio.

        Classes stay classes and thin lines thin; mirrored normals point to the other side.
        """
        height, width = hint.shape[:2]
        if abs(width * self.whole[1] / (height * self.whole[0]) - 1) > SLACK + 1e-9:
            raise HackamoreError(
                f"{name} has another aspect ratio than its picture, so that they cannot be cropped alike",
                received=f"{width}×{height}",
                expected=f"that of {self.whole[0]}×{self.whole[1]}",
            )
        cut = self._cut(hint)
        if self.flip and family(kind) == "normal":
            cut = turned_normals(cut)  # before it is scaled, while what has no surface is still quite black
        return self._turned(fit_hint(cut, kind, self.size, "stretch"))

    def people(self, people: People) -> People:
        """The people in the view's pixels; mirrored, who was on the left is on the right, limb by limb."""
        left, top, width, height = self._box(people.size)
        scale = self.size[0] / width, self.size[1] / height
        moved = tuple(person.moved(scale, (-left * scale[0], -top * scale[1])) for person in people.people)
        return People(tuple(p.flipped(self.size[0]) for p in moved) if self.flip else moved, self.size)

    def _box(self, whole: Size) -> tuple[int, int, int, int]:
        """The rectangle in pixels of another resolution."""
        if whole == self.whole:
            return self.box
        x, y = whole[0] / self.whole[0], whole[1] / self.whole[1]
        left, top, width, height = self.box
        right, bottom = round((left + width) * x), round((top + height) * y)
        left, top = min(round(left * x), whole[0] - 1), min(round(top * y), whole[1] - 1)
        return left, top, max(1, right - left), max(1, bottom - top)

    def _cut(self, picture: Picture) -> Picture:
        left, top, width, height = self._box((picture.shape[1], picture.shape[0]))
        return np.ascontiguousarray(picture[top : top + height, left : left + width])

    def _turned(self, picture: Picture) -> Picture:
        return np.asarray(cv2.flip(picture, 1), np.uint8) if self.flip else picture


def view_of(whole: Size, size: Size, crop: int = 0, flip: bool = False, name: str = "") -> View:
    """The ``crop``-th view of a picture of ``whole``: 0 is the largest in the middle, as resize mode ``crop`` takes it.

    The others are smaller and lie anywhere; which they are depends on ``crop`` and the example's ``name`` alone.
    """
    factor = max(size[0] / whole[0], size[1] / whole[1])
    width, height = max(1, round(size[0] / factor)), max(1, round(size[1] / factor))
    left, top = (whole[0] - width) // 2, (whole[1] - height) // 2
    if crop:
        digest = hashlib.blake2b(f"{crop} {name}".encode(), digest_size=12).digest()
        shrink, x, y = (int.from_bytes(digest[4 * k : 4 * k + 4]) / 2**32 for k in range(3))
        share = LEAST_CROP + (1 - LEAST_CROP) * shrink
        width, height = max(1, round(width * share)), max(1, round(height * share))
        left, top = round((whole[0] - width) * x), round((whole[1] - height) * y)
    return View(whole, (left, top, width, height), size, flip)


def turned_normals(hint: Picture) -> Picture:
    """A picture of normals with its x axis turned round; black, where there is no surface, stays."""
    known = hint.any(axis=2)
    turned = hint.copy()
    turned[known, 0] = 255 - turned[known, 0]
    return turned


@lru_cache(maxsize=16)
def buckets(size: Size, multiple: int) -> tuple[Size, ...]:
    """``size`` and the others of about its area whose sides are multiples of ``multiple``, at most 2.5 to 1."""
    area = size[0] * size[1]
    found = {size}
    for width in range(multiple, math.isqrt(int(area * WIDEST)) + multiple, multiple):
        height = max(1, round(area / width / multiple)) * multiple
        if max(width, height) <= WIDEST * min(width, height) and 0.8 <= width * height / area <= 1.2:
            found.add((width, height))
    return tuple(sorted(found))


def bucket_for(whole: Size, size: Size, multiple: int) -> Size:
    """The bucket whose aspect ratio is nearest to the picture's; of two alike ``size``, then the larger one."""
    aspect = math.log(whole[0] / whole[1])
    return min(
        buckets(size, multiple),
        key=lambda b: (round(abs(math.log(b[0] / b[1]) - aspect), 9), b != size, -b[0] * b[1]),
    )


def bucket_multiple(size: Size, multiple: int, levels: int) -> int:
    """What the sides of buckets are multiples of: what a network of so many ``levels`` halves without a rest.

    That is 2^(levels − 1) times the base's ``multiple``; from 256 pixels on it is 64 at least.
    """
    return max(multiple << max(levels - 1, 0), 64 if min(size) >= 256 else multiple)
