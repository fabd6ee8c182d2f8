"""Surface normals of a picture by a network: red to the right, green up, blue towards the viewer."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from hackamore.annotators.annotator import Annotator
from hackamore.annotators.depth import Depth
from hackamore.annotators.normal_depth import normals_of, paint_normals
from hackamore.core.image import Picture


class Normal(Annotator):
    """Surface normals by a network: Meadow's own, or from the depth that a depth network tells."""

    kind: ClassVar[str] = "normal"
    seeks: ClassVar[tuple[str, str] | None] = ("surfaces", "another picture, or other weights")

    weights: str = Field(
        "meadow", description="meadow (for pictures like Meadow's), or a depth network: its folder or hub name"
    )
    strength: float = Field(
        1.0, gt=0, le=100, description="relief from a depth network; at 1 its range is as deep as half the shorter side"
    )
    background: float = Field(0.0, ge=0, le=1, description="nearness up to this has no normal and is black")
    smooth: float = Field(
        0.006, ge=0, le=0.2, description="smoothing of a network's depth, a share of the shorter side"
    )
    download: bool = Field(False, description="fetch the hub name if it is not on this machine")

    @model_validator(mode="after")
    def _used(self) -> Normal:
        if self.weights == "meadow":
            self.refuse_idle(self.model_fields_set - {"weights"}, "Meadow's inspector")
        return self

    def __call__(self, picture: Picture) -> Picture:
        """Normals H×W×3: [−1, 1] → [0, 255]; black where there is no surface."""
        if self.weights == "meadow":
            from hackamore.annotators.inspector import load_inspector

            normals = load_inspector().normals(picture)
            return paint_normals(normals, np.abs(normals).sum(axis=2) > 0)
        near = Depth(weights=self.weights, download=self.download).near(picture)
        known = near > self.background if self.background > 0 else np.ones(near.shape, np.bool_)
        return paint_normals(normals_of(near, self.strength, self.smooth, known), known)
