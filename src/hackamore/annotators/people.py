"""Finding people in pictures: one annotator, several engines."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from hackamore.annotators import pose_mediapipe
from hackamore.annotators.pose import PeopleAnnotator
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture
from hackamore.core.skeleton import People

ENGINES: dict[str, str] = {
    "mediapipe": "pose_mediapipe",
    "rtmlib": "pose_rtmlib",
    "controlnet-aux": "pose_auxiliary",
}
"""The modules whose ``find_people(picture, weights, confidence, most, hands, face)`` does the work."""


class Pose(PeopleAnnotator):
    """The people in a picture, with hands and faces, drawn as OpenPose draws them."""

    kind: ClassVar[str] = "pose"
    seeks: ClassVar[tuple[str, str] | None] = (
        "people",
        "a lower confidence, another engine, or key points of your own",
    )

    engine: Literal["auto", "meadow", "mediapipe", "rtmlib", "controlnet-aux"] = Field(
        "auto", description="what finds people; auto takes what the weights are for, or an installed mediapipe"
    )
    weights: str | None = Field(None, description="folder (or wheel) with the engine's networks; see the documentation")
    confidence: float = Field(0.5, gt=0, lt=1, description="how sure a find and a joint must be")
    most: int = Field(10, ge=1, le=100, description="at most so many people")

    @model_validator(mode="after")
    def _used(self) -> Pose:
        if self.engine == "meadow":
            self.refuse_idle(self.model_fields_set & {"weights", "confidence"}, "Meadow's inspector")
        return self

    def find(self, picture: Picture) -> People:
        """Everyone it surely sees, in the picture's pixels, at most ``most``; nobody gives no people."""
        engine = self.chosen()
        if engine == "meadow":
            from hackamore.annotators.inspector import load_inspector

            found = load_inspector().people(picture)
            return People(found.people[: self.most], found.size)
        finder = import_module(f"hackamore.annotators.{ENGINES[engine]}").find_people
        people: People = finder(picture, self.weights, self.confidence, self.most, self.hands, self.face)
        return people

    def chosen(self) -> str:
        """The engine that is taken; that none is here is an error which says how to get one."""
        if self.engine != "auto":
            return self.engine
        if self.weights is None:
            if pose_mediapipe.available():
                return "mediapipe"
            raise HackamoreError(
                "finding people in photographs needs networks that are not here",
                expected="MediaPipe's (Apache-2.0, 36 MB), or weights=FOLDER; engine=meadow for pictures like Meadow's",
                remedy=pose_mediapipe.GET,
            )
        names = {path.suffix for path in Path(self.weights).rglob("*")} if Path(self.weights).is_dir() else set()
        if ".onnx" in names:
            return "rtmlib"
        return "controlnet-aux" if ".pth" in names else "mediapipe"
