"""Units of the WebUI's ControlNet extension become ours, or are refused by name."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hackamore.core.errors import HackamoreError
from hackamore.serving.http.a1111_body import Body
from hackamore.serving.http.a1111_names import Offered
from hackamore.serving.http.a1111_request import asked
from hackamore.serving.http.a1111_unit import UnitBody
from hackamore.serving.pictures import read_picture
from tests.behaviour.webui_words import ANYTHING, LIMITS, PIXELS, TINY, b64, grey, masked, understood, with_unit


def test_a_unit_is_understood_whole(offers: list[Offered]) -> None:
    asked = with_unit(
        offers, module="canny", model="control_v11p_sd15_canny [d14c016b]", weight=0.7, resize_mode=2,
        guidance_start=0.1, guidance_end=0.8, control_mode="My prompt is more important", threshold_a=60,
        threshold_b=120, low_vram=True, hr_option="Both", save_detected_map=False, processor_res=512,
        effective_region_mask=b64(grey(value=255)),
    )  # fmt: skip
    (unit,) = asked.request.controls
    assert (unit.kind, unit.model, unit.scale, unit.start, unit.end) == ("canny", "meadow/canny", 0.7, 0.1, 0.8)
    assert (unit.mode, unit.resize, unit.hint) == ("prompt", "fill", False)
    assert unit.parameters == {"low": 60, "high": 120}
    assert unit.mask is not None
    assert asked.maps == ()
    assert any("meadow/canny" in notice for notice in asked.notices)


def test_old_names_of_fields_are_understood(offers: list[Offered]) -> None:
    told = {"input_image": b64(grey()), "guidance": 0.5, "lowvram": True, "model": "meadow/seg", "control_mode": 2}
    asked = understood(offers, alwayson_scripts={"controlnet": {"args": [told]}})
    (unit,) = asked.request.controls
    assert (unit.end, unit.mode, unit.kind, unit.hint) == (0.5, "control", "seg", "exact")
    with pytest.raises(HackamoreError, match="both"):
        with_unit(offers, image="AAAA", input_image="BBBB", model="canny")


def test_only_units_that_are_on_count(offers: list[Offered]) -> None:
    args = [{}, None, {"enabled": False, "image": b64(grey()), "model": "canny"}, {"module": "none", "model": "None"}]
    assert understood(offers, alwayson_scripts={"controlnet": {"args": args}}).request.controls == ()
    assert len(with_unit(offers, model="meadow/canny").request.controls) == 1


@pytest.mark.parametrize("unit", [{"module": "canny"}, {"model": "meadow/canny", "image": ""}])
def test_a_unit_without_a_picture_takes_the_start_picture_and_is_never_left_out(
    offers: list[Offered], unit: dict[str, Any]
) -> None:
    scripts = {"controlnet": {"args": [unit]}}
    (made,) = understood(offers, init_images=[b64(grey())], alwayson_scripts=scripts).request.controls
    assert (made.image, made.model) == (b64(grey()), "meadow/canny")
    with pytest.raises(HackamoreError, match="no picture"):
        understood(offers, alwayson_scripts=scripts)


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ({"enabled": True, "image": "", "model": "canny"}, "no picture"),
        ({"model": "None", "module": "none"}, "neither model nor module"),
        ({"model": "control_v11p_sd15_depth"}, "depth"),
        ({"module": "depth_midas", "model": "canny"}, "depth_midas"),
        ({"model": "canny", "weight": 3}, "weight"),
        ({"model": "canny", "resize_mode": "Twist"}, "resize_mode"),
        ({"model": "canny", "control_mode": 7}, "control_mode"),
        ({"model": "canny", "batch_images": "/etc"}, "batch_images"),
        ({"model": "canny", "ipadapter_input": ["AAAA"]}, "ipadapter_input"),
        ({"model": "canny", "input_mode": "batch"}, "input_mode"),
        ({"model": "canny", "image": 5}, "no text"),
        ({"model": "canny", "advanced_weighting": [1.0] * 200}, "weights"),
        ({"model": "canny", "guidance_end": 1.5}, "guidance_end"),
        ({"module": "inpaint_only", "model": "canny"}, "mask"),
        ({"module": "reference_only", "model": "canny"}, "takes no model"),
        ({"module": "canny", "mask": b64(grey(value=255))}, "reads no mask"),
    ],
)
def test_a_unit_that_cannot_be_applied_is_an_error_that_names_it(
    offers: list[Offered], unit: dict[str, Any], words: str
) -> None:
    with pytest.raises(HackamoreError, match=words) as error:
        with_unit(offers, **unit)
    assert "unit 0" in str(error.value)


def test_a_preprocessor_without_a_model_takes_the_servers_own(offers: list[Offered]) -> None:
    asked = with_unit(offers, module="canny")
    assert asked.request.controls[0].model == "meadow/canny"
    assert any("no model" in notice for notice in asked.notices)


def test_inverting_gives_a_finished_hint(offers: list[Offered]) -> None:
    (unit,) = with_unit(offers, module="invert (from white bg & black line)", model="canny").request.controls
    assert unit.image is not None
    assert (read_picture(unit.image, PIXELS) == 255 - grey()).all()
    assert (unit.kind, unit.hint) == ("canny", "exact")


def test_reference_has_its_fidelity(offers: list[Offered]) -> None:
    (unit,) = with_unit(offers, module="reference_only", threshold_a=0.8).request.controls
    assert (unit.kind, unit.model, unit.parameters) == ("reference", None, {"fidelity": 0.8})


def test_units_follow_the_masked_part(offers: list[Offered]) -> None:
    fields = masked(inpaint_full_res=True).model_dump(exclude_none=True)
    args = [
        {"image": b64(grey()), "model": "meadow/seg"},
        {"enabled": True, "module": "canny", "model": "meadow/canny"},
    ]
    asked = understood(offers, **fields, width=64, height=64, alwayson_scripts={"controlnet": {"args": args}})
    assert asked.region is not None
    seg, canny = asked.request.controls
    height, width = asked.region.bottom - asked.region.top, asked.region.right - asked.region.left
    assert 0 < height < 64
    assert (read_picture(seg.image or "", PIXELS) == asked.region.cut(grey())).all()
    assert read_picture(seg.image or "", PIXELS).shape == (height, width, 3)
    assert canny.image == asked.request.init


def test_an_inpainting_unit_sees_the_requests_mask(offers: list[Offered]) -> None:
    fields = masked(inpainting_fill=1).model_dump(exclude_none=True)
    args = [{"enabled": True, "module": "inpaint_only", "model": "meadow/canny"}]
    asked = understood(offers, **fields, width=64, height=64, alwayson_scripts={"controlnet": {"args": args}})
    (unit,) = asked.request.controls
    assert (unit.kind, unit.image) == ("inpaint", asked.request.init)
    assert (read_picture(unit.mask or "", PIXELS) == read_picture(asked.request.mask or "", PIXELS)).all()


@pytest.mark.parametrize(
    "told", [{"units": [{"enabled": True}]}, {"enabled": True, "model": "canny"}, {"args": [], "unit": {"image": "A"}}]
)
def test_units_beside_args_are_refused_and_not_dropped(offers: list[Offered], told: dict[str, Any]) -> None:
    with pytest.raises(HackamoreError, match="args"):
        understood(offers, alwayson_scripts={"controlnet": told})
    with pytest.raises(HackamoreError, match=r"args|not on this server"):
        understood(offers, alwayson_scripts={"another": told})
    assert understood(offers, alwayson_scripts={"controlnet": {"args": []}, "another": {}}).request.controls == ()


FIELDS = [*UnitBody.model_fields, "input_image", "mask_image", "guidance", "lowvram", "unknown"]


@settings(max_examples=150, deadline=None)
@given(told=st.dictionaries(st.sampled_from(FIELDS), ANYTHING), image=st.booleans())
def test_a_unit_of_anything_is_understood_or_refused(told: dict[str, Any], image: bool) -> None:
    offers = [Offered("meadow", None, None, None, True), Offered("meadow/canny", "meadow", "canny", None, False)]
    unit = {"module": "canny", **told, **({"image": TINY} if image else {})}
    body = Body.model_validate({"alwayson_scripts": {"controlnet": {"args": [unit]}}})
    with suppress(HackamoreError):
        asked(body, offers, "meadow", LIMITS)
