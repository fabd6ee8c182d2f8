"""Surface normals from a depth picture."""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hackamore.annotators.annotator import Annotator
from hackamore.core.image import Picture

Floats = NDArray[np.float32]


class NormalDepth(Annotator):
    """A depth picture (near is white) as normals: red to the right, green up, blue towards the viewer."""

    kind: ClassVar[str] = "normal_depth"
    sized: ClassVar[bool] = True

    strength: float = Field(
        1.0, gt=0, le=100, description="relief; at 1 the whole range of depth is as deep as half the shorter side"
    )
    background: float = Field(0.0, ge=0, le=1, description="depth up to this is background: black, without a normal")
    smooth: float = Field(
        0.006, ge=0, le=0.2, description="smoothing of the depth's steps, a share of the shorter side"
    )

    def __call__(self, picture: Picture) -> Picture:
        """Normals H×W×3: [−1, 1] → [0, 255], and 0 in the background."""
        depth = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        known = depth > self.background
        return paint_normals(normals_of(depth, self.strength, self.smooth, known), known)


def normals_of(
    depth: Floats, strength: float = 1.0, smooth: float = 0.0, known: NDArray[np.bool_] | None = None
) -> Floats:
    """Unit normals H×W×3 (x right, y up, z towards the viewer) of a depth map H×W in [0, 1], near is 1.

    The depth is taken as a height field z = strength · s · depth over the pixels, s half the shorter side;
    its normal is (−∂z/∂x, ∂z/∂y, 1), normalised, with y counted downwards. A depth without units knows no more.
    ``smooth`` is the width of a Gaussian, a share of the shorter side, against the steps of 8-bit depth;
    what is not ``known`` H×W (the background) takes no part in it.
    """
    side = min(depth.shape)
    if smooth * side > 0.3:
        depth = _smoothed(depth, smooth * side, np.ones(depth.shape, np.bool_) if known is None else known)
    height = depth * np.float32(strength * side / 2)
    down, across = np.gradient(height)
    normals = np.stack([-across, down, np.ones_like(height)], axis=2)
    return np.asarray(normals / np.linalg.norm(normals, axis=2, keepdims=True), np.float32)


def _smoothed(depth: Floats, sigma: float, known: NDArray[np.bool_]) -> Floats:
    """The known depths' Gaussian mean; slopes run on beyond the picture's border instead of turning back."""
    reach = int(np.ceil(3 * sigma))
    weight = np.pad(known.astype(np.float32), reach, mode="edge")
    padded = np.pad(depth, reach, mode="reflect", reflect_type="odd") * weight
    total, count = (cv2.GaussianBlur(values, (0, 0), sigma) for values in (padded, weight))
    inside = slice(reach, -reach), slice(reach, -reach)
    return np.asarray(total[inside] / np.maximum(count[inside], 1e-6), np.float32)


def paint_normals(normals: NDArray[Any], known: NDArray[np.bool_]) -> Picture:
    """Unit normals H×W×3 as colours, black where they are not ``known`` H×W."""
    return np.where(known[..., None], normals * 127.5 + 127.5, 0).astype(np.uint8)
