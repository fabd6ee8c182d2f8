"""The routes of the WebUI's ControlNet extension: what they make is bounded, and what they do not read is refused."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from hackamore.core.image import png
from hackamore.serving.settings import Limits
from tests.behaviour.serving_rig import LOCAL, errors_of, picture, rig

PIXELS = 256 * 256


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server that reads pictures of at most 256×256."""
    with rig(tmp_path_factory.mktemp("served"), limits=Limits(source_pixels=PIXELS)) as served:
        yield TestClient(served.app, base_url=LOCAL)


def detect(client: TestClient, **fields: Any) -> Any:
    told = {"controlnet_module": "canny", "controlnet_input_images": [picture()], "controlnet_processor_res": 64}
    return client.post("/controlnet/detect", json=told | fields)


def test_what_one_call_makes_is_bounded_together(client: TestClient) -> None:
    small = [picture()] * 4
    assert len(detect(client, controlnet_input_images=small, controlnet_processor_res=128).json()["images"]) == 4
    for fields in (
        {"controlnet_input_images": [*small, picture()], "controlnet_processor_res": 128},
        {"controlnet_processor_res": 512},
        {"controlnet_module": "none", "controlnet_input_images": [picture(256, 200)] * 2},
    ):
        answer = detect(client, **fields)
        assert answer.status_code == 400
        assert "too large together" in errors_of(answer)["what"]


def test_drawings_of_one_call_are_bounded_together(client: TestClient) -> None:
    pose = {"people": [{"pose_keypoints_2d": [10, 10, 1] * 18}], "canvas_width": 128, "canvas_height": 128}
    assert len(client.post("/controlnet/render_openpose_json", json=[pose] * 4).json()["images"]) == 4
    answer = client.post("/controlnet/render_openpose_json", json=[pose] * 5)
    assert answer.status_code == 400
    assert "too large together" in errors_of(answer)["what"]


def test_masks_are_read_by_inpainting_alone_and_refused_by_others(client: TestClient) -> None:
    hole = np.zeros((32, 32, 3), np.uint8)
    hole[8:16, 8:16] = 255
    mask = base64.b64encode(png(hole)).decode()
    assert detect(client, controlnet_module="inpaint_only", controlnet_masks=[mask]).status_code == 200
    for fields in ({"controlnet_masks": [mask]}, {"controlnet_module": "inpaint_only"}):
        answer = detect(client, **fields)
        assert answer.status_code == 400
        assert "controlnet_masks" in errors_of(answer)["what"]


def test_what_detect_would_not_read_is_refused_or_told(client: TestClient) -> None:
    answer = detect(client, controlnet_modul="canny")
    assert answer.status_code == 400
    assert "controlnet_modul" in errors_of(answer)["what"]
    assert detect(client).json()["hackamore"]["notices"] == []
    (notice,) = detect(client, controlnet_module="none", controlnet_processor_res=9999).json()["hackamore"]["notices"]
    assert "controlnet_processor_res" in notice


def test_a_body_that_is_no_json_is_told_what_to_do(client: TestClient) -> None:
    for route in ("/sdapi/v1/txt2img", "/v1/images/generations"):
        answer = client.post(route, content="prompt=x")
        assert answer.status_code in (400, 422)
        assert "application/json" in errors_of(answer)["expected"]
