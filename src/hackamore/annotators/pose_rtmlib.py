"""People by rtmlib: a detector (YOLOX) and a whole-body network (RTMW, DWPose) from ONNX files in a folder."""

from __future__ import annotations

from contextlib import redirect_stdout
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture
from hackamore.core.skeleton import People, Person, Points

DETECTORS: dict[str, tuple[int, str]] = {
    "yolox_m_8xb8-300e_humanart-c2c7a14a.onnx": (640, "human"),
    "yolox_tiny_8xb8-300e_humanart-6f3252f9.onnx": (416, "human"),
    "yolox_l.onnx": (640, "multiclass"),
}
"""Detectors: the side of the square they see, and whether they know people only or COCO's 80 classes."""
WHOLE_BODIES: dict[str, tuple[int, int]] = {
    "rtmw-dw-x-l_simcc-cocktail14_270e-384x288_20231122.onnx": (288, 384),
    "rtmw-dw-x-l_simcc-cocktail14_270e-256x192_20231122.onnx": (192, 256),
    "rtmw-dw-l-m_simcc-cocktail14_270e-256x192_20231122.onnx": (192, 256),
    "dw-ll_ucoco_384.onnx": (288, 384),
    "dw-ll_ucoco.onnx": (192, 256),
}
"""Whole-body networks of 133 points, and the (width, height) they see; the best first."""
GET = "pip install --no-deps rtmlib==0.0.16"
SCALE = 0.6
"""Their scores mean a point from 0.3 on, in the papers' own drawings, where others say 0.5."""
BODY, FACE, LEFT, RIGHT = slice(0, 18), slice(24, 92), slice(92, 113), slice(113, 134)
"""Where rtmlib puts OpenPose's body, the face without pupils, and the hands."""


def find_people(picture: Picture, weights: str | None, confidence: float, most: int, hands: bool, face: bool) -> People:
    """Everyone the detector sees, at most ``most``, with the points that are surely there."""
    height, width = picture.shape[:2]
    try:
        told = _run(*load(weights), picture, most)
    except (cv2.error, RuntimeError, ValueError) as error:
        raise HackamoreError(
            f"the networks in {weights} do not run", received=error, remedy="pip install onnxruntime"
        ) from error
    if told is None:
        return People((), (width, height))
    spots, sure = told
    points = np.concatenate([spots, np.clip(sure, 0, 1)[..., None]], axis=2).astype(np.float32)
    found = [_person(_known(each, (width, height), SCALE * confidence), hands, face) for each in points]
    return People(tuple(found), (width, height))


def _run(
    detector: Any, body: Any, several: bool, picture: Picture, most: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Points N×134×2 and how sure they are N×134; nothing where there is nobody."""
    bgr, rgb = np.ascontiguousarray(picture[..., ::-1]), picture  # the detectors were trained on BGR, the bodies on RGB
    boxes = detector(bgr)
    if several:
        boxes, kinds = boxes
        boxes = [box for box, kind in zip(boxes, kinds, strict=True) if kind == 0]
    if not len(boxes):  # without boxes rtmlib would take the whole picture for a person
        return None
    spots, sure = body(rgb, bboxes=list(boxes)[:most])
    return spots, sure


@lru_cache(maxsize=1)
def load(weights: str | None) -> tuple[Any, Any, bool]:
    """The detector, the whole-body network, and whether the detector tells classes too."""
    if find_spec("rtmlib") is None:
        raise HackamoreError(
            "engine rtmlib needs the package rtmlib, which is not installed",
            expected="rtmlib without its dependencies, which would replace OpenCV",
            remedy=GET,
        )
    rtmlib = import_module("rtmlib")
    seen, seen_body = _file(weights, DETECTORS, "a detector"), _file(weights, WHOLE_BODIES, "a whole-body network")
    side, mode = DETECTORS[seen.name]
    backend = "opencv" if find_spec("onnxruntime") is None else "onnxruntime"
    try:
        with redirect_stdout(StringIO()):  # it announces every file
            detector = rtmlib.YOLOX(
                str(seen), (side, side), det_mode=mode, score_thr=0.3, backend=backend, device="cpu"
            )
            body = rtmlib.RTMPose(
                str(seen_body), WHOLE_BODIES[seen_body.name], to_openpose=True, backend=backend, device="cpu"
            )
    except Exception as error:  # each runtime has errors of its own
        raise HackamoreError(
            f"the networks in {weights} do not load",
            received=error,
            expected=f"{seen.name} and {seen_body.name}, whole",
            remedy="pip install onnxruntime" if backend == "opencv" else None,
        ) from error
    return detector, body, mode == "multiclass"


def _file(weights: str | None, known: dict[str, Any], what: str) -> Path:
    if weights is None or not Path(weights).is_dir():
        raise HackamoreError(
            "engine rtmlib reads its networks from a folder" if weights is None else f"no such folder: {weights}",
            expected="weights=FOLDER with yolox_l.onnx and dw-ll_ucoco_384.onnx, or others of the documentation",
            remedy=f"hf download yzd-v/DWPose yolox_l.onnx dw-ll_ucoco_384.onnx --local-dir {weights or 'FOLDER'}",
        )
    for name in known:
        if (Path(weights) / name).exists():
            return Path(weights) / name
    raise HackamoreError(f"{weights} holds no file of {what} that is known", expected="one of " + ", ".join(known))


def _known(points: Points, size: tuple[int, int], least: float) -> Points:
    inside = ((points[:, :2] >= 0) & (points[:, :2] < size)).all(axis=1)
    return np.where((inside & (points[:, 2] >= least))[:, None], points, np.float32(0))


def _person(points: Points, hands: bool, face: bool) -> Person:
    body = points[BODY]
    parts: dict[str, NDArray[np.float32] | None] = {
        "left_hand": points[LEFT] if hands else None,
        "right_hand": points[RIGHT] if hands else None,
        "face": np.concatenate([points[FACE], body[14:16]]) if face else None,
    }
    there = {name: part for name, part in parts.items() if part is not None and (part[:, 2] > 0).any()}
    return Person(body, **there)
