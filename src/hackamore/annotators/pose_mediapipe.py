"""People by MediaPipe's published networks: BlazePose (Bazarevsky et al. 2020), and those for hands and faces.

The networks come from the wheel of the package mediapipe (up to 0.10.21); the package itself is never imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import cv2
import numpy as np

from hackamore.annotators.pose_parts import find_face, find_hand
from hackamore.annotators.region import Floats, Region
from hackamore.annotators.tflite import Network
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture
from hackamore.core.skeleton import People, Person

FILES = {
    "detector": ("pose_detection.tflite",),
    "body": ("pose_landmark_heavy.tflite", "pose_landmark_full.tflite", "pose_landmark_lite.tflite"),
    "hand": ("hand_landmark_full.tflite", "hand_landmark_lite.tflite"),
    "face": ("face_landmark.tflite",),
}
"""The files of each network, the best first."""
GET = "pip install --no-deps mediapipe==0.10.21"

BODY = {
    0: 0, 2: 12, 3: 14, 4: 16, 5: 11, 6: 13, 7: 15,
    8: 24, 9: 26, 10: 28, 11: 23, 12: 25, 13: 27, 14: 5, 15: 2, 16: 8, 17: 7,
}  # fmt: skip
"""OpenPose's joint → BlazePose's landmark; the neck is the middle of the shoulders."""
HANDS = {"left": (15, 17, 19), "right": (16, 18, 20)}
"""BlazePose's wrist, little finger and index finger of each hand."""
FACE = (2, 5, 9, 10)
"""Left and right eye, left and right corner of the mouth."""
NEARER = {0: 30, 14: 68, 15: 69}
"""OpenPose's joint → the point of a face that is the same: tip of the nose, pupils."""
LANDMARKS, CENTRE, TOP = 39, 33, 34
GRID = (8, 16, 32, 32, 32)
"""The steps, in pixels of 224, of the detector's grids of anchors; each place has two."""


def find_people(picture: Picture, weights: str | None, confidence: float, most: int, hands: bool, face: bool) -> People:
    """Everyone who is surely there, the surest first, at most ``most``; with hands and faces where wanted and seen."""
    networks = load_networks(weights)
    height, width = picture.shape[:2]
    people: list[Person] = []
    seen: list[Floats] = []
    for region in _detections(picture, networks["detector"], confidence):
        points = _landmarks(picture, region, networks["body"], confidence)
        if points is None or any(_same(points, other) for other in seen):
            continue
        seen.append(points)
        people.append(_person(picture, points, networks, confidence, hands, face))
        if len(people) == most:
            break
    return People(tuple(people), (width, height))


@lru_cache(maxsize=2)
def load_networks(weights: str | None) -> dict[str, Network]:
    """The four networks from an installed mediapipe, a folder or a wheel; a missing one is an error that names it."""
    files = dict(_files(weights))
    networks = {}
    for part, names in FILES.items():
        name = next((name for name in names if name in files), None)
        if name is None:
            where = weights or "the installed package mediapipe"
            raise HackamoreError(
                f"{where} lacks {names[-1]}",
                expected=", ".join(known[-1] for known in FILES.values()) + ", as in mediapipe 0.10.21",
                remedy=GET,
            )
        networks[part] = Network(files[name], name)
    return networks


def available(weights: str | None = None) -> bool:
    """Whether an installed mediapipe (or ``weights``) holds the networks, without reading them."""
    if weights is not None:
        return Path(weights).exists()
    return any(folder.joinpath("modules/pose_detection/pose_detection.tflite").exists() for folder in _installed())


def _installed() -> list[Path]:
    spec = find_spec("mediapipe")
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec is not None else []


def _files(weights: str | None) -> Iterator[tuple[str, bytes]]:
    wanted = {name for names in FILES.values() for name in names}
    if weights is None:
        folders = _installed()
        if not folders:
            raise HackamoreError(
                "finding people needs MediaPipe's networks, which are not here",
                expected="the files of mediapipe 0.10.21: installed, or weights=FOLDER or its wheel",
                remedy=GET,
            )
    elif Path(weights).is_dir():
        folders = [Path(weights)]
    elif Path(weights).is_file():
        yield from _archived(Path(weights), wanted)
        return
    else:
        raise HackamoreError(
            f"no such folder or file: {weights}",
            expected="a folder with MediaPipe's .tflite files, or the wheel of mediapipe 0.10.21",
            remedy="pip download --no-deps mediapipe==0.10.21",
        )
    for folder in folders:
        for path in sorted(folder.rglob("*.tflite")):
            if path.name in wanted:
                yield path.name, path.read_bytes()


def _archived(path: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    try:
        with ZipFile(path) as archive:
            for name in archive.namelist():
                if Path(name).name in wanted:
                    yield Path(name).name, archive.read(name)
    except (BadZipFile, OSError) as error:
        raise HackamoreError(f"{path} is no wheel", expected="the wheel of mediapipe 0.10.21, whole") from error


def _detections(picture: Picture, network: Network, confidence: float) -> list[Region]:
    """Where a person may be, the surest first: in the whole picture, then in its overlapping halves.

    The network tells the most prominent person of what it sees, so a closer look finds the others and small ones.
    It must be surer there: parts of things look like people.
    """
    height, width = picture.shape[:2]
    whole = Region((width / 2, height / 2), float(max(width, height)))
    found = sorted(_detect(picture, whole, network, confidence), key=lambda one: -one[0])
    part = 0.5 * max(width, height)
    columns, rows = (np.linspace(part / 2, max(side - part / 2, part / 2), 3) for side in (width, height))
    closer: list[tuple[float, Region]] = []
    for centre in {(float(x), float(y)): None for y in rows for x in columns}:
        closer += _detect(picture, Region(centre, part), network, (1 + confidence) / 2)
    return [region for _, region in found + sorted(closer, key=lambda one: -one[0])]


def _detect(picture: Picture, region: Region, network: Network, confidence: float) -> list[tuple[float, Region]]:
    side = network.side
    raw, scores = network(region.cut(picture, side, cv2.BORDER_CONSTANT) * 2 - 1, ("Identity", "Identity_1"))
    sure = 1 / (1 + np.exp(-scores.reshape(-1).clip(-60, 60)))
    chosen = np.flatnonzero(sure >= confidence)
    boxes = raw[0, chosen].reshape(len(chosen), 6, 2)
    anchors = _anchors(side)[chosen]
    spots = boxes + anchors[:, None]
    spots[:, 1] = boxes[:, 1]  # width and height are told as they are
    found = []
    for points, score in _merged(spots, sure[chosen]):
        origin, top = region.place(points[2:4], side)
        found.append((score, Region.between(origin, top, 1.25)))
    return found


@lru_cache(maxsize=1)
def _anchors(side: int) -> Floats:
    """The centres of the detector's anchors, N×2 in its pixels."""
    places = []
    for step in dict.fromkeys(GRID):
        line = (np.arange(-(-side // step), dtype=np.float32) + 0.5) * step
        grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        places.append(np.repeat(grid, 2 * GRID.count(step), axis=0))
    return np.concatenate(places)


def _merged(spots: Floats, sure: Floats) -> Iterator[tuple[Floats, float]]:
    """Overlapping finds become one, weighted by how sure they are (intersection over union above 0.3)."""
    low, high = spots[:, 0] - spots[:, 1] / 2, spots[:, 0] + spots[:, 1] / 2
    area = np.prod(high - low, axis=1)
    rest = np.argsort(-sure, kind="stable")
    while len(rest):
        best = rest[0]
        shared = np.minimum(high[rest], high[best]) - np.maximum(low[rest], low[best])
        both = np.prod(shared.clip(0), axis=1)
        same = both > 0.3 * (area[rest] + area[best] - both)
        same[0] = True
        group = rest[same]
        weight = sure[group] / sure[group].sum()
        yield np.tensordot(weight, spots[group], axes=1).astype(np.float32), float(sure[best])
        rest = rest[~same]


def _same(points: Floats, other: Floats) -> bool:
    """Whether two finds are one person: head, shoulders and hips lie close, measured by the person's size."""
    trunk = [0, 11, 12, 23, 24]
    apart = np.hypot(*(points[trunk, :2] - other[trunk, :2]).T).mean()
    sizes = [float(np.hypot(*(find[TOP, :2] - find[CENTRE, :2]))) for find in (points, other)]
    return bool(apart < 0.3 * max(sizes))


def _landmarks(picture: Picture, region: Region, network: Network, confidence: float) -> Floats | None:
    """BlazePose's landmarks 39×3 (x, y, how surely seen), looked at twice: the first look says where to look."""
    for _ in range(2):
        told, presence, heat = network(region.cut(picture, network.side), ("Identity", "Identity_1", "Identity_3"))
        if float(presence.reshape(-1)[0]) < confidence:
            return None
        raw = told.reshape(LANDMARKS, 5)
        spots = region.place(_refined(raw[:, :2], heat[0], network.side), network.side)
        seen = 1 / (1 + np.exp(-raw[:, 3:].min(axis=1)))
        region = Region.between(spots[CENTRE], spots[TOP], 1.25)
    return np.concatenate([spots, seen[:, None]], axis=1)


def _refined(spots: Floats, heat: Floats, side: int) -> Floats:
    """Landmarks moved to the middle of the heat about them (7×7 cells) where it is strong."""
    refined = spots.copy()
    cells = heat.shape[0]
    for number, (x, y) in enumerate(spots * (cells / side)):
        column, row = int(x), int(y)
        if not (0 <= column < cells and 0 <= row < cells):
            continue
        top, left = max(0, row - 3), max(0, column - 3)
        warm = 1 / (1 + np.exp(-heat[top : row + 4, left : column + 4, number]))
        if warm.max() >= 0.5:
            rows, columns = np.indices(warm.shape)
            middle = np.array([(columns * warm).sum(), (rows * warm).sum()]) / warm.sum()
            refined[number] = (middle + np.array([left, top])) * (side / cells)
    return refined


def _person(
    picture: Picture, points: Floats, networks: dict[str, Network], confidence: float, hands: bool, face: bool
) -> Person:
    height, width = picture.shape[:2]
    inside = ((points[:, :2] >= 0) & (points[:, :2] < (width, height))).all(axis=1)
    known = np.where((inside & (points[:, 2] >= confidence))[:, None], points, 0).astype(np.float32)
    body = np.zeros((18, 3), np.float32)
    body[list(BODY)] = known[list(BODY.values())]
    if body[2, 2] and body[5, 2]:
        body[1] = (body[2] + body[5]) / 2
    found = {
        side: find_hand(picture, points[list(of)], networks["hand"], confidence) if hands and known[of[0], 2] else None
        for side, of in HANDS.items()
    }
    sees_face = face and bool(known[0, 2])
    mesh = find_face(picture, points[list(FACE)], networks["face"], confidence) if sees_face else None
    if mesh is not None:  # nose and eyes are where the face has them, nearer than the body network tells
        for joint, point in NEARER.items():
            body[joint, :2] = np.where(mesh[point, 2] > 0, mesh[point, :2], body[joint, :2])
    return Person(body, found["left"], found["right"], mesh)
