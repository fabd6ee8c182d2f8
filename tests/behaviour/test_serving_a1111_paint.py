"""The WebUI's masks, and painting a part of a picture anew."""

from __future__ import annotations

import base64
import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hackamore.core.errors import HackamoreError
from hackamore.serving.http.a1111_lists import _png_info
from hackamore.serving.http.a1111_paint import filled, paint, read_mask
from hackamore.serving.pictures import read_layers, read_picture
from tests.behaviour.webui_words import LIMITS, PIXELS, b64, grey, masked


def test_a_mask_is_white_where_it_is_painted_and_can_be_turned() -> None:
    mask = read_mask(paint(masked(inpainting_fill=1), None, "crop", LIMITS).mask, PIXELS)
    assert mask[20, 30] == 255
    assert mask[0, 0] == 0
    turned = read_mask(paint(masked(inpainting_fill=1, inpainting_mask_invert=1), None, "crop", LIMITS).mask, PIXELS)
    assert (turned == 255 - mask).all()


def test_a_mask_of_strokes_on_nothing_is_its_strokes() -> None:
    strokes = np.zeros((64, 64, 4), np.uint8)
    strokes[8:16, 8:16] = (255, 255, 255, 255)
    buffer = BytesIO()
    Image.fromarray(strokes).save(buffer, format="PNG")
    mask = read_mask(base64.b64encode(buffer.getvalue()).decode(), PIXELS)
    assert mask.sum() == 8 * 8 * 255


def test_filling_takes_the_colours_around_and_leaves_the_rest() -> None:
    picture, mask = np.full((64, 64, 3), 40, np.uint8), np.zeros((64, 64), np.uint8)
    picture[:, 32:] = 200
    mask[20:40, 4:24] = 255
    picture[mask > 0] = (255, 0, 255)
    done = filled(picture, mask)
    assert (done[mask == 0] == picture[mask == 0]).all()
    assert np.abs(done[20:40, 4:20].astype(int) - 40).max() < 60
    assert (filled(picture, np.full((64, 64), 255, np.uint8)) == picture).all()


@pytest.mark.parametrize(
    ("fields", "across", "down"),
    [
        ({"mask_blur_x": 6, "mask_blur_y": 0}, True, False),
        ({"mask_blur_x": 0, "mask_blur_y": 6}, False, True),
        ({"mask_blur": 6, "mask_blur_x": 0, "mask_blur_y": 0}, True, True),
        ({"mask_blur": 0}, False, False),
        ({}, True, True),
    ],
)
def test_a_mask_is_blurred_across_and_down_as_it_is_told(fields: dict[str, Any], across: bool, down: bool) -> None:
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[16:48, 16:48] = mask[30:32] = mask[:, 30:32] = 255  # with a line across, and one down
    told = masked(mask=b64(mask), inpainting_fill=1, **{"mask_blur": None, **fields})
    done = read_mask(paint(told, None, "crop", LIMITS).mask, PIXELS)
    assert (done[4, 30] == 0, done[30, 4] == 0) == (across, down)  # a blur across takes away the line that goes down
    assert done[31, 40] == 255


@pytest.mark.parametrize("fill", [2, 3])
def test_other_fills_are_refused_by_name(fill: int) -> None:
    with pytest.raises(HackamoreError, match=f"inpainting_fill {fill}"):
        paint(masked(inpainting_fill=fill), None, "crop", LIMITS)


def test_an_empty_mask_and_one_of_another_shape_are_refused() -> None:
    for wrong in (np.zeros((64, 64, 3), np.uint8), np.full((64, 200, 3), 255, np.uint8)):
        with pytest.raises(HackamoreError, match="mask"):
            paint(masked(mask=b64(wrong)), None, "crop", LIMITS)


def test_only_the_masked_part_is_worked_on_and_pasted() -> None:
    painted = paint(masked(inpaint_full_res=True, inpaint_full_res_padding=4), (128, 128), "crop", LIMITS)
    region = painted.region
    assert region is not None
    assert (region.right - region.left, region.bottom - region.top) == (40, 40)
    assert (region.left, region.right) == (20, 60)
    assert region.top <= 12
    assert region.bottom >= 44
    assert read_picture(painted.init, PIXELS).shape == (128, 128, 3)
    whole = region.pasted(np.full((128, 128, 3), 255, np.uint8))
    mask = read_mask(masked().mask or "", PIXELS)
    assert (whole[mask == 0] == grey()[mask == 0]).all()
    assert whole[28, 40].min() > 200


def two_formats() -> str:
    """A TIFF of 16×16 whose bytes another reader of Pillow's takes for a picture of 4000×4000."""
    other = b"x: y\nImage type: RGBA image\nImage size (x*y): 4000*4000\n\x1a"
    begin = 8 + len(other)
    values = begin + 16 * 16
    told = [(256, 16), (257, 16), (258, 8), (259, 1), (262, 1), (273, begin), (277, 1), (278, 16), (279, 16 * 16)]
    entries = b"".join(struct.pack("<HHLL", tag, 3, 1, value) for tag, value in told)
    return base64.b64encode(
        b"II*\0" + struct.pack("<L", values) + other + bytes([200]) * 256 + struct.pack("<H", len(told)) + entries
        + bytes(4)
    ).decode()  # fmt: skip


def test_a_picture_is_read_again_as_what_it_was_checked_as() -> None:
    assert Image.open(BytesIO(base64.b64decode(two_formats()))).size == (4000, 4000)
    assert read_mask(two_formats(), PIXELS).shape == (16, 16)
    assert read_layers(two_formats(), PIXELS, "the image")[1] is None
    assert _png_info(two_formats(), PIXELS)["info"] == ""
