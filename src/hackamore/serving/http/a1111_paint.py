"""Painting a part of a picture anew as the WebUI asks for it: its masks, what is under them, and only that part."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from hackamore.annotators.inpaint import fitted
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size, resize
from hackamore.core.recipe import embed
from hackamore.sampling.inpaint import FEATHER, paste
from hackamore.serving.http.a1111_body import ImageBody
from hackamore.serving.pictures import read_layers, read_picture
from hackamore.serving.settings import Limits

FILL, ORIGINAL, NOISE = 0, 1, 2
USUAL_BLUR = 4
LARGER = 8
"""How many times larger than a picture that is made one may be of which a part is painted anew."""


@dataclass(frozen=True)
class Region:
    """The part of a picture H×W×3 that alone is worked on, and ``mask`` H×W, white where it is painted anew."""

    original: Picture
    mask: Picture
    left: int
    top: int
    right: int
    bottom: int

    def cut(self, picture: Picture) -> Picture:
        """That part of a picture of the original's size."""
        return np.ascontiguousarray(picture[self.top : self.bottom, self.left : self.right])

    def cut_mask(self, mask: Picture) -> Picture:
        """That part of a mask H×W of any size, as a picture."""
        size = self.original.shape[1], self.original.shape[0]
        return grey(self.cut(_binary(resize(mask, size, "stretch"))))

    def pasted(self, made: Picture) -> Picture:
        """The original with ``made`` in this part, where the mask is white."""
        whole = self.original.copy()
        size = self.right - self.left, self.bottom - self.top
        whole[self.top : self.bottom, self.left : self.right] = resize(made, size, "stretch")
        return paste(whole, self.original, self.mask)


@dataclass(frozen=True)
class Painted:
    """A start picture and its mask, base64; the ``region`` where only a part is worked on."""

    init: str
    mask: str
    region: Region | None
    notices: tuple[str, ...]


def paint(body: ImageBody, size: Size | None, resizing: str, limits: Limits) -> Painted:
    """What a request with a mask begins from; ``size`` is the finished picture's, ``resizing`` how it is come by.

    Raises :class:`HackamoreError` for masks that hide nothing or have another shape, and for fills not done here.
    """
    assert body.init_images
    assert body.mask
    picture = read_picture(body.init_images[0], limits.source_pixels, "the start picture")
    shown = fitted(read_mask(body.mask, limits.source_pixels), (picture.shape[1], picture.shape[0]))
    mask = np.where(shown, np.uint8(255), np.uint8(0))
    if body.inpainting_mask_invert:
        mask = 255 - mask
    if not mask.any():
        raise HackamoreError(
            "the mask is empty", received="nothing white", expected="white where the picture is painted anew"
        )
    mask, notices = _blurred(mask, *_blurs(body))
    fill = FILL if body.inpainting_fill is None else body.inpainting_fill
    strength = 0.75 if body.denoising_strength is None else body.denoising_strength
    if fill not in (FILL, ORIGINAL) and not (fill == NOISE and strength == 1):
        raise HackamoreError(
            f"inpainting_fill {fill} is not done by this server",
            expected="0 (fill), 1 (original), or 2 (latent noise) with denoising_strength 1",
        )
    region = None
    if body.inpaint_full_res in (None, True, 1):
        _check_room(picture, limits)
        region = _region(picture, mask, size, body.inpaint_full_res_padding or 0)
        picture, mask, resizing = region.cut(picture), region.cut(mask), "stretch"
    size = size or _smaller(picture, limits.pixels)
    picture, mask = resize(picture, size, resizing), _binary(resize(mask, size, resizing))
    if fill == FILL:
        picture = filled(picture, mask)
    return Painted(embed(picture), embed(grey(mask)), region, notices)


def read_mask(text: str, most_pixels: int, name: str = "the mask") -> Picture:
    """A mask's file in base64 → H×W uint8, 0 or 255: its light parts, or where it has any, its opaque ones."""
    picture, opacity = read_layers(text, most_pixels, name)
    if opacity is not None and opacity.min() < 255:
        return _binary(opacity)
    return _binary(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8))


def filled(picture: Picture, mask: Picture) -> Picture:
    """The picture with the colours around it drawn into the white of the mask H×W."""
    known = (mask < 128).astype(np.float32)
    if not known.any():
        return picture
    spread = _spread(picture.astype(np.float32) * known[..., None], known)
    return np.where(known[..., None] > 0, picture, np.rint(spread).clip(0, 255).astype(np.uint8))


def _spread(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], known: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Push and pull: what is not known is taken from the same picture at half the size, and so on."""
    height, width = known.shape
    if known.min() > 0 or max(height, width) == 1:
        return np.asarray(values / np.maximum(known, 1e-6)[..., None], np.float32)
    half = max(1, width // 2), max(1, height // 2)
    smaller = [cv2.resize(one, half, interpolation=cv2.INTER_AREA) for one in (values, known)]
    coarse = _spread(smaller[0].reshape(half[1], half[0], 3), smaller[1].reshape(half[1], half[0]))
    grown = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
    return np.asarray(values + (1 - known[..., None]) * grown, np.float32)


def _check_room(picture: Picture, limits: Limits) -> None:
    """Raise for a picture that is too large to be answered whole."""
    height, width = picture.shape[:2]
    if width * height > LARGER * limits.pixels:
        raise HackamoreError(
            "the start picture is too large to have a part of it pasted back",
            received=f"{width}×{height}",
            expected=f"at most {LARGER * limits.pixels:,} pixels",
            remedy="inpaint_full_res: false",
        )


def _smaller(picture: Picture, most_pixels: int) -> Size:
    """The picture's own size, or one of its shape that is not too large to be made."""
    height, width = picture.shape[:2]
    factor = min(1.0, (most_pixels / (width * height)) ** 0.5)
    return max(8, int(width * factor)), max(8, int(height * factor))


def _binary(mask: Picture) -> Picture:
    return np.where(mask >= 128, np.uint8(255), np.uint8(0))


def _blurs(body: ImageBody) -> tuple[float, float]:
    """How far the mask is blurred across and down; ``mask_blur`` stands over the two others, as in the WebUI."""
    across, down = (USUAL_BLUR if told is None else told for told in (body.mask_blur_x, body.mask_blur_y))
    return (across, down) if body.mask_blur is None else (body.mask_blur, body.mask_blur)


def _blurred(mask: Picture, across: float, down: float) -> tuple[Picture, tuple[str, ...]]:
    """The mask with its corners rounded as by the WebUI's blur; how wide the new picture fades in is ours."""
    rounded = mask
    for sigma, kernel in ((across, (0, 1)), (down, (1, 0))):
        if sigma > 0:
            rounded = np.asarray(cv2.GaussianBlur(rounded, kernel, sigma), np.uint8)
    mask = _binary(rounded) if (rounded >= 128).any() else mask
    if across == down == USUAL_BLUR:
        return mask, ()
    return mask, (f"mask_blur rounds the mask; the new picture fades in over {FEATHER} pixels inside its edge",)


def _region(picture: Picture, mask: Picture, size: Size | None, padding: int) -> Region:
    """The box of the mask's white, with ``padding`` around it, grown to the shape of ``size`` where there is room."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, right = max(0, int(columns[0]) - padding), min(width, int(columns[-1]) + 1 + padding)
    top, bottom = max(0, int(rows[0]) - padding), min(height, int(rows[-1]) + 1 + padding)
    ratio = width / height if size is None else size[0] / size[1]
    left, right = _grown(left, right, round((bottom - top) * ratio), width)
    top, bottom = _grown(top, bottom, round((right - left) / ratio), height)
    return Region(picture, mask, left, top, right, bottom)


def _grown(low: int, high: int, length: int, room: int) -> tuple[int, int]:
    """The stretch from ``low`` to ``high`` made at least 8 and ``length`` long around its middle, within ``room``."""
    length = min(room, max(high - low, length, 8))
    low = min(max(0, low - (length - (high - low)) // 2), room - length)
    return low, low + length


def grey(mask: Picture) -> Picture:
    """A mask H×W as a picture."""
    return np.repeat(mask[..., None], 3, axis=2)
