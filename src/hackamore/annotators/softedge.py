"""Soft edges without a network: contours in grey, strong where a boundary is strong."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hackamore.annotators.annotator import Annotator
from hackamore.core.image import Picture

Floats = NDArray[np.float32]

SAFE_LEVELS = 3
FLOOR = 0.04
"""Weaker than this is noise of the camera and of JPEG."""
LEAST_STRENGTH = 2.0
"""Contrast in Lab units that counts as a full edge at least: the noise of a flat picture is not raised to edges."""


class SoftEdge(Annotator):
    """Soft grey contours, light on black, with fine texture held back, in the manner of HED."""

    kind: ClassVar[str] = "softedge"
    sized: ClassVar[bool] = True
    lines: ClassVar[bool] = True
    seeks: ClassVar[tuple[str, str] | None] = ("edges", "a larger scales, or a lower texture")

    scales: int = Field(3, ge=1, le=5, description="how many scales are looked at, each twice as coarse as the last")
    texture: float = Field(0.8, ge=0, le=2, description="how strongly edges among many other edges are held back")
    safe: bool = Field(False, description="few levels of grey, so that the hint tells less of the picture")

    def __call__(self, picture: Picture) -> Picture:
        """Edge strength H×W×3, grey."""
        strength = edge_strength(picture, self.scales, self.texture)
        if self.safe:
            strength = np.asarray(np.round(strength * SAFE_LEVELS) / SAFE_LEVELS, np.float32)
        return np.repeat((strength * 255 + 0.5).astype(np.uint8)[..., None], 3, axis=2)


def edge_strength(picture: Picture, scales: int = 3, texture: float = 0.8) -> Floats:
    """How much of an edge every pixel is, H×W in [0, 1].

    At each scale the largest eigenvalue of the structure tensor over the Lab channels gives contrast and direction
    (Di Zenzo, 1986); the geometric mean over the scales keeps what is an edge at all of them, in its finest place.
    Surroundings full of edges weaken it (surround suppression, Grigorescu et al., 2003), ridges are kept and their
    flanks softened, and a high percentile becomes white.
    """
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    unit = max(min(picture.shape[:2]) / 512, 0.25)
    logs = np.zeros(picture.shape[:2], np.float32)
    tensor: Floats = np.zeros((*picture.shape[:2], 3), np.float32)
    for scale in range(scales):
        contrast, direction = _contrast(lab, unit * 2.0**scale)
        logs += np.log(contrast + 1e-3)
        tensor += direction
    strength = np.exp(logs / scales)
    window = 2 * round(15 * unit) + 1
    around = cv2.blur(strength, (window, window), borderType=cv2.BORDER_REFLECT)
    around = cv2.blur(around, (window, window), borderType=cv2.BORDER_REFLECT)
    strength = np.maximum(strength - texture * around, 0)
    strength = _ridges(strength, tensor, 1.5 * unit)
    top = max(float(np.percentile(strength, 98.5)), LEAST_STRENGTH)
    share: Floats = np.clip((strength / top - FLOOR) / (1 - FLOOR), 0, 1)
    return share ** np.float32(0.8)


def _blur(values: Floats, sigma: float) -> Floats:
    blurred: Floats = cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return blurred


def _contrast(lab: Floats, sigma: float) -> tuple[Floats, Floats]:
    """Contrast H×W at a scale, in Lab units across the edge, and the tensor H×W×3 (xx, xy, yy) it comes from."""
    smooth = _blur(lab, sigma)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=sigma / 4, borderType=cv2.BORDER_REFLECT)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=sigma / 4, borderType=cv2.BORDER_REFLECT)
    xx, xy, yy = (np.einsum("hwc,hwc->hw", a, b) for a, b in ((across, across), (across, down), (down, down)))
    return np.sqrt((xx + yy) / 2 + np.hypot((xx - yy) / 2, xy)), np.stack([xx, xy, yy], axis=2)


def _ridges(strength: Floats, tensor: Floats, reach: float) -> Floats:
    """Strength that keeps its crests and falls off softly beside them, ``reach`` pixels wide."""
    angle = np.arctan2(2 * tensor[..., 1], tensor[..., 0] - tensor[..., 2]) / 2
    y, x = np.mgrid[: strength.shape[0], : strength.shape[1]].astype(np.float32)
    aside = [
        cv2.remap(
            strength, x + step * np.cos(angle), y + step * np.sin(angle), cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
        for step in (-reach, reach)
    ]  # fmt: skip
    crest = strength / np.maximum(np.maximum(*aside), np.maximum(strength, 1e-6))
    return _blur(strength * crest**4, reach / 1.5)
