import base64
import io
import json
import re
import zipfile
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright")
from playwright.sync_api import expect

from hackamore.core.palette import CLASSES, paint
from hackamore.core.recipe import CHUNK

PROMPT = "a snowy peak above a lake at sunset"
SEED = 4100


def scene() -> str:
    """Sky, a mountain, water: as it would be painted; PNG in base64."""
    classes = np.full((128, 128), CLASSES.index("sky"), np.uint8)
    for row in range(30, 80):
        classes[row, 64 - (row - 30) : 64 + (row - 30)] = CLASSES.index("rock")
    classes[80:] = CLASSES.index("water")
    file = io.BytesIO()
    Image.fromarray(paint(classes)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def make(server: str) -> dict:
    """Two pictures, made now; the job as the server tells it."""
    unit = {"kind": "seg", "image": scene(), "hint": True, "scale": 0.9, "end": 0.8}
    asked = {"prompt": PROMPT, "seed": SEED, "num": 2, "steps": 10, "controls": [unit]}
    request = Request(
        f"{server}/v1/jobs?wait=true", json.dumps(asked).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urlopen(request, timeout=120) as answer:
        told = json.load(answer)
    assert told["state"] == "done", told
    return told


@pytest.fixture(scope="module")
def job(server):
    """Pictures that every test here looks at."""
    return make(server)


def open_first(page, job) -> None:
    """Turn to the gallery as it is now, and open the first picture of the job."""
    page.evaluate("document.querySelectorAll('dialog').forEach((one) => one.close())")
    page.evaluate("hackamore.show('gallery'), hackamore.gallery.refresh()")
    page.locator(f"[data-job='{job['id']}'] button").first.click()
    page.wait_for_selector("dialog[open]")


@pytest.fixture
def gallery(shared_page, job):
    """The gallery, and the first picture of the job in it opened."""
    open_first(shared_page, job)
    return shared_page


def test_the_gallery_outlives_a_reload_and_tells_what_a_picture_was_made_of(gallery, job):
    gallery.reload()
    cards = gallery.locator(f"[data-job='{job['id']}'] button")
    expect(cards).to_have_count(2)
    loaded = "(id) => [...document.querySelectorAll(`[data-job='${id}'] img`)].every((one) => one.naturalWidth === 128)"
    gallery.wait_for_function(loaded, arg=job["id"])
    cards.nth(1).click()
    words = gallery.locator(".hm-viewer").inner_text()
    assert PROMPT in words
    assert str(SEED + 1) in words
    assert "meadow/seg" in words
    assert "0–80 % of the steps" in words
    figure = float(re.search(r"(\d\.\d{3})", gallery.locator(".hm-fidelity .hm-pill").inner_text())[1])
    name, told = next(iter(job["pictures"][1]["units"][0]["fidelity"].items()))
    assert figure == pytest.approx(told, abs=6e-4)
    assert name in words


def test_a_picture_is_taken_home_with_its_recipe_as_layers_and_alone(gallery):
    def taken(what: str) -> bytes:
        with gallery.expect_download() as download:
            gallery.click(f"[data-action={what}]")
        return Path(download.value.path()).read_bytes()

    with Image.open(io.BytesIO(taken("png"))) as picture:
        inside = json.loads(picture.text[CHUNK])
    assert (inside["prompt"], inside["seed"], picture.size) == (PROMPT, SEED, (128, 128))
    assert json.loads(taken("recipe"))["seed"] == SEED
    with zipfile.ZipFile(io.BytesIO(taken("ora"))) as layers:
        assert layers.read("mimetype") == b"image/openraster"
        assert layers.read("stack.xml").count(b"<layer") >= 2


def test_the_recipe_can_be_read(gallery):
    gallery.get_by_text("Recipe", exact=True).last.click()
    expect(gallery.locator(".hm-viewer pre")).to_contain_text(f'"seed": {SEED}')


def test_use_again_brings_back_words_seed_and_controls(gallery):
    gallery.click("[data-action=again]")
    expect(gallery.locator("#hm-prompt")).to_have_value(PROMPT)
    expect(gallery.locator("#hm-seed")).to_have_value(str(SEED))
    asked = gallery.evaluate("hackamore.request(hackamore.tab, 'full')")
    assert (asked["steps"], asked["num"]) == (10, 1)
    (unit,) = asked["controls"]
    assert (unit["kind"], unit["scale"], unit["end"]) == ("seg", 0.9, 0.8)
    sent = np.asarray(Image.open(io.BytesIO(base64.b64decode(unit["image"].split(",")[-1]))).convert("RGB"))
    wanted = np.asarray(Image.open(io.BytesIO(base64.b64decode(scene()))))
    assert np.array_equal(sent, wanted)


def test_two_pictures_are_compared_by_keys_and_by_finger(gallery, job):
    gallery.click("[data-action=compare]")
    gallery.locator(f"[data-job='{job['id']}'] button").nth(1).click()
    stage = gallery.locator(".hm-compare-stage")
    expect(stage).to_be_visible()
    gallery.focus(".hm-compare-slider")
    for _ in range(3):
        gallery.keyboard.press("ArrowRight")
    assert stage.evaluate("(one) => one.style.getPropertyValue('--split')") == "53%"
    box = stage.bounding_box()
    gallery.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 50)
    gallery.mouse.down()
    gallery.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 60)
    gallery.mouse.up()
    assert stage.evaluate("(one) => one.style.getPropertyValue('--split')") == "20%"


def test_a_picture_is_laid_over_its_hint(gallery):
    gallery.locator(".hm-unit-report button").click()
    expect(gallery.locator(".hm-compare .hm-tag.right")).to_have_text("Hint: seg")
    whole = "[...document.querySelectorAll('.hm-compare img')].every((one) => one.complete && one.naturalWidth > 0)"
    gallery.wait_for_function(whole)


def test_deleting_asks_once_more_and_is_for_good(shared_page, server):
    page, job = shared_page, make(server)
    open_first(page, job)
    mine = page.locator(f"[data-job='{job['id']}']")
    page.click("[data-action=remove]")
    expect(mine).to_have_count(1)
    page.click("[data-action=remove]")
    expect(mine).to_have_count(0)
    page.evaluate("hackamore.gallery.refresh()")
    expect(mine).to_have_count(0)


def test_generate_makes_a_picture_that_joins_the_gallery(shared_page):
    page = shared_page
    page.evaluate("hackamore.show('paint')")
    page.evaluate("hackamore.settings.restore({prompt: 'hills with a river at noon', steps: 4, seed: 77})")
    page.click("#hm-generate")
    thumb = page.locator(".hm-run .hm-thumb")
    expect(thumb).to_have_count(1)
    thumb.click()
    expect(page.locator(".hm-viewer")).to_contain_text("hills with a river at noon")
    page.keyboard.press("Escape")
    page.click("#hm-tab-gallery")
    expect(page.get_by_role("button", name="hills with a river at noon").first).to_be_visible()


def test_models_are_loaded_and_let_go(shared_page):
    page = shared_page
    page.evaluate("hackamore.show('models')")
    row = page.locator("[data-model='meadow/canny']")
    for _ in range(2):
        expect(page.locator(".hm-models[inert]")).to_have_count(0)
        loaded = row.get_by_text("not loaded").count() == 0
        row.get_by_role("button").click()
        expect(row.locator(".hm-pill")).to_have_text("not loaded" if loaded else "loaded")
    expect(page.locator(".hm-memory")).to_contain_text("MiB in use")


def test_a_list_of_before_cannot_be_pressed(shared_page, server):
    page, row = shared_page, shared_page.locator("[data-model='meadow/canny']")
    tell(server, "unload")
    page.evaluate("hackamore.show('models')")
    expect(row.locator(".hm-pill")).to_have_text("not loaded")
    page.evaluate("hackamore.show('gallery')")
    tell(server, "load")  # while the page looks away
    assert page.evaluate("hackamore.show('models'), document.querySelector('.hm-models').inert")
    row.get_by_role("button").click()
    expect(row.locator(".hm-pill")).to_have_text("not loaded")
    expect(page.locator(".hm-models[inert]")).to_have_count(0)


def tell(server: str, what: str) -> None:
    """Load or unload meadow/canny as another client would."""
    with urlopen(Request(f"{server}/v1/models/meadow/canny/{what}", b""), timeout=60) as reply:
        assert reply.status == 200
