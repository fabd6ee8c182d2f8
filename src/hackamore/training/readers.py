"""How a hint is read back from pictures with a gradient: one reading for each family of kinds.

A reading takes pictures N×3×H×W in [0, 1] and their hints, of the same shape and range, and tells N numbers: how far
each picture is from its hint. They are scaled so that 0 is full agreement and the hint of another picture gives about
1, whatever the kind: a reward's weight means the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hackamore.annotators.catalog import ALIASES, annotator_class
from hackamore.annotators.recognise import family
from hackamore.core.errors import HackamoreError
from hackamore.core.palette import COLOURS
from hackamore.core.section import setting
from hackamore.training.contours import lab, line_art, scribbles, soft_edges
from hackamore.training.edges import apart, blurred, canny
from hackamore.training.reader_network import Read, Reader, load_reader

Reading = Callable[[Tensor, Tensor], Tensor]
"""Pictures N×3×H×W and hints N×3×H×W, both in [0, 1] → N numbers, 0 where they agree."""

SCALES = {"seg": 4.0, "depth": 0.1, "normal": 0.25, "color": 0.2, "blur": 0.25, "tile": 0.25, "recolor": 0.25}
"""What worlds and the hints of other worlds give before scaling, about; drawings of lines need none."""
STROKES = 2.0
"""Blur, in pixels, under which scribbles are compared: hands are not exact."""
NETWORK = ("seg", "depth", "normal")
"""Kinds that a reader network reads."""


def make_reading(kind: str, reader: Path | None = None, parameters: Mapping[str, Any] | None = None) -> Reading:
    """The reading of hints of ``kind``.

    ``reader``: weights of a reader network, which seg, depth and normal need. ``parameters``: the annotator's, as far
    as the reading has a use for them: scales, texture, sigma, threshold, cell, factor, gamma; of a pair the middle.
    Raises :class:`HackamoreError` for a kind without a reading, and for a missing or unfit reader.
    """
    alike = family(ALIASES.get(kind, kind))
    if alike in NETWORK:
        if reader is None:
            raise HackamoreError(
                f"a reward for {kind} needs a reader network",
                expected="the folder that the training stage reader wrote",
                remedy=setting("reward.reader", "FOLDER"),
            )
        return partial(_NETWORK[alike], load_reader(reader))
    if alike not in _PLAIN:
        raise HackamoreError(
            f"there is no reward for {kind}: nothing reads it back with a gradient",
            expected=", ".join(sorted((*NETWORK, *_PLAIN))),
            remedy=setting("reward.weight", 0),
        )
    told = {name: _settled(value) for name, value in (parameters or {}).items()}
    return partial(_PLAIN[alike], _values(alike, told))


def _values(kind: str, told: dict[str, Any]) -> dict[str, Any]:
    """All parameters of a kind's annotator: as told, else its own."""
    fields = annotator_class(kind).model_fields
    return {name: told.get(name, field.default) for name, field in fields.items()}


def _settled(value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        middle = (value[0] + value[1]) / 2
        return round(middle) if all(isinstance(end, int) for end in value) else middle
    return value


def classes_of(hint: Tensor) -> Tensor:
    """Class indices N×H×W of the worlds' palette: the nearest colour's."""
    colours = torch.from_numpy(COLOURS).to(hint) / 255
    away = torch.cdist(hint.permute(0, 2, 3, 1).flatten(1, 2), colours[None])
    classes: Tensor = away.argmin(-1).view(-1, *hint.shape[-2:])
    return classes


def _seg(reader: Reader, pictures: Tensor, hint: Tensor) -> Tensor:
    """Cross-entropy of the classes."""
    read: Read = reader.to(pictures.device)(pictures)
    return F.cross_entropy(read.classes, classes_of(hint), reduction="none").mean((1, 2)) / SCALES["seg"]


def _depth(reader: Reader, pictures: Tensor, hint: Tensor) -> Tensor:
    """Mean difference of nearness."""
    read: Read = reader.to(pictures.device)(pictures)
    return (read.depth - hint.mean(1)).abs().mean((1, 2)) / SCALES["depth"]


def _normal(reader: Reader, pictures: Tensor, hint: Tensor) -> Tensor:
    """One minus the cosine between normals, where the hint has a surface."""
    surface = hint.amax(1) > 0
    read: Read = reader.to(pictures.device)(pictures)
    cosine = F.cosine_similarity(read.normals, hint * 2 - 1, dim=1)
    away = ((1 - cosine) * surface).sum((1, 2)) / surface.sum((1, 2)).clamp(min=1)
    return away / SCALES["normal"]


def _canny(_: Mapping[str, Any], pictures: Tensor, hint: Tensor) -> Tensor:
    """Edges as many as the hint has, whatever thresholds it was made with."""
    lines = hint.mean(1)
    return apart(canny(pictures, (lines > 0.5).float().mean((1, 2))), lines)


def _softedge(told: Mapping[str, Any], pictures: Tensor, hint: Tensor) -> Tensor:
    return apart(soft_edges(pictures, told["scales"], told["texture"]), hint.mean(1))


def _lineart(told: Mapping[str, Any], pictures: Tensor, hint: Tensor) -> Tensor:
    return apart(line_art(pictures, told["sigma"], told["threshold"]), hint.mean(1))


def _scribble(_: Mapping[str, Any], pictures: Tensor, hint: Tensor) -> Tensor:
    lines = hint.mean(1)
    return apart(scribbles(pictures, (lines > 0.5).float().mean((1, 2))), lines, STROKES)


def _color(told: Mapping[str, Any], pictures: Tensor, hint: Tensor) -> Tensor:
    """Mean colours of the hint's cells."""
    return _different(_pooled(pictures, told["cell"]), _pooled(hint, told["cell"])) / SCALES["color"]


def _blur(told: Mapping[str, Any], pictures: Tensor, hint: Tensor) -> Tensor:
    return _different(blurred(pictures, told["sigma"]), hint) / SCALES["blur"]


def _tile(told: Mapping[str, Any], pictures: Tensor, hint: Tensor) -> Tensor:
    """Both at the hint's low resolution."""
    return _different(_pooled(pictures, told["factor"]), _pooled(hint, told["factor"])) / SCALES["tile"]


def _recolor(told: Mapping[str, Any], pictures: Tensor, hint: Tensor) -> Tensor:
    """The grey that the annotator makes."""
    grey = lab(pictures)[:, :1] / 100 if told["grey"] == "luminance" else pictures.amax(1, keepdim=True)
    return _different(grey.clamp(min=1e-4) ** told["gamma"], hint.mean(1, keepdim=True)) / SCALES["recolor"]


def _pooled(maps: Tensor, cell: float) -> Tensor:
    """Means over cells of about ``cell`` pixels, whole ones."""
    height, width = (max(1, round(side / cell)) for side in maps.shape[-2:])
    return F.adaptive_avg_pool2d(maps, (height, width))


def _different(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().mean((1, 2, 3))


_NETWORK: dict[str, Callable[[Reader, Tensor, Tensor], Tensor]] = {"seg": _seg, "depth": _depth, "normal": _normal}
_PLAIN: dict[str, Callable[[Mapping[str, Any], Tensor, Tensor], Tensor]] = {
    "canny": _canny,
    "softedge": _softedge,
    "lineart": _lineart,
    "scribble": _scribble,
    "color": _color,
    "blur": _blur,
    "tile": _tile,
    "recolor": _recolor,
}
