"""Key points of people as OpenPose gives them: joints, limbs, colours, and the JSON that the field exchanges.

Left and right are the person's own. Coordinates are pixels of the picture: x to the right, y down.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hackamore.core.errors import HackamoreError

Points = NDArray[np.float32]
"""K×3: x, y, confidence; confidence 0 says that the point is not there."""

JOINTS: tuple[str, ...] = (
    "nose", "neck",
    "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    "right eye", "left eye", "right ear", "left ear",
)  # fmt: skip

LIMBS: tuple[tuple[int, int], ...] = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""Pairs of joints in the order in which they are drawn; limb k and joint k have colour k."""

COLOURS: NDArray[np.uint8] = np.array(
    [
        (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
        (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
        (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
    ],
    dtype=np.uint8,
)  # fmt: skip

MIRRORED: tuple[int, ...] = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
"""Which joint takes whose place when a picture is flipped left to right."""

HAND_LIMBS: tuple[tuple[int, int], ...] = tuple(
    (0 if joint % 4 == 1 else joint - 1, joint) for joint in range(1, 21)
)  # five fingers of four joints, from the wrist

HAND_POINTS, FACE_POINTS = 21, 70
MOST_PEOPLE = 1000


@dataclass(frozen=True)
class Person:
    """One person: ``body`` 18×3, and where they were looked for, hands 21×3 and face 70×3."""

    body: Points
    left_hand: Points | None = None
    right_hand: Points | None = None
    face: Points | None = None

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Which of the 18 joints are there."""
        return self.body[:, 2] > 0

    def moved(self, scale: tuple[float, float], shift: tuple[float, float] = (0.0, 0.0)) -> Person:
        """The person in another picture's pixels: x · scale + shift."""

        def move(points: Points | None) -> Points | None:
            if points is None:
                return None
            turned = points * np.array([*scale, 1], np.float32) + np.array([*shift, 0], np.float32)
            return np.where(points[:, 2:] > 0, turned, np.float32(0))

        return _moved(self, move)

    def flipped(self, width: int) -> Person:
        """The person in the picture flipped left to right."""

        def flip(points: Points | None) -> Points | None:
            if points is None:
                return None
            turned = points.copy()
            turned[:, 0] = np.where(points[:, 2] > 0, width - points[:, 0], 0)
            return turned

        person = _moved(self, flip)
        return Person(person.body[list(MIRRORED)], person.right_hand, person.left_hand, person.face)


def _moved(person: Person, move: Callable[[Points | None], Points | None]) -> Person:
    body = move(person.body)
    assert body is not None
    return Person(body, move(person.left_hand), move(person.right_hand), move(person.face))


@dataclass(frozen=True)
class People:
    """The people of one picture of ``size`` = (width, height)."""

    people: tuple[Person, ...]
    size: tuple[int, int]


_PARTS = {
    "pose_keypoints_2d": ("body", len(JOINTS)),
    "hand_left_keypoints_2d": ("left_hand", HAND_POINTS),
    "hand_right_keypoints_2d": ("right_hand", HAND_POINTS),
    "face_keypoints_2d": ("face", FACE_POINTS),
}


def to_openpose(pictures: Sequence[People]) -> list[dict[str, Any]]:
    """People of pictures as OpenPose's JSON values: one entry a picture."""

    def flat(points: Points | None) -> list[float] | None:
        return None if points is None else [round(float(value), 3) for value in points.ravel()]

    return [
        {
            "people": [
                {name: flat(getattr(person, part)) for name, (part, _) in _PARTS.items()} for person in picture.people
            ],
            "canvas_width": picture.size[0],
            "canvas_height": picture.size[1],
        }
        for picture in pictures
    ]


def from_openpose(told: Any) -> list[People]:
    """The inverse of :func:`to_openpose`; a single picture may stand without its list.

    Coordinates that all lie in [0, 1], or little beyond, are taken as shares of the canvas, as some editors write them.
    Raises :class:`HackamoreError` naming the entry that is wrong.
    """
    entries = told if isinstance(told, list) else [told]
    return [_picture(entry, number) for number, entry in enumerate(entries)]


def read_people(path: Path | str) -> list[People]:
    """The people in an OpenPose JSON file, a list with one entry a picture."""
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        what = f"no such file: {path}" if isinstance(error, FileNotFoundError) else f"{path} cannot be read"
        raise HackamoreError(what, expected="OpenPose key points (JSON)") from error
    except (ValueError, RecursionError) as error:
        raise HackamoreError(f"{path} is not JSON", received=str(error), expected="OpenPose key points") from error
    return from_openpose(told)


def first_people(path: Path | str) -> People:
    """The people of the first picture in an OpenPose JSON file; an empty list is an error."""
    pictures = read_people(path)
    if not pictures:
        raise HackamoreError(f"{path} holds no picture", expected="OpenPose key points of at least one picture")
    return pictures[0]


def _picture(entry: Any, number: int) -> People:
    form = '{"people": [{"pose_keypoints_2d": [x, y, confidence, …]}], "canvas_width", "canvas_height"}'
    if not isinstance(entry, dict) or not isinstance(entry.get("people"), list):
        raise HackamoreError(f"picture {number} of the key points has no list of people", expected=form)
    width, height = (_side(entry.get(name), number) for name in ("canvas_width", "canvas_height"))
    if len(entry["people"]) > MOST_PEOPLE:
        raise HackamoreError("too many people", received=len(entry["people"]), expected=f"at most {MOST_PEOPLE}")
    people = [_person(person, f"person {place} of picture {number}") for place, person in enumerate(entry["people"])]
    known = [p for person in people for p in (person.body, person.left_hand, person.right_hand, person.face)]
    spots = np.concatenate([p[p[:, 2] > 0, :2] for p in known if p is not None] or [np.zeros((0, 2), np.float32)])
    if len(spots) and spots.max() <= 1.5 and spots.min() >= 0 and min(width, height) > 2:
        people = [person.moved((width, height)) for person in people]
    return People(tuple(people), (width, height))


def _side(side: Any, number: int) -> int:
    if isinstance(side, float) and side.is_integer():
        side = int(side)
    if isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= 65536:
        raise HackamoreError(
            f"picture {number} of the key points has no canvas size", received=side, expected="1 to 65536 pixels"
        )
    return side


def _person(told: Any, where: str) -> Person:
    if not isinstance(told, dict):
        raise HackamoreError(f"{where} is no object", received=type(told).__name__)
    parts = {part: _points(told.get(name), count, f"{name} of {where}") for name, (part, count) in _PARTS.items()}
    body = parts.pop("body")
    return Person(np.zeros((len(JOINTS), 3), np.float32) if body is None else body, **parts)


def _points(values: Any, count: int, where: str) -> Points | None:
    if values is None or values == []:
        return None
    try:
        points = np.asarray(values, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise HackamoreError(f"{where} holds something else than numbers of a picture") from error
    if points.size != 3 * count:
        raise HackamoreError(f"{where} has another length", received=points.size, expected=f"{count} × 3 numbers")
    points = points.reshape(count, 3)
    if not np.isfinite(points).all():
        raise HackamoreError(f"{where} holds a number that is not finite")
    absent = (points[:, 2] <= 0) | ((points[:, :2] < 0).any(axis=1))
    return np.where(absent[:, None], np.float32(0), points)
