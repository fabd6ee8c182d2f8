"""Hands and faces of a person whose body is found, by MediaPipe's networks."""

from __future__ import annotations

import numpy as np

from hackamore.annotators.region import Floats, Region
from hackamore.annotators.tflite import Network
from hackamore.core.image import Picture
from hackamore.core.skeleton import Points

PALM = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
"""The points of a hand that say where it is, however its fingers are held."""

FACE: tuple[int, ...] = (
    127, 234, 93, 132, 58, 172, 150, 176, 152, 400, 379, 397, 288, 361, 323, 454, 356,  # jaw
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # eyebrows
    168, 197, 5, 4, 75, 97, 2, 326, 305,  # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,  # lips, outside
    78, 82, 13, 312, 308, 317, 14, 87,  # lips, inside
)  # fmt: skip
"""OpenPose's first 68 points of a face → the mesh's; the two pupils are the middles of the eyes."""
EYE_CORNERS, LIPS = (33, 263), (13, 14)


def find_hand(picture: Picture, arm: Floats, network: Network, confidence: float) -> Points | None:
    """A hand 21×3 from its wrist, little and index finger (3×2 or more), or nothing where none is seen."""
    wrist, little, index = arm[:, :2]
    middle = ((2 * index + little) / 3).astype(np.float32)
    region = _grown(Region.between(middle, 2 * middle - wrist, 1.0), 2.7)
    for _ in range(2):
        told, presence = network(region.cut(picture, network.side), ("Identity", "Identity_1"))
        if float(presence.reshape(-1)[0]) < confidence:
            return None
        spots = region.place(told.reshape(21, 3)[:, :2], network.side)
        knuckles = ((spots[5] + spots[13]) / 2 + spots[9]) / 2
        region = Region.about(spots[list(PALM)], knuckles - spots[0], 2.0, rise=0.1)
    return _known(picture, spots, float(presence.reshape(-1)[0]))


def find_face(picture: Picture, marks: Floats, network: Network, confidence: float) -> Points | None:
    """A face 70×3 from both eyes and both corners of the mouth (4×2 or more), or nothing where none is seen."""
    eyes, mouth = marks[:2, :2].mean(axis=0), marks[2:, :2].mean(axis=0)
    height = float(np.hypot(*(eyes - mouth)))
    middle = ((eyes + mouth) / 2).astype(np.float32)
    region = Region.between(middle, middle + (eyes - mouth) / max(height, 1e-6) * 2 * height, 1.0)
    for _ in range(2):
        mesh, presence = network(region.cut(picture, network.side), ("conv2d_21", "conv2d_31"))
        sure = float(1 / (1 + np.exp(-presence.reshape(-1)[0])))
        if sure < confidence:
            return None
        spots = region.place(mesh.reshape(468, 3)[:, :2], network.side)
        across = spots[EYE_CORNERS[1]] - spots[EYE_CORNERS[0]]
        region = Region.about(spots, np.array([across[1], -across[0]], np.float32), 1.5)
    points = spots[list(FACE)]
    pupils = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    return _known(picture, np.concatenate([points, np.stack(pupils)]), sure)


def _grown(region: Region, factor: float) -> Region:
    return Region(region.centre, region.size * factor, region.angle)


def _known(picture: Picture, spots: Floats, sure: float) -> Points:
    """Points with one confidence; those outside of the picture are not there."""
    height, width = picture.shape[:2]
    inside = ((spots >= 0) & (spots < (width, height))).all(axis=1, keepdims=True)
    points = np.concatenate([spots, np.full((len(spots), 1), sure)], axis=1)
    return np.where(inside, points, 0).astype(np.float32)
