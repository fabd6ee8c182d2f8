"""Pictures and hints: reading any file safely, axes, range, colour order, and the one resize of the house.

A *picture* is uint8 RGB, H×W×3. A *hint* tensor is float32 RGB in [0, 1], N×3×H×W. Sizes are (width, height).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from hackamore.core.errors import HackamoreError

Picture = NDArray[np.uint8]
Size = tuple[int, int]
ResizeMode = Literal["crop", "fill", "stretch", "none"]

MOST_PIXELS = 100_000_000
"""A file that declares more pixels is refused before a single one is decoded."""
LEAST_SIDE = 8


def load_picture(
    source: Path | str | bytes | Image.Image | Picture,
    *,
    size: Size | None = None,
    mode: str = "crop",
    categorical: bool = False,
) -> Picture:
    """Read a picture as RGB uint8 H×W×3, resized to ``size`` when one is given.

    EXIF rotation is applied; of an animation the first frame is taken; 16-bit and float pictures are scaled to 8 bits;
    grey, palette and CMYK pictures become RGB; transparency is laid over white.
    Raises :class:`HackamoreError` for a file that is missing, no picture, truncated, smaller than 8 pixels on a side,
    or larger than ``MOST_PIXELS`` (told from its header).
    """
    if isinstance(source, np.ndarray):
        picture = _from_array(source)
    else:
        name = source if isinstance(source, (str, Path)) else "the picture"
        if isinstance(source, Image.Image):
            picture = _decode(source, name)
        else:
            with _open(source) as opened:
                picture = _decode(opened, name)
    height, width = picture.shape[:2]
    if min(width, height) < LEAST_SIDE:
        raise HackamoreError(
            "the picture is too small", received=f"{width}×{height}", expected=f"at least {LEAST_SIDE} pixels a side"
        )
    return picture if size is None else resize(picture, size, mode, categorical=categorical)


def resize(picture: Picture, size: Size, mode: str = "crop", *, categorical: bool = False) -> Picture:
    """Bring a picture (or mask H×W) to ``size``: the same code for hints, pictures and masks.

    ``crop`` keeps the aspect ratio and cuts what sticks out, centred; ``fill`` keeps it and pads with the border's
    pixels; ``stretch`` does not keep it; ``none`` refuses another size. ``categorical`` takes the nearest pixel
    (no new colours); otherwise area averaging when shrinking, and cubic interpolation when growing.
    """
    check_resize(mode)
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    if mode == "none":
        raise HackamoreError(
            "the picture has another size, and resize mode none forbids to change it",
            received=f"{width}×{height}",
            expected=f"{size[0]}×{size[1]}",
            remedy="resize=crop, fill or stretch",
        )
    if mode == "stretch":
        return _scale(picture, size, categorical)
    factors = size[0] / width, size[1] / height
    if mode == "crop":
        kept = max(1, round(size[0] / max(factors))), max(1, round(size[1] / max(factors)))
        left, top = (width - kept[0]) // 2, (height - kept[1]) // 2
        return _scale(np.ascontiguousarray(picture[top : top + kept[1], left : left + kept[0]]), size, categorical)
    scaled = max(1, round(width * min(factors))), max(1, round(height * min(factors)))
    picture = _scale(picture, scaled, categorical)
    left, top = (size[0] - scaled[0]) // 2, (size[1] - scaled[1]) // 2
    right, bottom = size[0] - scaled[0] - left, size[1] - scaled[1] - top
    padded: Picture = cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_REPLICATE)
    return padded


def check_resize(mode: str) -> None:
    """Raise :class:`HackamoreError` for what is no resize mode."""
    if mode not in get_args(ResizeMode):
        raise HackamoreError("unknown resize mode", received=mode, expected=", ".join(get_args(ResizeMode)))


def to_hint(pictures: Picture | Sequence[Picture]) -> Tensor:
    """Pictures uint8 H×W×3 → hint tensor float32 N×3×H×W in [0, 1]."""
    stack = np.stack([pictures] if isinstance(pictures, np.ndarray) and pictures.ndim == 3 else list(pictures))
    return torch.from_numpy(stack.astype(np.float32) / 255.0).permute(0, 3, 1, 2).contiguous()


def from_hint(hint: Tensor) -> list[Picture]:
    """Hint tensor N×3×H×W in [0, 1] → pictures uint8 H×W×3."""
    array = (hint.detach().float().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    return [np.ascontiguousarray(picture) for picture in array.permute(0, 2, 3, 1).numpy()]


def check_size(size: Size, multiple: int = 8) -> Size:
    """Return ``size`` when a base can make it; else raise :class:`HackamoreError` naming the nearest that it can."""
    width, height = size
    if min(size) < multiple or width % multiple or height % multiple:
        near = tuple(max(multiple, round(side / multiple) * multiple) for side in size)
        raise HackamoreError(
            "the size does not fit the base",
            received=f"{width}×{height}",
            expected=f"width and height that are multiples of {multiple}",
            remedy=f"{near[0]}x{near[1]}",
        )
    return size


def png(picture: Picture, **info: Any) -> bytes:
    """A picture as PNG bytes."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", **info)
    return buffer.getvalue()


def _scale(picture: Picture, size: Size, categorical: bool) -> Picture:
    height, width = picture.shape[:2]
    if categorical:
        method = cv2.INTER_NEAREST_EXACT
    else:
        method = cv2.INTER_AREA if size[0] * size[1] < width * height else cv2.INTER_CUBIC
    scaled: Picture = cv2.resize(picture, size, interpolation=method)
    return scaled


def _open(source: Path | str | bytes) -> Image.Image:
    if isinstance(source, bytes):
        name, file = "the picture", BytesIO(source)
    else:
        name, file = str(source), Path(source)  # type: ignore[assignment]
        if not exists(Path(source)):
            raise HackamoreError(f"no such file: {source}", expected="a picture (PNG, JPEG, WebP, GIF, TIFF, BMP)")
        if Path(source).is_dir():
            raise HackamoreError(f"{source} is a folder", expected="a picture file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(file)
    except Image.DecompressionBombError as error:
        raise _too_large(name, "more pixels than Pillow opens") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "its content is no picture"
        raise HackamoreError(
            f"{name} cannot be read as a picture", received=reason, expected="PNG, JPEG, WebP, GIF, TIFF or BMP"
        ) from error
    if picture.width * picture.height > MOST_PIXELS:
        picture.close()
        raise _too_large(name, f"{picture.width}×{picture.height}")
    return picture


def exists(path: Path) -> bool:
    """Whether there is such a file; one whose name no file can have is not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _too_large(name: str, received: str) -> HackamoreError:
    return HackamoreError(
        f"{name} is too large", received=received, expected=f"at most {MOST_PIXELS:,} pixels", remedy="scale it down"
    )


def _decode(picture: Image.Image, name: object) -> Picture:
    try:
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I") or picture.mode == "F":
            return _from_array(np.asarray(picture))
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
        return np.array(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise HackamoreError(
            f"{name} is damaged: it ends too early or its content is broken",
            received=str(error),
            expected="a whole picture file",
        ) from error


def _from_array(array: NDArray[Any]) -> Picture:
    """Any numeric array H×W or H×W×(1, 3, 4) → RGB uint8; wider types are scaled by their range."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise HackamoreError("the array is no picture", received=f"shape {array.shape}", expected="H×W×3")
    if array.dtype == np.uint8:
        scaled = array
    elif array.dtype.kind == "f":
        known = np.nan_to_num(array.astype(np.float64), posinf=0, neginf=0)
        low, high = min(0.0, known.min(initial=0)), max(1.0, known.max(initial=1))
        scaled = ((known - low) / (high - low) * 255 + 0.5).astype(np.uint8)
    else:
        top = 65535 if array.dtype.itemsize == 2 or array.max(initial=0) > 255 else 255
        scaled = (np.clip(array.astype(np.int64), 0, top) * 255 // top).astype(np.uint8)
    if scaled.ndim == 2:
        scaled = scaled[..., None]
    if scaled.shape[2] == 4:
        alpha = scaled[..., 3:].astype(np.uint16)
        scaled = ((scaled[..., :3] * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(scaled, (*scaled.shape[:2], 3)))
