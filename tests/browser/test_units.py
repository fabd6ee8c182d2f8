"""The stack of control units: what its sliders, curves and masks say is what is asked for."""

import base64
import json

import numpy as np
import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

from hackamore.controls.schedule import parse_schedule, window
from tests.browser.quiet import address, generated, picture, pixels
from tests.browser.running import PATIENCE

expect.set_options(timeout=PATIENCE)
TAB = "photo"
CARD = ".un-card[data-kind=canny]"
ASKED = "hackamore.units.all()"


@pytest.fixture
def stack(bare):
    """Photo, without a photo, and a picture's edges kept in the stack."""
    bare.evaluate("(image) => hackamore.units.pin({ kind: 'canny', image }, image)", address(picture()))
    bare.locator(f"{CARD} summary").click()
    bare.evaluate("changes.length = 0; document.querySelectorAll('.hm-toast').forEach((one) => one.remove())")
    return bare


def only(page):
    asked = page.evaluate(ASKED)
    assert len(asked) == 1
    return asked[0]


def drag(page, selector, start, *places):
    """Press at a share of an element's box and let go at the last of ``places``."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()

    def at(place):
        return box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"]

    page.mouse.move(*at(start))
    page.mouse.down()
    for place in places:
        page.mouse.move(*at(place), steps=4)
    page.mouse.up()


def test_schedules_mean_on_the_page_what_they_mean_in_the_library(desk):
    texts = ["1@0/0@1", "0.2@0.1/0.5@0.3/0@0.7", "0@0/1@0.5", "0.8@0.25", "0@0/0@0.4/1@1", "0@0.5", "1.25@0/0@0.01"]
    units = [{"schedule": text} for text in texts]
    units += [
        {"scale": 0.7, "start": start, "end": end}
        for start, end in ((0, 1), (0.1, 0.2), (0.6, 1), (0.3, 0.55), (0, 0.05))
    ]
    wrong = ["", "1", "1@2", "1@0.5/1@0.5", "1@0.6/1@0.2", "a@0", "1@0/", "99@0", "1@0@1"]
    told = desk.evaluate(
        """async ([units, texts, wrong]) => {
            const { silent } = await import(`${location.origin}/canvas/unit_values.js`);
            const { parseSchedule, writeSchedule, strengthAt } = await import(`${location.origin}/canvas/schedule.js`);
            const steps = [1, 2, 4, 7, 20];
            return {
                silent: units.map((unit) => steps.map((count) => silent(unit, count))),
                strength: texts.map((text) => steps.map((at) => strengthAt(parseSchedule(text), at / 20))),
                written: texts.map((text) => writeSchedule(parseSchedule(text))),
                wrong: wrong.map(parseSchedule),
            };
        }""",
        [units, texts, wrong],
    )
    steps = [1, 2, 4, 7, 20]
    for unit, silent in zip(units, told["silent"], strict=True):
        strength = parse_schedule(unit["schedule"]) if "schedule" in unit else window(**unit)
        assert silent == [not any(strength.at(index, count) for index in range(count)) for count in steps], unit
    for text, strengths in zip(texts, told["strength"], strict=True):
        assert strengths == pytest.approx([parse_schedule(text).at(at, 20) for at in steps])
    assert [parse_schedule(text) for text in told["written"]] == [parse_schedule(text) for text in texts]
    assert told["wrong"] == [None] * len(wrong)


def test_a_window_is_dragged_and_told_once_when_the_finger_leaves(stack):
    rail = f"{CARD} .window-rail"
    drag(stack, rail, (1, 0.5), (0.9, 0.5), (0.6, 0.5))
    assert stack.evaluate("changes") == ["units"]
    drag(stack, rail, (0, 0.5), (0.2, 0.5))
    asked = only(stack)
    assert (asked["start"], asked["end"]) == (pytest.approx(0.2, abs=0.02), pytest.approx(0.6, abs=0.02))
    assert asked["scale"] == 1
    assert "schedule" not in asked
    start = stack.locator(f"{CARD} .window-handle").first
    start.press("ArrowRight")
    assert only(stack)["start"] == pytest.approx(asked["start"] + 0.05, abs=0.011)
    start.press("End")
    told = only(stack)
    assert told["start"] < told["end"]
    expect(start).to_have_attribute("aria-valuenow", str(told["start"]))
    changes = stack.evaluate("changes.length")
    drag(stack, rail, (told["end"], 0.5), (0.9, 0.5), (told["end"], 0.5))
    assert stack.evaluate("changes.length") == changes


def test_a_curve_is_dragged_grows_by_a_double_click_and_is_text_too(stack):
    stack.click(f"{CARD} [data-by=curve]")
    assert only(stack)["schedule"] == "1@0/0@1"
    plot = f"{CARD} .curve-plot"
    drag(stack, plot, (0.05, 0.5), (0.05, 0.12))
    first, last = parse_schedule(only(stack)["schedule"]).points
    assert (first, last) == ((0, pytest.approx(2, abs=0.05)), (1, 0))
    stack.locator(plot).dblclick(position={"x": stack.locator(plot).bounding_box()["width"] * 0.7, "y": 20})
    points = parse_schedule(only(stack)["schedule"]).points
    assert len(points) == 3
    assert points[1][0] == pytest.approx(0.72, abs=0.04)
    stack.locator(plot).press("Delete")
    dragged = only(stack)["schedule"]
    assert parse_schedule(dragged).points == (first, last)
    stack.fill(f"{CARD} .curve-text", "0.2@0.3/0.5@0.1")
    stack.locator(f"{CARD} .curve-text").blur()
    expect(stack.locator(f"{CARD} [role=alert]")).to_be_visible()
    assert only(stack)["schedule"] == dragged
    stack.fill(f"{CARD} .curve-text", "0.2@0.1/0.5@0.3/0@0.7")
    stack.locator(f"{CARD} .curve-text").blur()
    expect(stack.locator(f"{CARD} [role=alert]")).to_be_hidden()
    asked = only(stack)
    assert asked["schedule"] == "0.2@0.1/0.5@0.3/0@0.7"
    assert not {"scale", "start", "end"} & asked.keys()


def test_a_mask_is_painted_white_on_black_at_the_size_of_the_picture(stack):
    stack.click(f"{CARD} [data-act=mask]")
    drag(stack, ".un-mask-frame", (0.25, 0.25), (0.3, 0.3), (0.4, 0.4))
    stack.click(".un-mask-dialog [data-act=keep]")
    expect(stack.locator(f"{CARD} .un-mask")).to_be_visible()
    mask = pixels(only(stack)["mask"])[..., 0]
    assert mask.shape == (128, 128)
    assert set(np.unique(mask)) == {0, 255}
    assert mask[42, 42] == 255
    assert mask[100, 100] == 0
    stack.click(f"{CARD} [data-act=mask]")
    stack.click(".un-mask-dialog [data-act=invert]")
    stack.click(".un-mask-dialog [data-act=keep]")
    stack.wait_for_function("changes.length > 1")
    assert (pixels(only(stack)["mask"])[..., 0] == 255 - mask).all()
    stack.click(f"{CARD} [data-act=mask]")
    stack.keyboard.press("Escape")
    stack.click(f"{CARD} [data-act=unmask]")
    assert "mask" not in only(stack)


def test_keys_in_a_dialog_mean_nothing_to_the_page_below(stack):
    seed = stack.input_value("#hm-seed")
    stack.click(f"{CARD} [data-act=mask]")
    stack.locator(".un-mask-frame").focus()
    stack.keyboard.press("v")
    stack.keyboard.press("Control+Enter")
    assert stack.input_value("#hm-seed") == seed
    assert stack.locator("#hm-stop").is_hidden()
    stack.keyboard.press("Escape")
    expect(stack.locator(".un-mask-dialog")).to_have_count(0)
    assert stack.evaluate("changes") == []


def test_what_is_off_or_removed_is_not_asked_for_and_more_than_the_server_takes_is_refused(stack):
    stack.uncheck(f"{CARD} [role=switch]")
    assert stack.evaluate(ASKED) == []
    stack.check(f"{CARD} [role=switch]")
    stack.select_option(f"{CARD} select >> nth=0", "control")
    assert only(stack)["mode"] == "control"
    stack.evaluate(
        """(image) => {
            const { pin } = hackamore.units;
            for (let low = 20; low < 29; low++) pin({ kind: "canny", image, parameters: { low } }, image);
        }""",
        address(picture()),
    )
    expect(stack.locator(".un-card")).to_have_count(8)
    expect(stack.locator(".un-stack > details > [role=alert]:visible")).to_contain_text("takes 8 controls")
    stack.locator(f"{CARD} summary").last.click()
    stack.locator(f"{CARD} [data-act=remove]").last.click()
    expect(stack.locator(".un-card")).to_have_count(7)
    assert len(stack.evaluate(ASKED)) == 7


def test_a_photo_s_edges_steer_beside_the_painting_and_both_are_figured(stack):
    stack.click("#hm-tab-paint")
    expect(stack.locator(".un-card")).to_have_count(2)
    assert [unit["kind"] for unit in stack.evaluate(ASKED)] == ["seg", "canny"]
    units = generated(stack)["pictures"][0]["units"]
    assert [unit["kind"] for unit in units] == ["seg", "canny"]
    figures = stack.locator(".un-figure:visible").all_text_contents()
    assert figures == [f"{next(iter(unit['fidelity'].values())):.2f}" for unit in units]


def test_the_stack_comes_back_as_it_was(stack):
    drag(stack, f"{CARD} .window-rail", (1, 0.5), (0.5, 0.5))
    before, state = stack.evaluate(ASKED), stack.evaluate("hackamore.units.state()")
    json.dumps(state)
    stack.evaluate("hackamore.units.restore({ own: {}, pinned: [] })")
    assert stack.evaluate(ASKED) == []
    stack.evaluate("(state) => hackamore.units.restore(state)", state)
    assert stack.evaluate(ASKED) == before


def test_a_request_is_taken_apart_and_asked_again_the_same(stack):
    sent = {"kind": "canny", "image": base64.b64encode(picture()).decode(), "hint": False, "resize": "crop"}
    sent |= {"scale": None, "start": None, "end": None, "mask": None}
    sent |= {"schedule": "0.5@0/1@0.5", "mode": "prompt", "parameters": {"density": 0.1}}
    asked = {"prompt": "a lake", "seed": 4, "controls": [sent]}
    stack.evaluate("(asked) => hackamore.units.restoreRequest(asked)", asked)
    told = only(stack)
    assert told["image"] == address(picture())
    assert (told["schedule"], told["mode"], told["parameters"]) == ("0.5@0/1@0.5", "prompt", {"density": 0.1})
    expect(stack.locator(".ph-reading[data-kind=canny] .ph-hint")).to_be_visible()
