"""The WebUI's names of models, preprocessors and samplers mean what this server has."""

from __future__ import annotations

from typing import Any

import pytest

from hackamore.core.errors import HackamoreError
from hackamore.serving.http.a1111_modules import ABSENT, MODULES, module_named, parameters_of, usable_modules
from hackamore.serving.http.a1111_names import Offered, base_named, control_named, kind_told, offered
from hackamore.serving.http.a1111_samplers import sampler_named
from hackamore.serving.models import Models
from hackamore.serving.settings import Offer, ServeSettings


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
