"""Relative depth of a picture by a network: near is white."""

from __future__ import annotations

from typing import ClassVar, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator
from torch.nn import functional as F

from hackamore.annotators.annotator import Annotator
from hackamore.annotators.hub import Loaded, load
from hackamore.core.image import Picture

Metric = Literal["auto"] | bool
METRIC_FAMILIES = ("zoedepth", "glpn", "depth_pro")
"""Networks that always tell distances."""


class Depth(Annotator):
    """Depth by a network: near is white, far is black."""

    kind: ClassVar[str] = "depth"
    seeks: ClassVar[tuple[str, str] | None] = ("depth", "another picture, or other weights")

    weights: str = Field(
        "meadow", description="meadow (for pictures like Meadow's), or a depth network: its folder or hub name"
    )
    metric: Metric = Field(
        "auto", description="whether the network tells distances (far is large); auto reads its configuration"
    )
    percentile: float = Field(1.0, ge=0, le=20, description="share in percent cut off at either end before scaling")
    download: bool = Field(False, description="fetch the hub name if it is not on this machine")

    @model_validator(mode="after")
    def _used(self) -> Depth:
        if self.weights == "meadow":
            self.refuse_idle(self.model_fields_set - {"weights"}, "Meadow's inspector")
        return self

    def __call__(self, picture: Picture) -> Picture:
        """Depth as grey H×W×3."""
        near = self.near(picture)
        return np.repeat((near * 255 + 0.5).astype(np.uint8)[..., None], 3, axis=2)

    def near(self, picture: Picture) -> NDArray[np.float32]:
        """Nearness H×W in [0, 1], spread between its percentiles; a picture without depth is 0."""
        if self.weights == "meadow":
            from hackamore.annotators.inspector import load_inspector

            return load_inspector().depth(picture)
        return spread(predict(load(self.weights, "depth", self.download), picture, self.metric), self.percentile)


def predict(loaded: Loaded, picture: Picture, metric: Metric = "auto") -> NDArray[np.float32]:
    """What a network says of nearness, H×W of the picture's size, in no unit.

    Distances become their inverse, which is what networks of relative depth tell and controls are trained on.
    """
    height, width = picture.shape[:2]
    settings = {}
    if loaded.family == "zoedepth":  # it wants to see beyond the border: reflected pixels, as it was trained
        rows, columns = (min(int(3 * (side / 2) ** 0.5), side - 1) for side in (height, width))
        picture = np.asarray(
            cv2.copyMakeBorder(picture, rows, rows, columns, columns, cv2.BORDER_REFLECT_101), np.uint8
        )
        settings["do_pad"] = False
    inputs = loaded.prepare(images=Image.fromarray(picture), return_tensors="pt", **settings)
    with torch.inference_mode():
        told = loaded.network(**inputs).predicted_depth.float()
    if _is_metric(loaded) if metric == "auto" else metric:
        told = 1 / told.clamp(min=1e-3)  # before it is enlarged: cubic overshoot about zero would become huge
    told = F.interpolate(told.reshape(1, 1, *told.shape[-2:]), picture.shape[:2], mode="bicubic", align_corners=False)
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    near: NDArray[np.float32] = told[0, 0, top : top + height, left : left + width].contiguous().numpy()
    return near


def spread(near: NDArray[np.float32], percentile: float = 1.0) -> NDArray[np.float32]:
    """``near`` scaled to [0, 1] between two percentiles, so that single points do not decide; one value becomes 0."""
    low, high = (float(edge) for edge in np.percentile(near, [percentile, 100 - percentile]))
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return np.zeros_like(near)
    return np.asarray(((near - low) / (high - low)).clip(0, 1), np.float32)


def _is_metric(loaded: Loaded) -> bool:
    kind = getattr(loaded.network.config, "depth_estimation_type", None)
    return loaded.family in METRIC_FAMILIES or kind == "metric"
