"""A photo of one's own: read, seen as a hint, adjusted, and then steering a picture."""

import io

import numpy as np
import pytest

pytest.importorskip("playwright")
from PIL import Image
from playwright.sync_api import expect

from hackamore.annotators.catalog import annotate
from tests.browser.quiet import address, generated, hint_of, picture, pixels
from tests.browser.running import PATIENCE

expect.set_options(timeout=PATIENCE)

TAB = "photo"
READING = ".ph-reading[data-kind=canny]"
FILE = ".ph-tab input[type=file]"


def hint(page):
    expect(page.locator(f"{READING} .ph-hint")).to_be_visible()
    expect(page.locator(READING)).not_to_have_attribute("aria-busy", "true")
    return pixels(page.get_attribute(f"{READING} .ph-hint", "src"))


def slide(page, parameter, value, let_go=True):
    page.locator(f"{READING} [data-parameter={parameter}]").evaluate(
        """(slider, [value, letGo]) => {
            slider.value = value;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            if (letGo) slider.dispatchEvent(new Event("change", { bubbles: true }));
        }""",
        [value, let_go],
    )


@pytest.fixture
def photo(bare):
    """The tab with a photo of a disc in it, read by its edges."""
    page = bare
    page.set_input_files(FILE, {"name": "disc.png", "mimeType": "image/png", "buffer": picture()})
    hint(page)
    return page


def test_the_hint_is_seen_as_the_control_will_see_it_and_follows_a_threshold_once_it_is_let_go(photo):
    source = np.asarray(Image.open(io.BytesIO(picture())))
    assert (hint(photo) == annotate("canny", source, size=(128, 128))).all()
    asked = []
    photo.on("request", lambda one: asked.append(one.post_data_json) if one.url.endswith("/v1/annotate") else None)
    photo.click(f"{READING} summary")
    for value in (200, 300, 400):
        slide(photo, "low", value, let_go=False)
    slide(photo, "low", 900)
    expect(photo.locator(f"{READING} [role=alert]")).to_contain_text("canny finds no edges")
    assert [one["parameters"] for one in asked] == [{"low": 900}]
    assert photo.evaluate("hackamore.units.all()") == []
    slide(photo, "low", 30)
    expect(photo.locator(f"{READING} [role=alert]")).to_be_hidden()
    assert (hint(photo) == annotate("canny", source, size=(128, 128), low=30)).all()
    assert photo.evaluate("hackamore.units.all()")[0]["parameters"] == {"low": 30}
    photo.click(f"{READING} [data-auto=low]")
    expect(photo.locator(f"{READING} [data-auto=low]")).to_be_hidden()
    photo.wait_for_function("hackamore.units.all().then((units) => units.length === 1 && !units[0].parameters)")


def test_edges_of_a_photo_steer_a_picture(photo):
    expect(photo.locator(".un-card")).to_have_count(1)
    job = generated(photo)
    assert [unit["kind"] for unit in job["pictures"][0]["units"]] == ["canny"]
    assert 0 <= float(photo.inner_text(".un-figure")) <= 1
    assert (hint_of(photo, job) == hint(photo)).all()


def test_two_ways_of_reading_stand_side_by_side_and_one_is_kept_beside_another_tab(photo):
    photo.click(".ph-chips [data-kind=seg_meadow]")
    expect(photo.locator(".ph-reading .ph-hint:visible")).to_have_count(2)
    assert [unit["kind"] for unit in photo.evaluate("hackamore.units.all()")] == ["canny", "seg_meadow"]
    assert photo.evaluate("hackamore.units.all()")[1]["model"] == "meadow/seg"
    photo.click(f"{READING} [data-act=pin]")
    assert len(photo.evaluate("hackamore.units.all()")) == 2  # what is kept and is here too is heard once
    photo.click("#hm-tab-paint")
    assert [unit["kind"] for unit in photo.evaluate("hackamore.units.all()")] == ["seg", "canny"]
    photo.click("#hm-tab-photo")
    photo.click(".ph-reading[data-kind=seg_meadow] [data-act=drop]")
    expect(photo.locator(".ph-reading")).to_have_count(1)


@pytest.mark.parametrize(
    ("name", "kind", "content", "words"),
    [
        ("notes.txt", "text/plain", b"no picture", "notes.txt is no picture (text/plain)"),
        ("broken.png", "image/png", picture()[:60], "broken.png cannot be read"),
        ("empty.png", "image/png", b"", "empty.png cannot be read"),
        ("renamed.png", "image/png", b"no picture", "renamed.png cannot be read"),
        ("ribbon.png", "image/png", picture(20000, 10), "too narrow"),
        ("drawing.svg", "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "drawing.svg is no picture"),
    ],
)
def test_a_wrong_file_is_told_in_words_and_the_photo_before_it_stays(photo, name, kind, content, words):
    before = hint(photo)
    photo.set_input_files(FILE, {"name": name, "mimeType": kind, "buffer": content})
    expect(photo.locator(".ph-trouble")).to_contain_text(words)
    assert (hint(photo) == before).all()
    photo.set_input_files(FILE, {"name": "disc.png", "mimeType": "image/png", "buffer": picture()})
    expect(photo.locator(".ph-trouble")).to_be_hidden()


def test_a_photo_is_dropped_pasted_and_taken_by_a_camera(bare):
    page = bare
    give = """async ([image, kind]) => {
        const data = new DataTransfer();
        data.items.add(new File([await (await fetch(image)).blob()], "disc.png", { type: "image/png" }));
        const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
        document.querySelector(".ph-frame").dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(give, [address(picture()), kind])
        hint(page)
        page.click(".ph-tab [data-act=away]")
        expect(page.locator(".ph-ask")).to_be_visible()
    page.evaluate(
        """() => {
            const canvas = document.createElement("canvas");
            const context = canvas.getContext("2d");
            [canvas.width, canvas.height] = [160, 120];
            setInterval(() => {
                context.fillStyle = "#223";
                context.fillRect(0, 0, 160, 120);
                context.fillStyle = "#fd4";
                context.fillRect(40, 30, 60, 60);
            }, 30);
            const stream = canvas.captureStream(30);
            const devices = { getUserMedia: async () => stream };
            Object.defineProperty(navigator, "mediaDevices", { value: devices, configurable: true });
        }"""
    )
    page.click(".ph-tab [data-act=camera]")
    page.click("[data-act=shoot]")
    assert hint(page).any()
    assert page.evaluate("hackamore.tabs.photo.state().photo.width") == 160


def test_no_camera_is_told_in_words(bare):
    page = bare
    page.evaluate("Object.defineProperty(navigator, 'mediaDevices', { value: undefined, configurable: true })")
    page.click(".ph-tab [data-act=camera]")
    expect(page.locator(".ph-trouble")).to_contain_text("no camera")
