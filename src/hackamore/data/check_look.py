"""What a dry run looks at in one pair: sizes, ranges, polarity, colours, and marks by which the same is known again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np

from hackamore.annotators.recognise import SOFT, THIN, family, recognise
from hackamore.core.image import Picture, Size
from hackamore.data.check_kinds import few_colours, other_kind

LOOKALIKE = ("tile", "blur", "color", "shuffle", "recolor", "inpaint")
"""Kinds whose hints are pictures themselves, so that a hint may well be like its picture."""
FLAT = 3
"""A hint whose values differ by no more than this says nothing."""
UNSCALED = 8
"""A hint that is not black all over and never brighter than this holds 0 and 1 instead of 0 and 255."""
NEAR = 2.0
"""Mean difference, of 255, below which two small grey pictures count as the same one."""


@dataclass(frozen=True)
class HintLook:
    """One hint: ``low`` and ``high`` are its least and greatest values, ``digest`` the mark of its content.

    ``looks``: like a hint of its kind. ``turned``: black on white, or red and blue exchanged. ``numbers``: class
    numbers in place of colours. ``same``: the picture over again. ``slope``: of a depth map, the correlation of
    brightness with the row, 1 where the bottom is white.
    """

    kind: str
    size: Size
    digest: str
    low: int
    high: int
    looks: bool = True
    turned: bool = False
    numbers: bool = False
    same: bool = False
    slope: float | None = None

    @property
    def flat(self) -> bool:
        """Whether it says nothing."""
        return self.high - self.low <= FLAT and not self.unscaled

    @property
    def unscaled(self) -> bool:
        """Whether it holds 0 and 1 where 0 and 255 are meant."""
        return 0 < self.high <= UNSCALED and self.low < self.high


@dataclass(frozen=True)
class Look:
    """One pair: ``size`` is that of the picture's file, ``digest`` the mark of its content.

    ``fault``: why it cannot be read, empty where it can.
    """

    name: str
    size: Size = (0, 0)
    digest: str = ""
    hints: tuple[HintLook, ...] = ()
    fault: str = ""


def look_at_hint(hint: Picture, kind: str, picture: Picture) -> HintLook:
    """Look at one hint H×W×3 uint8 as its file has it, beside its picture."""
    alike = family(kind)
    seen = recognise(hint, kind)
    grey = bool((hint.max(axis=2) == hint.min(axis=2)).all())
    high = int(hint.max())
    looks = (seen.is_hint or (alike == "seg" and few_colours(hint))) and not other_kind(seen.picture, kind)
    return HintLook(
        kind=kind,
        size=(hint.shape[1], hint.shape[0]),
        digest=mark(hint),
        low=int(hint.min()),
        high=high,
        looks=looks,
        turned=seen.picture is not hint or (alike == "normal" and _red_leads(hint)),
        numbers=alike == "seg" and grey and not seen.is_hint and len(np.unique(hint[..., 0])) <= 256 and high < 200,
        same=alike not in LOOKALIKE and _same(hint, picture),
        slope=_slope(hint) if alike == "depth" else None,
    )


def mark(picture: Picture) -> str:
    """A mark of a picture's content: equal pixels have equal marks, whatever the file."""
    shape = np.array(picture.shape, np.int64).tobytes()
    return hashlib.blake2b(np.ascontiguousarray(picture).tobytes(), digest_size=16, key=shape).hexdigest()


def lines(kind: str) -> bool:
    """Whether hints of ``kind`` are white lines on black."""
    return family(kind) in (*THIN, *SOFT)


def _same(hint: Picture, picture: Picture) -> bool:
    if hint.shape == picture.shape and np.array_equal(hint, picture):
        return True
    if (hint.max(axis=2) == hint.min(axis=2)).all():  # a grey copy
        picture = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    small = [cv2.resize(one, (48, 48), interpolation=cv2.INTER_AREA).astype(np.float32) for one in (hint, picture)]
    if min(float(one.std()) for one in small) < NEAR:  # flat ones are alike without being the same
        return False
    return float(np.abs(small[0] - small[1]).mean()) < NEAR


def _red_leads(hint: Picture) -> bool:
    """Normals face the viewer, so blue has the largest mean; where red has it and blue the least, it is BGR."""
    lit = hint.reshape(-1, 3)[hint.reshape(-1, 3).max(axis=1) > 8]
    if len(lit) < 16:
        return False
    red, green, blue = lit.mean(axis=0)
    return bool(red > green + 8 and red > blue + 24)


def _slope(hint: Picture) -> float | None:
    grey = cv2.resize(hint, (32, 32), interpolation=cv2.INTER_AREA).mean(axis=2)
    rows = np.repeat(np.arange(32.0)[:, None], 32, axis=1)
    spread = float(grey.std() * rows.std())
    return float(((grey - grey.mean()) * (rows - rows.mean())).mean()) / spread if spread > 1e-6 else None
