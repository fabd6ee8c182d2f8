"""What stands where in a picture, by a network, in a palette's colours."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from hackamore.annotators.annotator import Annotator
from hackamore.annotators.hub import Loaded, load
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture
from hackamore.core.palette import ADE20K, WORLDS


class SegAde20k(Annotator):
    """A photograph in ADE20K's 150 classes and colours, by a segmentation network."""

    kind: ClassVar[str] = "seg_ade20k"
    categorical: ClassVar[bool] = True

    weights: str = Field(description="folder or hub name of a network of ADE20K's 150 classes, in transformers' layout")
    download: bool = Field(False, description="fetch the hub name if it is not on this machine")

    def __call__(self, picture: Picture) -> Picture:
        """The picture painted in ADE20K's palette."""
        return ADE20K.paint(self.read(picture))

    def read(self, picture: Picture) -> NDArray[np.uint8]:
        """Class indices H×W in ADE20K's order."""
        loaded = load(self.weights, "segmentation", self.download)
        if loaded.network.config.num_labels != len(ADE20K.names):
            raise HackamoreError(
                f"{self.weights} knows other classes",
                received=f"{loaded.network.config.num_labels} classes",
                expected=f"ADE20K's {len(ADE20K.names)}",
            )
        return classes(loaded, picture)


class SegMeadow(Annotator):
    """A picture like Meadow's in the worlds' 16 classes and colours, by Meadow's inspector."""

    kind: ClassVar[str] = "seg_meadow"
    categorical: ClassVar[bool] = True

    def __call__(self, picture: Picture) -> Picture:
        """The picture painted in the worlds' palette."""
        from hackamore.annotators.inspector import load_inspector

        return WORLDS.paint(load_inspector().read(picture))


def classes(loaded: Loaded, picture: Picture) -> NDArray[np.uint8]:
    """A segmentation network's class of each pixel H×W, decided at the picture's own size."""
    told = {"task_inputs": ["semantic"]} if loaded.family == "oneformer" else {}
    inputs = loaded.prepare(images=[Image.fromarray(picture)], return_tensors="pt", **told)
    with torch.inference_mode():
        outputs = loaded.network(**inputs)
    (found,) = loaded.prepare.post_process_semantic_segmentation(outputs, target_sizes=[picture.shape[:2]])
    return np.asarray(found.cpu().numpy(), np.uint8)
