"""Is a picture a hint of its kind already, and the right way round? Told from its content, never from its name."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hackamore.core.image import Picture
from hackamore.core.palette import PALETTES, Palette

THIN = ("canny", "mlsd", "scribble", "scribble_drawing")
SOFT = ("softedge", "lineart")
DARK, LIGHT = 48, 207
"""Below and above these values a pixel of a line hint is background or line."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Recognised:
    """What a picture is, seen as a hint of a kind.

    ``is_hint``: it looks like one (True also for kinds that anything may be a hint of). ``certain``: it can hardly be
    anything else. ``picture``: with polarity and colour order mended. ``notices``: what was mended, or looks wrong.
    """

    picture: Picture
    is_hint: bool = True
    certain: bool = False
    notices: tuple[str, ...] = ()


def family(kind: str) -> str:
    """The kind whose hints look alike: ``softedge`` for ``softedge_hed``, ``normal`` for ``normal_bae``."""
    if kind in THIN or kind in SOFT:
        return kind
    alike = {"mlsd_network": "mlsd", "seg_meadow": "seg", "seg_ade20k": "seg", "pose_json": "pose"}
    first = kind.partition("_")[0]
    return alike.get(kind, first if first in ("softedge", "scribble", "lineart", "normal", "depth") else kind)


def recognise(picture: Picture, kind: str) -> Recognised:
    """Look at a picture H×W×3 uint8 that is meant as a hint of ``kind``."""
    kind = family(kind)
    if kind in THIN or kind in SOFT:
        return _lines(picture, kind)
    look = {"seg": _seg, "normal": _normal, "pose": _pose, "depth": _depth}.get(kind)
    return Recognised(picture) if look is None else look(picture)


def _chroma(picture: Picture) -> NDArray[np.uint8]:
    return np.asarray(picture.max(axis=2) - picture.min(axis=2))


def _lines(picture: Picture, kind: str) -> Recognised:
    """White on black: grey, mostly background, most of the rest lines; black on white is turned round."""
    grey, chroma = picture.mean(axis=2), _chroma(picture)
    dark, light = float((grey < DARK).mean()), float((grey > LIGHT).mean())
    wide = 0.55 if kind in SOFT else 0.8
    is_hint = float(chroma.mean()) < 6 and max(dark, light) > 0.55 and dark + light > wide
    pure = float((chroma <= 2).mean()) > 0.999 and float(((grey < 16) | (grey > 239)).mean()) > 0.97
    certain = is_hint and pure and 0.001 < min(dark, light) < 0.35
    if is_hint and light > dark:
        return Recognised(255 - picture, True, certain, (f"the {kind} hint was black on white; it was inverted",))
    return Recognised(picture, is_hint, certain)


def _seg(picture: Picture) -> Recognised:
    """Colours of a known palette; the same with red and blue exchanged are put right."""
    right, swapped = (
        max(in_palette(np.asarray(p), known) for known in PALETTES.values()) for p in (picture, picture[..., ::-1])
    )
    if swapped > 0.6 and swapped > right + 0.2:
        mended = np.ascontiguousarray(picture[..., ::-1])
        return Recognised(mended, True, True, ("the seg hint had red and blue exchanged (BGR); it was put right",))
    return Recognised(picture, right > 0.5, right > 0.98)


def in_palette(picture: Picture, known: Palette, tolerance: int = 6) -> float:
    """The share of pixels that have a colour of the palette."""
    small = cv2.resize(picture, (96, 96), interpolation=cv2.INTER_NEAREST).reshape(-1, 3)
    packed, counts = np.unique(small @ np.array([65536, 256, 1], np.uint32), return_counts=True)  # few, if it is one
    colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.int16)
    distance = np.abs(colours[:, None] - known.colours[None].astype(np.int16)).max(axis=2).min(axis=1)
    return float(counts[distance <= tolerance].sum() / counts.sum())


def _normal(picture: Picture) -> Recognised:
    """Unit vectors that face the viewer: blue lies above its middle, while red lies on both sides; in BGR it is red."""
    vectors = picture.reshape(-1, 3).astype(np.float64) / 127.5 - 1
    vectors = vectors[picture.reshape(-1, 3).max(axis=1) > 8]
    if len(vectors) < 16:
        return Recognised(picture, False)
    unit = float((np.abs(np.linalg.norm(vectors, axis=1) - 1) < 0.08).mean())
    if unit < 0.75:
        return Recognised(picture, False)
    red, blue = ((v * np.abs(v)).sum() / max((v * v).sum(), 1e-9) for v in (vectors[:, 0], vectors[:, 2]))
    if red - blue > 0.25 and red > 0.3:
        mended = np.ascontiguousarray(picture[..., ::-1])
        return Recognised(mended, True, True, ("the normal hint had red and blue exchanged (BGR); it was put right",))
    return Recognised(picture, True, unit > 0.97)


def _pose(picture: Picture) -> Recognised:
    """Coloured limbs on black; the arms' warm colours stand above the legs' cold ones, or else it is BGR."""
    lit = picture.max(axis=2) > 40
    drawn = float(lit.mean())
    strong = float((_chroma(picture)[lit] > 60).mean()) if lit.any() else 0.0
    if not 0.0005 < drawn < 0.5 or strong < 0.5:
        return Recognised(picture, False)
    hue, saturation, value = np.moveaxis(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV), 2, 0)
    bold = (saturation > 150) & (value > 60)
    warm, cold = (np.nonzero(bold & (hue >= a) & (hue <= b))[0] for a, b in ((0, 30), (75, 112)))
    least = 0.0002 * hue.size
    if len(warm) > least and len(cold) > least and warm.mean() - cold.mean() > 0.03 * len(picture):
        mended = np.ascontiguousarray(picture[..., ::-1])
        return Recognised(mended, True, True, ("the pose hint had red and blue exchanged (BGR); it was put right",))
    return Recognised(picture, True, True)


def _depth(picture: Picture) -> Recognised:
    """Grey; what is at the bottom of a picture is near nearly always, so it should be the lighter part."""
    if float(_chroma(picture).mean()) > 8:
        return Recognised(picture, False)
    grey = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA).mean(axis=2)
    rows = np.repeat(np.arange(64.0)[:, None], 64, axis=1)
    spread = float(grey.std())
    slope = float(((grey - grey.mean()) * (rows - rows.mean())).mean()) / (spread * float(rows.std())) if spread else 0
    if slope < -0.5:
        told = "the depth hint is dark at the bottom: near should be white; kind invert turns it round"
        return Recognised(picture, True, False, (told,))
    return Recognised(picture)
