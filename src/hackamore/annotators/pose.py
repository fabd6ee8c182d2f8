"""Poses as OpenPose draws them: coloured limbs and joints on black, hands and faces where they are known."""

from __future__ import annotations

import colorsys
from abc import abstractmethod
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hackamore.annotators.annotator import Annotator
from hackamore.core.errors import HackamoreError
from hackamore.core.image import MOST_PIXELS, Picture, Size, resize
from hackamore.core.skeleton import COLOURS, HAND_LIMBS, LIMBS, People, Person, Points

STICK, JOINT, HAND_LINE, FACE_DOT = 4.0, 4.0, 2.0, 3.0
"""Half the width of a limb, radius of a joint, thickness of a finger, radius of a face's point, on 512 pixels."""
LIMB_STRENGTH = 0.6
HAND_JOINT = (0, 0, 255)
BITS = 4
"""OpenCV draws in fixed point with so many fractional bits: joints sit where they are, not on whole pixels."""


class PeopleAnnotator(Annotator):
    """Finds people and draws them: a resize moves their points, so lines keep their thickness.

    What finds people in pictures implements :meth:`find`; :func:`hackamore.annotators.catalog.annotate` finds, moves
    the points to the wanted size and draws.
    """

    seeks: ClassVar[tuple[str, str] | None] = ("people", "another picture, or key points of your own")

    thickness: float | None = Field(
        None, gt=0, le=64, description="half the width of a limb in pixels; 4 at 512 pixels when absent"
    )
    hands: bool = Field(True, description="draw the hands where they are known")
    face: bool = Field(True, description="draw the face where it is known")

    @abstractmethod
    def find(self, picture: Picture) -> People:
        """The people of a picture, in its pixels."""

    def draw(self, people: People) -> Picture:
        """The drawing of ``people``, of their canvas's size."""
        return draw_people(people, thickness=self.thickness, hands=self.hands, face=self.face)

    def __call__(self, picture: Picture) -> Picture:
        """The drawing of the people that :meth:`find` finds."""
        return self.draw(self.find(picture))


class PoseJson(PeopleAnnotator):
    """OpenPose key points from a JSON file, drawn."""

    kind: ClassVar[str] = "pose_json"

    def find(self, picture: Picture) -> People:
        """Key points are read, not found: a picture is an error."""
        raise HackamoreError(
            "pose_json draws key points, not a picture",
            received=f"a picture of {picture.shape[1]}×{picture.shape[0]}",
            expected="an OpenPose JSON file",
            remedy="annotator none for a pose that is drawn already",
        )


def draw_people(
    people: People, size: Size | None = None, thickness: float | None = None, hands: bool = True, face: bool = True
) -> Picture:
    """The OpenPose drawing of ``people``, H×W×3 uint8 RGB on black, as ControlNet's pose controls were trained on.

    Limbs are filled ellipses of 0.6 of their colour, in the official order, person by person; joints are discs of the
    full colour above them, hands thin rainbow lines with blue discs, faces white dots. ``size`` = (width, height) is
    the canvas, the people's own when absent; points are stretched to it. ``thickness`` is half the width of a limb in
    pixels: 4 on a picture whose shorter side is 512, in proportion on others and at least 1.
    No people give a black picture. A canvas of more than ``MOST_PIXELS`` is refused, as a picture's file would be.
    """
    people = people if size is None else fit_people(people, size, "stretch")
    width, height = people.size
    if width * height > MOST_PIXELS:
        expected = f"at most {MOST_PIXELS:,} pixels"
        raise HackamoreError("the canvas of the pose is too large", received=f"{width}×{height}", expected=expected)
    unit = min(width, height) / 512 if thickness is None else thickness / STICK
    canvas = np.zeros((height, width, 3), np.uint8)
    for person in people.people:
        _draw_body(canvas, person.body, unit)
    for person in people.people:
        for hand in (person.left_hand, person.right_hand) if hands else ():
            if hand is not None:
                _draw_hand(canvas, hand, unit)
        if face and person.face is not None:
            for point in _seen(person.face):
                _disc(canvas, point, FACE_DOT * unit, (255, 255, 255))
    return canvas


def fit_people(people: People, size: Size, mode: str = "crop") -> People:
    """The people on a canvas of ``size``, moved as :func:`hackamore.core.image.resize` moves a picture's pixels.

    Points that a crop cuts off stay where they are, outside of the canvas.
    """
    width, height = people.size
    if people.size == size:
        return people
    factors = size[0] / width, size[1] / height
    if mode == "none":
        resize(np.zeros((height, width), np.uint8), size, mode)  # refuses in the house's words
    if mode == "crop":
        factors = (max(factors),) * 2
    elif mode == "fill":
        factors = (min(factors),) * 2
    elif mode != "stretch":
        raise HackamoreError("unknown resize mode", received=mode, expected="crop, fill, stretch, none")
    shift = (size[0] - width * factors[0]) / 2, (size[1] - height * factors[1]) / 2
    return People(tuple(person.moved(factors, shift) for person in people.people), size)


def is_seen(person: Person, size: Size) -> bool:
    """Whether any joint of the person's body, hands or face lies on the canvas."""
    parts = (person.body, person.left_hand, person.right_hand, person.face)
    seen = [_seen(part) for part in parts if part is not None]
    return any(bool(((part >= 0) & (part < size)).all(axis=1).any()) for part in seen if len(part))


def _seen(points: Points) -> Points:
    return points[points[:, 2] > 0, :2]


def _draw_body(canvas: Picture, body: Points, unit: float) -> None:
    for limb, colour in zip(LIMBS, COLOURS, strict=False):
        ends = body[list(limb)]
        if (ends[:, 2] > 0).all():
            dark = tuple(int(LIMB_STRENGTH * int(channel)) for channel in colour)
            _ellipse(canvas, ends[:, :2], max(1.0, STICK * unit), dark)
    for joint, colour in zip(body, COLOURS, strict=True):
        if joint[2] > 0:
            _disc(canvas, joint[:2], JOINT * unit, tuple(int(channel) for channel in colour))


def _draw_hand(canvas: Picture, hand: Points, unit: float) -> None:
    for place, limb in enumerate(HAND_LIMBS):
        ends = hand[list(limb)]
        if (ends[:, 2] > 0).all():
            rainbow = colorsys.hsv_to_rgb(place / len(HAND_LIMBS), 1.0, 1.0)
            first, second = (_fixed(canvas, end) for end in ends[:, :2])
            colour = tuple(int(255 * channel) for channel in rainbow)
            cv2.line(canvas, first, second, colour, max(1, round(HAND_LINE * unit)), shift=BITS)
    for point in _seen(hand):
        _disc(canvas, point, JOINT * unit, HAND_JOINT)


def _ellipse(canvas: Picture, ends: NDArray[np.float32], half: float, colour: tuple[int, ...]) -> None:
    """A filled ellipse from one end to the other, ``half`` pixels to each side."""
    first, second = (np.array(_fixed(canvas, end), np.float64) for end in ends)
    along = (second - first) / 2
    length = float(np.hypot(*along))
    across = np.array([-along[1], along[0]]) / length if length else np.array([0.0, 1.0])
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)[:, None]
    outline = (first + second) / 2 + np.cos(turn) * along + np.sin(turn) * across * half * (1 << BITS)
    cv2.fillConvexPoly(canvas, np.round(outline).astype(np.int32), colour, shift=BITS)


def _disc(canvas: Picture, point: NDArray[np.float32], radius: float, colour: tuple[int, ...]) -> None:
    cv2.circle(canvas, _fixed(canvas, point), round(max(1.0, radius) * (1 << BITS)), colour, -1, shift=BITS)


def _fixed(canvas: Picture, point: NDArray[np.float32]) -> tuple[int, int]:
    """A point in OpenCV's fixed point, held within a few canvases so that it cannot overflow."""
    height, width = canvas.shape[:2]
    x = float(np.clip(point[0], -4 * width, 5 * width))
    y = float(np.clip(point[1], -4 * height, 5 * height))
    # OpenCV's whole numbers are the middles of pixels, ours their upper left corners
    return round((x - 0.5) * (1 << BITS)), round((y - 0.5) * (1 << BITS))
