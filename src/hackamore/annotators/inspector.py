"""Meadow's inspector: one small network that reads back what a Meadow-like picture shows.

It is the annotator of such pictures and the judge of their control fidelity: classes, depth, normals, people, and what
a caption says of the whole. It was trained on worlds alone; of photographs it only has a rough idea.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture
from hackamore.core.palette import CLASSES
from hackamore.core.skeleton import JOINTS, People, Person

WEIGHTS = Path(__file__).parents[1] / "bases" / "meadow" / "inspector" / "inspector.safetensors"

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "time": ("sunrise", "noon", "afternoon", "sunset", "dusk", "night"),
    "season": ("spring", "summer", "autumn", "winter"),
    "weather": ("clear", "cloudy", "overcast", "foggy", "stormy"),
    "terrain": ("mountains", "hills", "dunes", "canyon", "islands", "coast", "volcano", "plains", "woods"),
    "water": ("none", "lake", "river", "sea", "oasis"),
    "trees": ("none", "pine", "round", "autumn", "blossom", "bare", "palm"),
    "style": ("photo", "watercolour", "pixel art", "ink"),
    "sight": ("none", "hut", "village", "bridge", "waterfall"),
}
"""What of a caption is read from the picture, and the words of each; older weights know fewer, the first ones."""

SIDE = 128
"""It reads pictures at about this size, as it was trained: others are scaled to the same area and back."""
REACH = 16.0
"""The unit of the displacements from a person's centre to the joints, in pixels."""
LEAST_CENTRE, LEAST_JOINT = 0.2, 0.1


@dataclass(frozen=True)
class Reading:
    """What the network gives for N pictures of H×W, as logits or numbers.

    ``classes`` N×16×H×W; ``depth`` N×H×W, near is 1; ``normals`` N×3×H×W, not normalised; ``heat`` N×19×H/2×W/2, the 18
    joints and people's centres; ``reach`` N×36×H/4×W/4, x and y from a centre to each joint in units of ``REACH``;
    ``attributes`` name → N×words; ``features`` N×96.
    """

    classes: Tensor
    depth: Tensor
    normals: Tensor
    heat: Tensor
    reach: Tensor
    attributes: dict[str, Tensor]
    features: Tensor


class Inspector(nn.Module):
    """A U-shaped network of plain convolutions on cells of two pixels: pictures N×3×H×W in [0, 1] → :class:`Reading`.

    Height and width are multiples of 16.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (32, 64, 96, 128),
        hidden: int = 96,
        words: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        words = {name: len(all_words) for name, all_words in ATTRIBUTES.items()} if words is None else words
        self.stem = nn.Conv2d(12, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.Sequential(_Residual(a), nn.Conv2d(a, b, 3, 2, 1), _Residual(b)) for a, b in pairwise(widths)
        )
        self.middle = _Residual(widths[-1])
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a + b, b, 3, padding=1), _Residual(b))
            for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.dense = nn.Sequential(nn.Conv2d(widths[0], 64, 3, padding=1), nn.SiLU())
        self.pixels = nn.Conv2d(64, 4 * (len(CLASSES) + 4), 1)
        self.heat = nn.Conv2d(64, len(JOINTS) + 1, 1)
        self.reach = nn.Sequential(nn.Conv2d(widths[1], 64, 3, padding=1), nn.SiLU(), nn.Conv2d(64, 2 * len(JOINTS), 1))
        self.pooled = nn.Sequential(nn.Linear(2 * widths[-1], hidden), nn.SiLU())
        self.words = nn.ModuleDict({name: nn.Linear(hidden, count) for name, count in words.items()})

    def forward(self, x: Tensor) -> Reading:
        """Read pictures N×3×H×W."""
        x = self.stem(F.pixel_unshuffle(x * 2 - 1, 2))
        kept = []
        for down in self.down:
            kept.append(x)
            x = down(x)
        x = self.middle(x)
        features = self.pooled(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1))
        quarter = x
        for up in self.up:
            skip = kept.pop()
            quarter = x
            x = up(torch.cat([F.interpolate(x, size=skip.shape[-2:], mode="nearest"), skip], dim=1))
        x = self.dense(x)
        pixels = F.pixel_shuffle(self.pixels(x), 2)
        return Reading(
            classes=pixels[:, : len(CLASSES)],
            depth=pixels[:, len(CLASSES)],
            normals=pixels[:, len(CLASSES) + 1 :],
            heat=self.heat(x),
            reach=self.reach(quarter),
            attributes={name: head(features) for name, head in self.words.items()},
            features=features,
        )


class _Residual(nn.Module):
    """x + two 3×3 convolutions of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.GroupNorm(8, channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        inside = self.first(F.silu(self.norms[0](x)))
        return x + self.second(F.silu(self.norms[1](inside)))  # type: ignore[no-any-return]


class Inspected:
    """The inspector at work on pictures H×W×3 uint8 of any size."""

    def __init__(self, network: Inspector) -> None:
        self.network = network.eval().requires_grad_(False)

    def read(self, picture: Picture) -> NDArray[np.uint8]:
        """Class indices H×W of the worlds' palette."""
        found = self._enlarged(self._look(picture).classes, picture)
        classes: NDArray[np.uint8] = found.argmax(0).to(torch.uint8).numpy()
        return classes

    def depth(self, picture: Picture) -> NDArray[np.float32]:
        """Relative inverse depth H×W in [0, 1]: 1 is near, 0 is the sky."""
        found = self._enlarged(self._look(picture).depth[:, None], picture)[0].clamp(0, 1)
        depth: NDArray[np.float32] = found.numpy()
        return depth

    def normals(self, picture: Picture) -> NDArray[np.float32]:
        """Unit vectors H×W×3 (x right, y up, z towards the viewer), zero where it sees sky or cloud."""
        reading = self._look(picture)
        found = F.normalize(self._enlarged(reading.normals, picture), dim=0)
        open_sky = self._enlarged(reading.classes, picture).argmax(0) < 2
        normals: NDArray[np.float32] = torch.where(open_sky, 0.0, found).permute(1, 2, 0).contiguous().numpy()
        return normals

    def people(self, picture: Picture) -> People:
        """Everybody it sees, with the joints that can be seen."""
        reading = self._look(picture)
        height, width = picture.shape[:2]
        heat = torch.sigmoid(reading.heat[0]).numpy()
        scale = width / (2 * heat.shape[2]), height / (2 * heat.shape[1])
        found = [person.moved(scale) for person in find_people(heat, reading.reach[0].numpy())]
        return People(tuple(found), (width, height))

    def attributes(self, picture: Picture) -> dict[str, str]:
        """What a caption would say: a word for each of ``ATTRIBUTES``."""
        told = self._look(picture).attributes
        return {name: ATTRIBUTES[name][int(logits[0].argmax())] for name, logits in told.items()}

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """Pooled features N×96 of pictures N×3×H×W in [0, 1], for distances between sets of pictures."""
        size = _inner_size(pictures.shape[3], pictures.shape[2])
        if (pictures.shape[3], pictures.shape[2]) != size:
            pictures = F.interpolate(pictures, size=size[::-1], mode="bilinear", antialias=True)
        return self.network(pictures.float()).features  # type: ignore[no-any-return]

    @torch.no_grad()
    def _look(self, picture: Picture) -> Reading:
        height, width = picture.shape[:2]
        size = _inner_size(width, height)
        if size != (width, height):
            shrinks = size[0] * size[1] < width * height
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
        reading: Reading = self.network(x)
        return reading

    def _enlarged(self, maps: Tensor, picture: Picture) -> Tensor:
        """Maps 1×C×h×w → C×H×W of the picture's size."""
        size = picture.shape[:2]
        return (maps if maps.shape[-2:] == size else F.interpolate(maps, size=size, mode="bilinear"))[0]


def _inner_size(width: int, height: int) -> tuple[int, int]:
    """The size a picture is read at: the area of ``SIDE``², multiples of 16."""
    scale = SIDE / (width * height) ** 0.5
    return max(16, round(width * scale / 16) * 16), max(16, round(height * scale / 16) * 16)


def find_people(heat: NDArray[np.float32], reach: NDArray[np.float32]) -> list[Person]:
    """People in heat maps 19×h×w in [0, 1] and displacements 36×h/2×w/2, as :class:`Reading` has them.

    Each peak of the centre map is a person. From there the displacements say where about each joint is; the joint
    stands at the highest heat near that place, and is left out where there is none. Coordinates are pixels, two a cell.
    """
    centres = heat[-1]
    around = cv2.dilate(cv2.GaussianBlur(centres, (5, 5), 0.8), np.ones((7, 7), np.uint8))
    peaks = np.argwhere((cv2.GaussianBlur(centres, (5, 5), 0.8) >= around) & (centres > LEAST_CENTRE))
    peaks = peaks[np.argsort(-centres[peaks[:, 0], peaks[:, 1]], kind="stable")]
    people = []
    for y, x in peaks[:8]:
        guess = reach[:, y // 2, x // 2].reshape(-1, 2) * REACH / 2 + (x, y)
        extent = float(np.ptp(guess, axis=0).max())
        body = np.stack([_joint(heat[k], guess[k], 1.5 + 0.08 * extent) for k in range(len(JOINTS))])
        if (body[:, 2] > 0).sum() >= 3:
            people.append(Person(body))
    return people


def _joint(heat: NDArray[np.float32], guess: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    """x, y, confidence of a joint near ``guess`` (cells), in pixels; zeros where no heat is near."""
    rows, columns = np.indices(heat.shape, np.float32)
    near = heat * np.exp(-((columns - guess[0]) ** 2 + (rows - guess[1]) ** 2) / (2 * width**2))
    y, x = np.unravel_index(int(near.argmax()), heat.shape)
    if heat[y, x] < LEAST_JOINT or near[y, x] < 0.3 * LEAST_JOINT:
        return np.zeros(3, np.float32)
    top, left = max(int(y) - 1, 0), max(int(x) - 1, 0)
    patch = heat[top : y + 2, left : x + 2]
    weight = patch / patch.sum()
    fine_y = float((weight * np.arange(top, top + patch.shape[0])[:, None]).sum())
    fine_x = float((weight * np.arange(left, left + patch.shape[1])).sum())
    return np.array([2 * fine_x + 1, 2 * fine_y + 1, min(float(heat[y, x]), 1.0)], np.float32)


@lru_cache(maxsize=1)
def load_inspector(path: Path = WEIGHTS) -> Inspected:
    """The inspector that comes with the package."""
    from safetensors.torch import load_file

    if not path.exists():
        raise HackamoreError(f"the inspector is missing: {path}", remedy="make meadow, or install the package again")
    weights = {name: weight.float() for name, weight in load_file(path).items()}
    network = Inspector(
        words={name: len(weights[key]) for name in ATTRIBUTES if (key := f"words.{name}.bias") in weights}
    )
    network.load_state_dict(weights)
    return Inspected(network)
