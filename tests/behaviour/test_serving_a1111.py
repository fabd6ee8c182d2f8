"""The WebUI's fields become a request of ours, or are refused by name."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hackamore.core.errors import HackamoreError
from hackamore.serving.http.a1111_body import ImageBody
from hackamore.serving.http.a1111_names import Offered
from hackamore.serving.http.a1111_request import asked
from tests.behaviour.webui_words import ANYTHING, LIMITS, TINY, b64, grey, masked, understood, with_unit


def test_what_is_told_becomes_the_request(offers: list[Offered]) -> None:
    asked = understood(
        offers, negative_prompt="snow", seed=7, batch_size=2, n_iter=3, steps=9, cfg_scale=5.5, width=128, height=96,
        sampler_name="DPM++ 2M", scheduler="Karras",
    )  # fmt: skip
    request = asked.request
    assert (request.base, request.prompt, request.negative, request.seed) == ("meadow", "a lake", "snow", 7)
    assert (request.num, request.steps, request.guidance, request.size) == (6, 9, 5.5, (128, 96))
    assert (request.scheduler, asked.sampler) == ("dpm++_2m_karras", "DPM++ 2M")


def test_what_is_not_told_is_the_servers(offers: list[Offered]) -> None:
    request = understood(offers).request
    assert (request.seed, request.size, request.guidance, request.num) == (None, None, None, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("restore_faces", True), ("tiling", True), ("enable_hr", True), ("subseed_strength", 0.3),
        ("styles", ["x"]), ("script_name", "loopback"), ("refiner_checkpoint", "sdxl"), ("s_churn", 0.5),
        ("s_noise", 1.1), ("clip_skip", 2), ("seed_resize_from_w", 512), ("no_such_field", 1), ("latent_mask", "AAAA"),
        ("mask_round", False), ("distilled_cfg_scale", 7), ("sd_model_checkpoint", "meadow"),
    ],
)  # fmt: skip
def test_what_would_change_the_picture_is_refused_by_name(offers: list[Offered], field: str, value: Any) -> None:
    with pytest.raises(HackamoreError, match=field):
        understood(offers, **{field: value})


def test_fields_that_change_nothing_are_taken(offers: list[Offered]) -> None:
    understood(
        offers, restore_faces=False, tiling=False, enable_hr=False, hr_scale=2, hr_upscaler="Latent", styles=[],
        subseed=5, subseed_strength=0.0, script_name=None, s_churn=0, s_noise=1, eta=1.0, save_images=True,
        seed_resize_from_w=-1, firstphase_width=0, force_task_id="x", alwayson_scripts={"ADetailer": {"args": [False]}},
        mask_round=True, distilled_cfg_scale=3.5, seed_enable_extras=True,
    )  # fmt: skip


def test_what_the_page_of_the_webui_sends_is_taken(offers: list[Offered]) -> None:
    scripts = {
        "API payload": {"args": []}, "Refiner": {"args": [False, "", 0.8]}, "Sampler": {"args": [20, "Euler"]},
        "Seed": {"args": [-1, False, -1, 0, 0, 0]}, "Tiled Diffusion": {"args": ["False", "MultiDiffusion"]},
        "AnimateDiff": {"args": [{"enable": False, "video_length": 16}]},
        "ControlNet": {"args": [{"enabled": False, "module": "none", "model": "None"}] * 3},
    }  # fmt: skip
    asked = understood(offers, sampler_name="DDIM", steps=9, alwayson_scripts=scripts)
    assert (asked.request.scheduler, asked.request.steps, asked.request.controls) == ("ddim", 9, ())
    assert [notice.split()[2] for notice in asked.notices] == ["Sampler", "Seed"]
    for name, first in (
        ("Tiled Diffusion", "True"),
        ("AnimateDiff", {"enable": True}),
        ("AnimateDiff", {"model": "x"}),
    ):
        with pytest.raises(HackamoreError, match=name):
            understood(offers, alwayson_scripts={name: {"args": [first]}})


def test_errors_have_the_names_of_the_client(offers: list[Offered]) -> None:
    with pytest.raises(HackamoreError, match="cfg_scale"):
        understood(offers, cfg_scale=-1)
    with pytest.raises(HackamoreError, match="unit 0: guidance_start"):
        with_unit(offers, model="canny", guidance_start=0.9, guidance_end=0.2)


def test_a_script_that_is_not_here_is_refused_by_name(offers: list[Offered]) -> None:
    with pytest.raises(HackamoreError, match="ADetailer"):
        understood(offers, alwayson_scripts={"ADetailer": {"args": [True, {"ad_model": "face"}]}})


def test_settings_that_are_not_followed_are_refused(offers: list[Offered]) -> None:
    assert understood(offers, override_settings={"sd_model_checkpoint": "meadow [abcdef0123]"}).request.base == "meadow"
    with pytest.raises(HackamoreError, match="CLIP_stop_at_last_layers"):
        understood(offers, override_settings={"CLIP_stop_at_last_layers": 2})
    with pytest.raises(HackamoreError, match="unknown model"):
        understood(offers, override_settings={"sd_model_checkpoint": "deliberate"})


def test_a_start_picture_and_its_strength(offers: list[Offered]) -> None:
    request = understood(offers, init_images=[b64(grey())], denoising_strength=0.5, resize_mode=1).request
    assert (request.strength, request.resize, request.mask) == (0.5, "crop", None)
    for wrong in ({"init_images": []}, {"init_images": ["A", "B"]}, {"init_images": ["A"], "resize_mode": 3}):
        with pytest.raises(HackamoreError):
            understood(offers, **wrong)
    with pytest.raises(HackamoreError, match="denoising_strength"):
        understood(offers, init_images=[b64(grey())], denoising_strength=0)


@pytest.mark.parametrize("fields", [{"width": 10**6, "height": 10**6}, {"width": 512}, {"width": -8, "height": 8}])
def test_sizes_that_cannot_be_are_refused_before_anything_is_made(
    offers: list[Offered], fields: dict[str, int]
) -> None:
    told = masked().model_dump(exclude_none=True) | fields
    with pytest.raises(HackamoreError, match=r"size|large"):
        understood(offers, **told)


@settings(max_examples=150, deadline=None)
@given(told=st.dictionaries(st.sampled_from([*ImageBody.model_fields, "unknown", "hr_scale"]), ANYTHING))
def test_fields_of_anything_are_understood_or_refused(told: dict[str, Any]) -> None:
    offers = [Offered("meadow", None, None, None, True)]
    with suppress(HackamoreError, ValidationError):
        asked(ImageBody.model_validate({"init_images": [TINY], **told}), offers, "meadow", LIMITS)
