"""Pictures that clients send: base64 and nothing else, told from their headers before a pixel is decoded."""

from __future__ import annotations

import base64
import re
import threading
import warnings
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from hackamore.core.errors import HackamoreError
from hackamore.core.image import LEAST_SIDE, Picture, load_picture
from hackamore.core.skeleton import People, from_openpose

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""What is read; others are refused, since some of Pillow's readers call other programs."""
LONGEST_SIDE = 16_384
_PREFIX = re.compile(r"data:[\w.+/-]{0,100}(;[\w=.+-]{0,100}){0,4};base64,", re.ASCII | re.IGNORECASE)
_OPENING = threading.Lock()  # the filters of warnings are the whole process's


def read_picture(text: str, most_pixels: int, name: str = "the picture") -> Picture:
    """A picture's file in base64, with or without a ``data:`` prefix → RGB uint8 H×W×3.

    Of an animation the first frame is taken. Raises :class:`HackamoreError` for what is no base64 (a path, a URL), no
    picture of :data:`FORMATS`, damaged, smaller than 8 pixels a side, or of more than ``most_pixels``, which is told
    from its header before it is decoded. ``name``: what it is called in errors.
    """
    return read_layers(text, most_pixels, name)[0]


def read_layers(text: str, most_pixels: int, name: str = "the picture") -> tuple[Picture, Picture | None]:
    """The same, and how opaque it is, H×W uint8, 0 to 255; None where it cannot be transparent."""
    with _opened(decoded(text, name), name) as picture:
        width, height = picture.size
        if width * height > most_pixels or max(width, height) > LONGEST_SIDE:
            raise HackamoreError(
                f"{name} is too large",
                received=f"{width}×{height}",
                expected=f"at most {most_pixels:,} pixels, and {LONGEST_SIDE:,} a side",
                remedy="scale it down",
            )
        if min(width, height) < LEAST_SIDE:
            expected = f"at least {LEAST_SIDE} pixels a side"
            raise HackamoreError(f"{name} is too small", received=f"{width}×{height}", expected=expected)
        try:
            return load_picture(picture), _opacity(picture)
        except HackamoreError as error:
            raise HackamoreError(f"{name} is damaged", received=error.received, expected=error.expected) from error
        except Exception as error:  # whatever a reader makes of a hostile file, it is the file that is wrong
            raise HackamoreError(f"{name} is damaged", expected="a whole picture file") from error


def encoded(data: bytes) -> str:
    """A file as base64."""
    return base64.b64encode(data).decode("ascii")


def decoded(text: str, name: str = "the picture") -> bytes:
    """The bytes of a file in base64, with or without a ``data:`` prefix; raises :class:`HackamoreError`."""
    found = _PREFIX.match(text)
    body = text[found.end() :] if found else text
    try:
        data = base64.b64decode("".join(body.split()), validate=True)
    except ValueError as error:
        raise HackamoreError(
            f"{name} is not base64",
            received=f"{text[:40]}{'…' if len(text) > 40 else ''}",
            expected="the picture's file itself, in base64; paths and addresses are never opened",
        ) from error
    if not data:
        raise HackamoreError(f"{name} is empty", expected="the picture's file itself, in base64")
    return data


def read_people(told: dict[str, Any]) -> People:
    """OpenPose key points of one picture; raises :class:`HackamoreError` for others, and where nobody is told."""
    people = from_openpose(told)[0]
    if not people.people:
        raise HackamoreError("the key points hold no people", expected="at least one person with key points")
    return people


def _opacity(picture: Image.Image) -> Picture | None:
    if not picture.has_transparency_data:
        return None
    return np.array(ImageOps.exif_transpose(picture).convert("RGBA").getchannel("A"))


def _opened(data: bytes, name: str) -> Image.Image:
    """The picture, its header read and no pixel decoded."""
    expected = "a PNG, JPEG, WebP, GIF, BMP or TIFF file"
    try:
        with _OPENING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        received = "more pixels than any picture has that is taken"
        raise HackamoreError(f"{name} is too large", received=received, remedy="scale it down") from error
    except Exception as error:  # as above
        raise HackamoreError(f"{name} cannot be read as a picture", expected=expected) from error
