"""People by OpenPose's own networks (Cao et al. 2017), through controlnet-aux. Their licence forbids commercial use."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from hackamore.annotators.auxiliary import folder_with, made, package
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, resize
from hackamore.core.skeleton import FACE_POINTS, HAND_POINTS, JOINTS, People, Person, Points

FILES = ("body_pose_model.pth", "hand_pose_model.pth", "facenet.pth")
SIDE = 512
"""The shorter side at which the networks work, as everywhere in the field."""


def find_people(picture: Picture, weights: str | None, confidence: float, most: int, hands: bool, face: bool) -> People:
    """Everyone OpenPose finds, at most ``most``; ``confidence`` applies to points that come with a score."""
    if weights is None:
        raise HackamoreError(
            "engine controlnet-aux reads its networks from a folder",
            expected=f"weights=FOLDER with {', '.join(FILES)}",
            remedy=f"hf download lllyasviel/Annotators {' '.join(FILES)} --local-dir FOLDER",
        )
    height, width = picture.shape[:2]
    scale = SIDE / min(height, width)
    smaller = resize(picture, (round(width * scale), round(height * scale)), "stretch")
    poses = _load(weights).detect_poses(smaller.copy(), include_hand=hands, include_face=face)
    found = [_person(pose, (width, height), confidence) for pose in poses[:most]]
    return People(tuple(found), (width, height))


@lru_cache(maxsize=1)
def _load(weights: str) -> Any:
    package()
    return made("OpenposeDetector", folder_with(weights, FILES, "lllyasviel/Annotators"))


def _person(pose: Any, size: tuple[int, int], confidence: float) -> Person:
    body = _points(pose.body.keypoints, len(JOINTS), size, confidence)
    left, right, face = (
        _points(told, count, size, confidence) if told else None
        for told, count in ((pose.left_hand, HAND_POINTS), (pose.right_hand, HAND_POINTS), (pose.face, FACE_POINTS))
    )
    return Person(body, left, right, face)


def _points(told: Any, count: int, size: tuple[int, int], confidence: float) -> Points:
    """Key points in shares of the picture, or nothing, or negative where there is none → K×3 in pixels."""
    points = np.zeros((count, 3), np.float32)
    for place, point in enumerate(list(told)[:count]):
        if point is not None and point.x >= 0 and point.y >= 0 and point.score >= confidence:
            points[place] = point.x * size[0], point.y * size[1], min(1.0, float(point.score))
    return points
