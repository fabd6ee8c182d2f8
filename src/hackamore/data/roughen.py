"""Hints as hands and photographs give them: thicker, shaken, with gaps, strokes too many, parts missing."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from hackamore.annotators.recognise import SOFT, THIN, family
from hackamore.core.image import Picture

CHANCES = {"shaken": 0.4, "thick": 0.35, "soft": 0.2, "gaps": 0.3, "strokes": 0.2, "partial": 0.15}
SHAKE = 0.012
"""By at most this share of the picture's side a shaken line is off its place."""


def roughened(hint: Picture, kind: str, u: Sequence[float], strength: float) -> Picture:
    """``hint`` H×W×3 uint8 varied as its kind may be, each way at its chance times ``strength`` (0 to 1).

    ``u``: uniform numbers from which all else is drawn. Lines vary in every way; classes, depth and normals are shaken
    and partial; people stay, since their colours and places are all they say.
    """
    if family(kind) == "pose" or strength <= 0:
        return hint
    rng = np.random.default_rng(np.frombuffer(np.asarray(u, np.float64).tobytes(), np.uint32))
    chosen = {name: rng.random() < chance * strength for name, chance in CHANCES.items()}
    lines = family(kind) in (*THIN, *SOFT)
    side = float(np.sqrt(hint.shape[0] * hint.shape[1]))
    if chosen["shaken"]:
        hint = _shaken(hint, rng, side)
    if lines and chosen["thick"]:
        hint = _thick(hint, rng, side)
    if lines and chosen["strokes"]:
        hint = _strokes(hint, rng, side)
    if lines and chosen["gaps"]:
        hint = _gaps(hint, rng)
    if lines and chosen["soft"]:
        hint = np.asarray(cv2.GaussianBlur(hint, (0, 0), float(rng.uniform(0.4, 1.2)) * side / 128), np.uint8)
    if chosen["partial"]:
        hint = _partial(hint, rng)
    return np.ascontiguousarray(hint)


def _field(rng: np.random.Generator, shape: tuple[int, ...], cells: int) -> np.ndarray:
    """Smooth noise H×W, about -1 to 1."""
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC))


def _shaken(hint: Picture, rng: np.random.Generator, side: float) -> Picture:
    """Moved here and there; colours stay those that they were."""
    reach, cells = side * SHAKE * float(rng.uniform(0.3, 1.0)), int(rng.integers(5, 20))
    y, x = np.mgrid[: hint.shape[0], : hint.shape[1]].astype(np.float32)
    dx, dy = _field(rng, hint.shape, cells) * reach, _field(rng, hint.shape, cells) * reach
    moved = cv2.remap(hint, x + dx, y + dy, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def _thick(hint: Picture, rng: np.random.Generator, side: float) -> Picture:
    """Lines two to four pixels wider at 128²."""
    width = max(2, round(float(rng.uniform(2, 4)) * side / 128))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    return np.asarray(cv2.dilate(hint, kernel), np.uint8)


def _gaps(hint: Picture, rng: np.random.Generator) -> Picture:
    """Without what lies in some blots."""
    away = _field(rng, hint.shape, int(rng.integers(6, 16))) > rng.uniform(0.15, 0.7)
    made = hint.copy()
    made[away] = 0
    return made


def _strokes(hint: Picture, rng: np.random.Generator, side: float) -> Picture:
    """With a few short strokes that nothing in the picture gives reason for."""
    made, height, width = hint.copy(), hint.shape[0], hint.shape[1]
    for _ in range(int(rng.integers(1, 8))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        turn, reach = rng.uniform(0, np.pi), rng.uniform(0.02, 0.09) * side
        end = round(float(x + np.cos(turn) * reach)), round(float(y + np.sin(turn) * reach))
        cv2.line(made, (round(float(x)), round(float(y))), end, (255, 255, 255), 1)
    return made


def _partial(hint: Picture, rng: np.random.Generator) -> Picture:
    """Black on one side of a straight cut, which leaves at least about a third."""
    turn, cut = rng.uniform(0, 2 * np.pi), rng.uniform(-0.15, 0.3)
    y, x = np.mgrid[: hint.shape[0], : hint.shape[1]].astype(np.float32)
    across = (x / hint.shape[1] - 0.5) * np.cos(turn) + (y / hint.shape[0] - 0.5) * np.sin(turn)
    made = hint.copy()
    made[across > cut] = 0
    return made
