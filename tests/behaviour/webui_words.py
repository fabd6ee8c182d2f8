"""What a client of the WebUI sends, and what the server understands of it."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from hypothesis import strategies as st

from hackamore.core.image import Picture, png
from hackamore.serving.http.a1111_body import Body, ImageBody
from hackamore.serving.http.a1111_names import Offered
from hackamore.serving.http.a1111_request import Asked, asked
from hackamore.serving.settings import Limits

PIXELS = 1_000_000
LIMITS = Limits(source_pixels=PIXELS)
TINY = base64.b64encode(png(np.full((8, 8, 3), 90, np.uint8))).decode()


def b64(picture: Picture) -> str:
    """A picture's file in base64."""
    return base64.b64encode(png(picture)).decode()


def grey(width: int = 64, height: int = 64, value: int = 90) -> Picture:
    """A picture of one grey with a red part."""
    picture = np.full((height, width, 3), value, np.uint8)
    picture[height // 4 : height // 2, width // 4 : width // 2] = (200, 40, 10)
    return picture


def understood(offers: list[Offered], **fields: Any) -> Asked:
    """What a body of ``fields`` means."""
    kind = ImageBody if "init_images" in fields else Body
    return asked(kind.model_validate({"prompt": "a lake", **fields}), offers, "meadow", LIMITS)


def with_unit(offers: list[Offered], **unit: Any) -> Asked:
    """What a body with one unit means, which has a picture where none is told."""
    unit.setdefault("image", b64(grey()))
    return understood(offers, alwayson_scripts={"ControlNet": {"args": [unit]}})


def masked(**fields: Any) -> ImageBody:
    """A body with a start picture and a mask."""
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[16:40, 24:56] = 255
    told = {"init_images": [b64(grey())], "mask": b64(mask), "inpaint_full_res": False, "mask_blur": 0, **fields}
    return ImageBody.model_validate(told)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
