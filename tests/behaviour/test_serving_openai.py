"""The fields of OpenAI's images API become a request of ours, or are refused by name."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pydantic import ValidationError

from hackamore.core.errors import HackamoreError
from hackamore.serving.http.a1111_names import Offered
from hackamore.serving.http.bodies import MOST_VALUES
from hackamore.serving.http.openai_body import Edited, Varied, Wanted, asked
from hackamore.serving.pictures import read_picture
from hackamore.serving.request import Request
from hackamore.serving.settings import Limits
from tests.behaviour.serving_rig import LOCAL, errors_of, rig

OFFERS = [Offered("meadow", None, None, None, True), Offered("meadow/seg", "meadow", "seg", None, False)]
PIXELS = 10_000
LIMITS = Limits(pixels=PIXELS, source_pixels=40_000)


def file(width: int = 64, height: int = 64, hole: bool | None = None) -> str:
    """A picture in base64; with ``hole`` True a part of it is transparent, with False nothing is, though it could."""
    pixels = np.full((height, width, 4), 200, np.uint8)
    pixels[..., 3] = 255
    if hole:
        pixels[: height // 2, :, 3] = 0
    buffer = BytesIO()
    Image.fromarray(pixels if hole is not None else pixels[..., :3]).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def understood(kind: type[Wanted] = Wanted, **fields: Any) -> Request:
    fields.setdefault("prompt", "a lake")
    return asked(kind.model_validate(fields), OFFERS, "meadow", LIMITS)


def test_what_is_told_becomes_the_request() -> None:
    request = understood(
        n=3, size="96x64", quality="high", model="meadow", user="someone", moderation="low", background="auto",
        stream=False, input_fidelity="low", output_format="webp", output_compression=80, seed=4, negative="snow",
        guidance=3, controls=[{"kind": "seg", "image": "AAAA"}],
    )  # fmt: skip
    assert (request.num, request.size, request.steps, request.base) == (3, (96, 64), 40, "meadow")
    assert (request.seed, request.negative, request.guidance) == (4, "snow", 3)
    assert request.controls[0].kind == "seg"


def test_what_is_not_told_is_the_servers() -> None:
    request = understood(n=None, size=None, quality=None, response_format=None, user=None)
    assert (request.num, request.size, request.steps, request.seed) == (1, None, 20, None)
    assert understood(size="auto").size is None
    assert understood(quality="high", steps=7).steps == 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("style", "vivid"), ("background", "transparent"), ("stream", True), ("partial_images", 2), ("size", "big"),
        ("size", "0x0x0"), ("model", "dall-e-3"), ("nonsense", 1), ("output_compression", 50), ("svg", {"model": "x"}),
    ],
)  # fmt: skip
def test_what_is_not_done_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(HackamoreError) as error:
        understood(**{field: value})
    assert field in str(error.value) or str(value) in str(error.value) or field == "output_compression"


@pytest.mark.parametrize(
    ("field", "value"),
    [("output_format", "gif"), ("quality", "max"), ("n", 0), ("n", 11), ("controls", "no JSON"), ("strength", 0)],
)
def test_values_out_of_range_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        understood(**{field: value})


@pytest.mark.parametrize(
    ("field", "words"), [("stream", "false"), ("partial_images", "0"), ("background", "auto or opaque")]
)
def test_what_may_be_told_instead_is_said_once(field: str, words: str) -> None:
    with pytest.raises(HackamoreError) as error:
        understood(**{field: "much"})
    assert error.value.expected == words


def test_an_address_is_of_a_png() -> None:
    understood(response_format="url")
    with pytest.raises(HackamoreError, match="PNG"):
        understood(response_format="url", output_format="jpeg")


def test_an_edit_paints_what_the_mask_leaves_transparent() -> None:
    request = understood(Edited, image=file(), mask=file(hole=True))
    mask = read_picture(request.mask or "", PIXELS)
    assert mask[:32].min() == 255
    assert mask[32:].max() == 0
    assert request.size == (64, 64)


def test_without_a_mask_the_picture_itself_tells_or_is_begun_from() -> None:
    assert understood(Edited, image=file(hole=True)).mask is not None
    for plain in (file(), file(hole=False)):
        request = understood(Edited, image=plain, strength="0.5")
        assert (request.mask, request.strength) == (None, 0.5)
        assert request.init is not None


@pytest.mark.parametrize(("size", "made"), [((64, 48), (64, 48)), ((60, 48), None), ((160, 160), None)])
def test_the_size_of_an_edit_is_the_pictures_where_such_are_made(
    size: tuple[int, int], made: tuple[int, int] | None
) -> None:
    assert understood(Edited, image=file(*size)).size == made
    assert understood(Edited, image=file(*size), size="32x32").size == (32, 32)


@pytest.mark.parametrize("mask", [file(), file(hole=False), file(32, 32, hole=True), "bm9uZQ==", "/etc/passwd"])
def test_masks_that_are_none_are_refused(mask: str) -> None:
    with pytest.raises(HackamoreError, match="mask"):
        understood(Edited, image=file(), mask=mask)


def test_controls_in_a_form_are_json() -> None:
    request = understood(Edited, image=file(), controls=json.dumps([{"kind": "seg", "image": "AAAA", "scale": 0.5}]))
    assert request.controls[0].scale == 0.5


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ("[" + "[]," * MOST_VALUES + "[]]", "too many values"),
        ("[" * 900 + "]" * 900, "too deep"),
        ('[{"kind": "blur", "image": "AAAA", "parameters": {"sigma": NaN}}]', "not valid JSON"),
        ('[{"kind": "seg", "image": "AAAA", "weights": [1e999]}]', "too large"),
        ("nothing", "JSON"),
    ],
)
def test_controls_in_a_form_are_bounded_as_bodies_are(controls: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        understood(Edited, image=file(), controls=controls)


def test_an_edit_of_several_images_is_refused_in_words(tmp_path: Path) -> None:
    with rig(tmp_path) as served:
        files = [("image[]", ("a.png", base64.b64decode(file()), "image/png"))] * 2
        answer = TestClient(served.app, base_url=LOCAL).post("/v1/images/edits", data={"prompt": "a"}, files=files)
    assert answer.status_code == 400
    assert "several images" in errors_of(answer)["what"]


def test_a_variation_needs_no_prompt() -> None:
    assert asked(Varied(image=file()), OFFERS, "meadow", LIMITS).prompt == ""
