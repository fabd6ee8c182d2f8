"""The WebUI's fields become a request of ours, or are refused by name."""

from __future__ import annotations

import base64
import struct
import time
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, png
from hackamore.serving.http.a1111_body import Body, ImageBody
from hackamore.serving.http.a1111_lists import _png_info
from hackamore.serving.http.a1111_modules import ABSENT, MODULES, module_named, parameters_of, usable_modules
from hackamore.serving.http.a1111_names import Offered, base_named, control_named, kind_told, offered
from hackamore.serving.http.a1111_paint import filled, paint, read_mask
from hackamore.serving.http.a1111_request import Asked, asked
from hackamore.serving.http.a1111_samplers import sampler_named
from hackamore.serving.http.a1111_unit import UnitBody
from hackamore.serving.http.infotext import read_infotext
from hackamore.serving.models import Models
from hackamore.serving.pictures import read_layers, read_picture
from hackamore.serving.settings import Limits, Offer, ServeSettings

PIXELS = 1_000_000
LIMITS = Limits(source_pixels=PIXELS)


TINY = base64.b64encode(png(np.full((8, 8, 3), 90, np.uint8))).decode()


def b64(picture: Picture) -> str:
    return base64.b64encode(png(picture)).decode()


def grey(width: int = 64, height: int = 64, value: int = 90) -> Picture:
    picture = np.full((height, width, 3), value, np.uint8)
    picture[height // 4 : height // 2, width // 4 : width // 2] = (200, 40, 10)
    return picture


@pytest.fixture(scope="module")
def offers() -> list[Offered]:
    return offered(Models(ServeSettings()).offers())


def understood(offers: list[Offered], **fields: Any) -> Asked:
    kind = ImageBody if "init_images" in fields else Body
    return asked(kind.model_validate({"prompt": "a lake", **fields}), offers, "meadow", LIMITS)


def with_unit(offers: list[Offered], **unit: Any) -> Asked:
    unit.setdefault("image", b64(grey()))
    return understood(offers, alwayson_scripts={"ControlNet": {"args": [unit]}})


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
    ("name", "schedule", "ours"),
    [
        ("Euler a", "automatic", "euler_a"),
        ("k_euler_ancestral", None, "euler_a"),
        ("DPM++ 2M Karras", None, "dpm++_2m_karras"),
        ("DPM++ 2M", "automatic", "dpm++_2m_karras"),
        ("DPM++ 2M", None, "dpm++_2m"),
        ("unipc", "Uniform", "unipc"),
        ("DDIM", "Automatic", "ddim"),
        ("LCM", None, "lcm"),
    ],
)
def test_samplers_have_their_names(name: str, schedule: str | None, ours: str) -> None:
    assert sampler_named(name, schedule)[1] == ours


@pytest.mark.parametrize(("name", "schedule"), [("Heun", None), ("Euler a", "karras"), ("DPM++ 2M Karras", "uniform")])
def test_other_samplers_are_refused_by_name(name: str, schedule: str | None) -> None:
    with pytest.raises(HackamoreError, match=name.split()[0]):
        sampler_named(name, schedule)


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


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("control_v11p_sd15_canny [d14c016b]", "canny"), ("control_canny-fp16 [e3fe7712]", "canny"),
        ("control_v11f1p_sd15_depth", "depth"), ("control_v11p_sd15_normalbae", "normal"),
        ("control_v11p_sd15s2_lineart_anime", "lineart_anime"), ("control_v11p_sd15_openpose", "pose"),
        ("control_v11f1e_sd15_tile", "tile"), ("t2iadapter_color_sd14v1", "color"), ("control_sd15_hed", "softedge"),
        ("control_v11e_sd15_ip2p", "ip2p"), ("ip-adapter_sd15_plus", "ip-adapter"), ("deliberate_v2", None),
        ("control_v11p_sd15_seg.pth", "seg"),
    ],
)  # fmt: skip
def test_published_names_tell_their_kind(name: str, kind: str | None) -> None:
    assert kind_told(name) == kind


@pytest.mark.parametrize(
    "name", ["meadow/canny", "meadow/canny [01234567]", "canny", "CANNY.safetensors", "control_v11p_sd15_canny [d14c]"]
)
def test_a_control_is_found_by_any_of_its_names(offers: list[Offered], name: str) -> None:
    assert control_named(name, "meadow", offers).offer.name == "meadow/canny"


def test_a_model_that_stands_in_for_another_is_told(offers: list[Offered]) -> None:
    assert control_named("meadow/canny", "meadow", offers).notice is None
    notice = control_named("control_v11p_sd15_canny [d14c016b]", "meadow", offers).notice
    assert notice is not None
    assert "meadow/canny" in notice


def test_a_model_that_is_not_here_or_could_be_two_is_refused() -> None:
    controls = tuple(Offer(name=f"{one}-canny", path="x", kind="canny") for one in ("soft", "hard"))
    offers = offered(Models(ServeSettings(controls=controls)).offers())
    with pytest.raises(HackamoreError, match="control_v11p_sd15_depth") as error:
        control_named("control_v11p_sd15_depth [cfd03158]", "meadow", offers)
    assert "meadow/seg" in str(error.value)
    with pytest.raises(HackamoreError, match="one of several"):
        control_named("control_v11p_sd15_canny", "meadow", offers)
    assert control_named("soft-canny", "meadow", offers).offer.name == "soft-canny"


def test_a_base_is_found_by_title_and_hash() -> None:
    offers = [Offered("meadow", None, None, "abcdef0123456789", True)]
    for name in ("meadow", "meadow [abcdef0123]", "abcdef0123"):
        assert base_named(name, offers).name == "meadow"


def test_every_module_is_an_annotator_of_ours() -> None:
    from hackamore.annotators.catalog import ANNOTATORS

    assert {one.kind for one in MODULES.values()} <= {*ANNOTATORS, "reference", "ip-adapter"}
    for label in usable_modules():
        assert module_named(label)[0] == label
    assert not set(ABSENT) & set(MODULES)


@pytest.mark.parametrize("name", ["depth_midas", "seg_ofade20k", "lineart_realistic", "depth_anything", "no_such"])
def test_modules_that_are_not_here_are_refused_by_name(name: str) -> None:
    with pytest.raises(HackamoreError, match=name) as error:
        module_named(name)
    assert "canny" in str(error.value)


def test_numbers_of_modules_are_the_extensions() -> None:
    def told(name: str, a: float, b: float) -> dict[str, Any]:
        return parameters_of(*module_named(name), a, b)[0]

    assert told("canny", -1, -1) == {"low": 100, "high": 200}
    assert told("canny", 50, 80) == {"low": 50, "high": 80}
    assert told("canny", 80, 50) == {"low": 50, "high": 80}
    assert told("tile_resample", 2, -1) == {"factor": 2}
    assert told("blur_gaussian", -1, 64) == {"sigma": 9}
    with pytest.raises(HackamoreError, match="threshold_a of canny"):
        told("canny", 300, -1)
    with pytest.raises(HackamoreError, match="XDoG"):
        told("scribble_xdog", 12, -1)
    told_64, notices = parameters_of(*module_named("tile_resample"), 64, 64)
    assert told_64 == {"factor": 1}
    assert "64" in notices[0]


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


def test_a_start_picture_and_its_strength(offers: list[Offered]) -> None:
    request = understood(offers, init_images=[b64(grey())], denoising_strength=0.5, resize_mode=1).request
    assert (request.strength, request.resize, request.mask) == (0.5, "crop", None)
    for wrong in ({"init_images": []}, {"init_images": ["A", "B"]}, {"init_images": ["A"], "resize_mode": 3}):
        with pytest.raises(HackamoreError):
            understood(offers, **wrong)
    with pytest.raises(HackamoreError, match="denoising_strength"):
        understood(offers, init_images=[b64(grey())], denoising_strength=0)


def masked(**fields: Any) -> ImageBody:
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[16:40, 24:56] = 255
    told = {"init_images": [b64(grey())], "mask": b64(mask), "inpaint_full_res": False, "mask_blur": 0, **fields}
    return ImageBody.model_validate(told)


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


@pytest.mark.parametrize("fields", [{"width": 10**6, "height": 10**6}, {"width": 512}, {"width": -8, "height": 8}])
def test_sizes_that_cannot_be_are_refused_before_anything_is_made(
    offers: list[Offered], fields: dict[str, int]
) -> None:
    told = masked().model_dump(exclude_none=True) | fields
    with pytest.raises(HackamoreError, match=r"size|large"):
        understood(offers, **told)


def test_long_texts_are_read_in_bounded_time() -> None:
    for text in ("Steps: " + "a b " * 50_000, "Steps: 1, " + 'a: "' * 50_000, " [" * 50_000):
        read_infotext(text)
        kind_told(text)


def test_infotexts_are_read_back() -> None:
    text = 'a lake\nat dawn\nNegative prompt: snow\nSteps: 4, Sampler: euler, ControlNet 0: "Module: canny, Weight: 1"'
    told = read_infotext(text)
    assert told["Prompt"] == "a lake\nat dawn"
    assert told["Negative prompt"] == "snow"
    assert told["Steps"] == "4"
    assert told["ControlNet 0"] == "Module: canny, Weight: 1"
    assert read_infotext("") == {}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [*UnitBody.model_fields, "input_image", "mask_image", "guidance", "lowvram", "unknown"]


@settings(max_examples=150, deadline=None)
@given(told=st.dictionaries(st.sampled_from(FIELDS), ANYTHING), image=st.booleans())
def test_a_unit_of_anything_is_understood_or_refused(told: dict[str, Any], image: bool) -> None:
    offers = [Offered("meadow", None, None, None, True), Offered("meadow/canny", "meadow", "canny", None, False)]
    unit = {"module": "canny", **told, **({"image": TINY} if image else {})}
    body = Body.model_validate({"alwayson_scripts": {"controlnet": {"args": [unit]}}})
    with suppress(HackamoreError):
        asked(body, offers, "meadow", LIMITS)


@settings(max_examples=150, deadline=None)
@given(told=st.dictionaries(st.sampled_from([*ImageBody.model_fields, "unknown", "hr_scale"]), ANYTHING))
def test_fields_of_anything_are_understood_or_refused(told: dict[str, Any]) -> None:
    offers = [Offered("meadow", None, None, None, True)]
    with suppress(HackamoreError, ValidationError):
        asked(ImageBody.model_validate({"init_images": [TINY], **told}), offers, "meadow", LIMITS)


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


def test_a_hostile_infotext_is_read_at_once() -> None:
    began = time.process_time()
    for part in ("a:", 'a:"', "aa a" * 15 + ":", 'a:"\\",'):
        read_infotext("Steps: 1," + part * (39_000 // len(part)))
    assert time.process_time() - began < 0.5
    text = 'a lake\nSteps: 20, ControlNet 0: "Module: canny, Model: \\"x\\", Weight: 1", Size: 64x64'
    told = read_infotext(text)
    assert (told["Size"], told["Steps"], told["ControlNet 0"][:13]) == ("64x64", "20", "Module: canny")


@pytest.mark.parametrize(
    "told", [{"units": [{"enabled": True}]}, {"enabled": True, "model": "canny"}, {"args": [], "unit": {"image": "A"}}]
)
def test_units_beside_args_are_refused_and_not_dropped(offers: list[Offered], told: dict[str, Any]) -> None:
    with pytest.raises(HackamoreError, match="args"):
        understood(offers, alwayson_scripts={"controlnet": told})
    with pytest.raises(HackamoreError, match=r"args|not on this server"):
        understood(offers, alwayson_scripts={"another": told})
    assert understood(offers, alwayson_scripts={"controlnet": {"args": []}, "another": {}}).request.controls == ()
