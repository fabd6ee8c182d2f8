"""A finished picture in another manner: watercolour, pixel art, ink. Its truth stays what it was."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.grid import Floats
from hackamore.worlds.jit import compiled
from hackamore.worlds.noise import fbm, value_noise
from hackamore.worlds.plan import Weights, pick

STREAM = 17
"""Second seed of the styles' random numbers."""
STYLES: Weights = {"watercolour": 0.36, "pixel art": 0.32, "ink": 0.32}
LEVELS = 7
"""Steps of each channel of pixel art."""
WASHES = 4
"""Greys of an ink drawing, paper among them."""
BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) / 16.0 - 0.47
PAPER = np.array([0.96, 0.94, 0.88], np.float32)


def choose_style(seed: int, chance: float) -> str:
    """The manner of world ``seed``, "photo" mostly; a greater chance only adds."""
    rng = np.random.default_rng((seed, STREAM))
    return pick(rng, STYLES) if rng.random() < chance else "photo"


def restyle(style: str, picture: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """``picture`` H×W×3 in the manner; "photo" is the picture itself."""
    if style == "photo":
        return picture
    colour = picture.astype(np.float32) / 255.0
    shift = float(np.random.default_rng((seed, STREAM, 1)).uniform(0.0, 60.0))
    unit = max(picture.shape[0] * picture.shape[1], 1) ** 0.5 / 128.0
    made = {"watercolour": _watercolour, "pixel art": _pixel_art, "ink": _ink}[style](colour, unit, shift)
    return np.asarray(np.clip(made * 255.0 + 0.5, 0, 255).astype(np.uint8))


@compiled
def _flattened(colour: Floats, radius: int, made: Floats) -> None:
    """Of four quadrants around each pixel the mean of the one that varies least (Kuwahara et al. 1976)."""
    rows, columns, _ = colour.shape
    for y in range(rows):
        for x in range(columns):
            least = 1e9
            for q in range(4):
                y0 = y - radius if q < 2 else y
                x0 = x - radius if q % 2 == 0 else x
                n, r, g, b, squares = 0, 0.0, 0.0, 0.0, 0.0
                for dy in range(radius + 1):
                    for dx in range(radius + 1):
                        yy, xx = min(max(y0 + dy, 0), rows - 1), min(max(x0 + dx, 0), columns - 1)
                        cr, cg, cb = colour[yy, xx, 0], colour[yy, xx, 1], colour[yy, xx, 2]
                        n += 1
                        r, g, b = r + cr, g + cg, b + cb
                        squares += cr * cr + cg * cg + cb * cb
                r, g, b = r / n, g / n, b / n
                spread = squares / n - (r * r + g * g + b * b)
                if spread < least:
                    least = spread
                    made[y, x, 0], made[y, x, 1], made[y, x, 2] = r, g, b


@compiled
def _paper(grain: Floats, unit: float, shift: float) -> None:
    """Fine tooth (0) and blooms of pigment (1) of a sheet, each about -0.5 to 0.5."""
    rows, columns, _ = grain.shape
    for y in range(rows):
        for x in range(columns):
            px, py = x / unit, y / unit
            grain[y, x, 0] = value_noise(px * 0.9 + shift, py * 0.9) - 0.5
            grain[y, x, 1] = fbm(px * 0.055 + shift, py * 0.055 + shift, 3.0)


def _sheet(colour: Floats, unit: float, shift: float) -> Floats:
    grain = np.empty((*colour.shape[:2], 2), np.float32)
    _paper(grain, unit, shift)
    return grain


def _edges(colour: Floats) -> Floats:
    """Magnitude of the gradient of H×W×3, the strongest channel, H×W."""
    padded = np.pad(colour, ((1, 1), (1, 1), (0, 0)), mode="edge")
    across = padded[1:-1, 2:] - padded[1:-1, :-2]
    down = padded[2:, 1:-1] - padded[:-2, 1:-1]
    return np.asarray(np.sqrt(across**2 + down**2).max(axis=2))


def _watercolour(colour: Floats, unit: float, shift: float) -> Floats:
    """Washes with dark rims and white paper shining through."""
    flat = np.empty_like(colour)
    _flattened(np.ascontiguousarray(colour), max(2, round(3 * unit)), flat)
    grain = _sheet(colour, unit, shift)
    rims = np.clip(_edges(flat) * 1.1 - 0.05, 0.0, 0.45)[..., None]
    wash = 1.0 - (1.0 - flat) * (0.80 + 0.55 * grain[..., 1:])
    wash = wash * (1.0 - rims) + 0.06 * grain[..., :1]
    grey = wash.mean(axis=2, keepdims=True)
    wash = grey + (wash - grey) * 1.15
    return np.asarray((0.10 + 0.90 * wash) * PAPER)


def _pixel_art(colour: Floats, unit: float, _: float) -> Floats:
    """Large square pixels of few colours, dithered in order."""
    side = max(2, round(4 * unit))
    rows, columns = colour.shape[:2]
    tall, wide = -(-rows // side), -(-columns // side)
    padded = np.pad(colour, ((0, tall * side - rows), (0, wide * side - columns), (0, 0)), mode="edge")
    small = padded.reshape(tall, side, wide, side, 3).mean(axis=(1, 3))
    grey = small.mean(axis=2, keepdims=True)
    small = np.clip(grey + (small - grey) * 1.3, 0.0, 1.0)
    dither = np.tile(BAYER, (-(-tall // 4), -(-wide // 4)))[:tall, :wide, None] * 0.4
    steps = np.floor(small * (LEVELS - 1) + dither + 0.5) / (LEVELS - 1)
    large = np.repeat(np.repeat(np.clip(steps, 0.0, 1.0), side, axis=0), side, axis=1)
    return np.asarray(large[:rows, :columns])


def _ink(colour: Floats, unit: float, shift: float) -> Floats:
    """Dark outlines, and a few flat greys with faint strokes, on paper."""
    flat = np.empty_like(colour)
    _flattened(np.ascontiguousarray(colour), max(1, round(1.5 * unit)), flat)
    tone = flat @ np.array([0.3, 0.59, 0.11], np.float32)
    low, high = np.percentile(tone, [3, 97])
    tone = np.clip((tone - low) / max(float(high - low), 0.15), 0.0, 1.0)
    lines = np.clip((_edges(flat) - 0.07) * 6.0, 0.0, 1.0)
    grain = _sheet(colour, unit, shift)
    y, x = np.mgrid[: colour.shape[0], : colour.shape[1]].astype(np.float32) / np.float32(unit)
    stroke = np.sin((0.62 * x + 0.62 * y + 2.0 * grain[..., 1]) * np.float32(1.1)) * 0.5 + 0.5
    wash = np.round((1.0 - tone + 0.10 * grain[..., 1]) * (WASHES - 1)) / (WASHES - 1)
    wash = 0.66 * np.clip(wash, 0.0, 1.0) + 0.09 * stroke * (wash > 0.3)
    dark = np.maximum(lines, wash) * (0.95 + 0.15 * grain[..., 0])
    ink = np.array([0.08, 0.08, 0.12], np.float32)
    paper = PAPER * (1.0 + 0.03 * grain[..., :1])
    return np.asarray(paper + (ink - paper) * np.clip(dark, 0.0, 1.0)[..., None])
