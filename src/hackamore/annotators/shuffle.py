"""Content shuffle: the colours and textures of a picture, its composition stirred."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hackamore.annotators.annotator import Annotator
from hackamore.core.image import Picture


class Shuffle(Annotator):
    """The picture pulled about by a smooth random flow: what it is made of stays, where it stood does not."""

    kind: ClassVar[str] = "shuffle"

    seed: int = Field(0, ge=0, le=2**32 - 1, description="seed of the flow")
    grain: float = Field(0.5, ge=0.05, le=2, description="size of the flow's waves, a share of the shorter side")

    def __call__(self, picture: Picture) -> Picture:
        """The shuffled picture H×W×3."""
        height, width = picture.shape[:2]
        random = np.random.default_rng(self.seed)
        wave = max(2.0, self.grain * min(height, width))
        x, y = (_flow(random, (height, width), wave) * (side - 1) for side in (width, height))
        stirred: Picture = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        return stirred


def _flow(random: np.random.Generator, shape: tuple[int, int], wave: float) -> NDArray[np.float32]:
    """Smooth noise H×W whose values are spread evenly over [0, 1], so that no part of a picture is left out."""
    height, width = shape
    coarse = random.random((int(height / wave) + 3, int(width / wave) + 3), dtype=np.float32)
    y, x = (np.arange(side, dtype=np.float32) / np.float32(wave) + 0.5 for side in shape)
    across, down = np.meshgrid(x, y)
    noise = cv2.remap(coarse, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    even = np.empty(noise.size, np.float32)
    even[np.argsort(noise, axis=None, kind="stable")] = np.linspace(0, 1, noise.size, dtype=np.float32)
    return even.reshape(shape)
