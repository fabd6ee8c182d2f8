"""Painting on the page: the picture follows, nothing is asked for twice, and no frame is lost."""

from __future__ import annotations

import numpy as np
import pytest

from hackamore.annotators.catalog import annotate
from hackamore.core.palette import CLASSES, COLOURS, WORLDS
from tests.browser.canvas import FEW, PAINTING, SKETCH, Canvas, picture_of, sent_hint

pytest.importorskip("playwright")

PINCH = """() => {
  const frame = document.querySelector("#hm-panel-paint .rs-frame");
  const box = frame.getBoundingClientRect();
  const touch = (kind, pointerId, x) => frame.dispatchEvent(new PointerEvent(kind, {
    pointerId, pointerType: "touch", bubbles: true, cancelable: true, button: 0, buttons: 1,
    clientX: box.left + x * box.width, clientY: box.top + box.height / 2 }));
  touch("pointerdown", 11, 0.4);
  touch("pointermove", 11, 0.45);
  touch("pointerdown", 12, 0.6);
  touch("pointermove", 12, 0.9);
  touch("pointerup", 12, 0.9);
  touch("pointermove", 11, 0.2);
  touch("pointerup", 11, 0.2);
}"""
MANY = """async () => {
  const { openFrames, MOST_FRAMES } = await import(new URL("canvas/store.js", hackamore.root));
  const frames = await openFrames((reason) => { throw new Error(reason); });
  const photo = "x".repeat(5000);
  const add = (at, painting) =>
    frames.add({ at, kind: "live", picture: new Blob(["p" + at]), inputs: { painting, photo } });
  for (const frame of await frames.newest()) await frames.remove(frame.id);
  const first = await add(0, "first".repeat(1000));
  await frames.keep(first.id, true);
  for (let at = 1; at <= MOST_FRAMES + 3; at++) await add(at, at < 3 ? "second".repeat(1000) : "short");
  const all = await frames.newest(2 * MOST_FRAMES);
  const count = (name) => new Promise((done) => {
    const asked = frames.database.transaction(name).objectStore(name).count();
    asked.onsuccess = () => done(asked.result);
  });
  return { most: MOST_FRAMES, ats: all.map((frame) => frame.at), parts: await count("parts"),
    whole: await frames.inputs(first.id), last: await all[0].picture.text() };
}"""


def test_the_picture_follows_a_painted_mountain_and_lake(paint: Canvas) -> None:
    before = paint.picture()
    paint.mountain_and_lake()
    assert paint.settle() == "done"
    wanted = WORLDS.read(paint.painting())
    assert {CLASSES[k] for k in np.unique(wanted)} == {"sky", "grass", "rock", "water"}
    seen = WORLDS.read(annotate("seg_meadow", paint.picture()))
    assert (seen == wanted).mean() >= 0.6
    assert (seen == wanted).mean() > (WORLDS.read(annotate("seg_meadow", before)) == wanted).mean()
    assert paint.page.locator(".lv-frame").get_attribute("data-kind") == "live"
    assert float(paint.page.locator(".lv-figure").get_attribute("data-value") or 0) > 0
    look, full = paint.sent[-2:]
    assert look["steps"] < full["steps"] == FEW
    assert look["live"] == full["live"]
    assert look["priority"] == full["priority"] == "live"
    assert np.array_equal(sent_hint(look), paint.painting())
    assert np.array_equal(sent_hint(full), paint.painting())
    assert [paint.page.locator(".st-frame").nth(k).get_attribute("data-kind") for k in range(2)] == ["live", "preview"]


def test_nothing_is_sent_when_nothing_changed(paint: Canvas) -> None:
    paint.material("sky")
    paint.drag([(0.2, 0.1), (0.8, 0.2)])  # sky on sky: the drawing says something new, the painting does not
    assert paint.settle() == "done"
    paint.page.click("#hm-tab-gallery")
    paint.page.click("#hm-tab-paint")
    paint.page.locator("#hm-prompt").focus()
    paint.page.locator("#hm-seed").focus()
    paint.page.locator("#hm-num").fill("2")  # says nothing about a live picture
    assert paint.settle() == "done"
    assert paint.sent == []


def test_nothing_begins_in_the_middle_of_a_stroke(paint: Canvas) -> None:
    paint.material("snow")
    paint.drag([(0.2, 0.3), (0.5, 0.3)], release=False)
    paint.page.evaluate("hackamore.emit('changed', 'settings')")  # whatever else happens meanwhile
    paint.page.wait_for_selector(".lv-frame[data-state=drawing]")
    paint.page.wait_for_timeout(300)
    assert paint.sent == []
    paint.page.mouse.up()
    assert paint.settle() == "done"
    assert len(paint.sent) == 2


def test_a_chip_changes_the_picture_and_undo_gives_it_back_without_asking(paint: Canvas) -> None:
    before = paint.picture()
    paint.page.click("[data-chip=sunset]")
    assert paint.settle() == "done"
    assert "at sunset" in paint.sent[-1]["prompt"]
    painting, picture = paint.painting(), paint.picture()
    assert not np.array_equal(picture, before)
    paint.material("sand")
    paint.drag([(0.1, 0.7), (0.9, 0.9)])
    assert paint.settle() == "done"
    changed = paint.painting()
    paint.sent.clear()
    paint.page.keyboard.press("Control+z")
    assert paint.settle() == "done"
    assert np.array_equal(paint.painting(), painting)
    assert np.array_equal(paint.picture(), picture)
    paint.page.keyboard.press("Control+Shift+z")
    assert paint.settle() == "done"
    assert np.array_equal(paint.painting(), changed)
    assert paint.sent == []


def test_the_newest_stroke_replaces_what_is_under_way(paint: Canvas) -> None:
    paint.material("forest")
    for height in (0.6, 0.7, 0.8, 0.9):
        with paint.page.expect_request(lambda request: request.method == "POST" and request.url.endswith("/v1/jobs")):
            paint.drag([(0.1, height), (0.9, height)])
    assert paint.settle() == "done"
    assert np.array_equal(sent_hint(paint.sent[-1]), paint.painting())
    jobs = paint.page.evaluate("hackamore.api.jobs({limit: 20}).then((told) => told.jobs ?? told)")
    word = paint.sent[-1]["live"]
    states = [job["state"] for job in jobs if job["live"] == word]
    assert set(states) <= {"done", "replaced", "cancelled"}
    assert states[0] == "done"


def test_frames_and_painting_survive_a_reload_and_any_frame_comes_back(paint: Canvas) -> None:
    first = paint.painting()
    prompt = paint.page.input_value("#hm-prompt")
    paint.material("sand")
    paint.drag([(0.1, 0.8), (0.9, 0.8)])
    paint.page.click("[data-chip=night]")
    assert paint.settle() == "done"
    second, count = paint.painting(), paint.frames()
    paint.page.wait_for_function("hackamore.live.frames.held('painting.paint').then((held) => held?.layers?.length)")
    paint.page.wait_for_timeout(600)  # the painting is written down a moment after its last change
    paint.sent.clear()
    paint.page.reload()
    assert paint.settle() == "done"
    assert paint.frames() == count
    assert np.array_equal(paint.painting(), second)
    assert paint.sent == []  # its picture was there already
    paint.page.locator(".st-frame[data-kind=live]").last.click()
    paint.page.click("[data-act=recover]")
    assert paint.settle() == "done"
    assert np.array_equal(paint.painting(), first)
    assert paint.page.input_value("#hm-prompt") == prompt
    assert paint.sent == []


def test_a_hidden_page_waits_and_catches_up(paint: Canvas) -> None:
    hide = "Object.defineProperty(document, 'hidden', {configurable: true, value: %s});"
    tell = "document.dispatchEvent(new Event('visibilitychange'))"
    paint.page.evaluate(hide % "true" + tell)
    paint.material("earth")
    paint.drag([(0.1, 0.8), (0.9, 0.8)])
    paint.page.wait_for_selector(".lv-frame[data-state=paused]")
    paint.page.wait_for_timeout(300)
    assert paint.sent == []
    paint.page.evaluate(hide % "false" + tell)
    assert paint.settle() == "done"
    assert np.array_equal(sent_hint(paint.sent[-1]), paint.painting())


def test_colours_are_exact_and_fifty_steps_can_be_undone(still: Canvas) -> None:
    empty = still.painting()
    known = {tuple(colour) for colour in COLOURS.tolist()}
    for step in range(51):
        if step % 17 == 0:
            still.material(("rock", "water", "snow")[step // 17])
        still.drag([(0.04 + step * 0.018, 0.1), (0.06 + step * 0.018, 0.1 + 0.015 * step)], steps=1)
    assert {tuple(pixel) for pixel in still.painting().reshape(-1, 3).tolist()} <= known
    for _ in range(50):
        still.page.keyboard.press("Control+z")
    assert not np.array_equal(still.painting(), empty)
    still.page.keyboard.press("Control+z")
    assert np.array_equal(still.painting(), empty)
    assert still.page.locator("#hm-panel-paint [data-tool=undo]").is_disabled()
    assert still.sent == []


def test_layers_lie_over_each_other_and_over_the_landscape(still: Canvas) -> None:
    def share(name: str) -> float:
        return float((still.painting() == COLOURS[CLASSES.index(name)]).all(axis=2).mean())

    scene = still.painting()
    still.tool("rectangle")
    still.material("water")
    still.drag([(0.1, 0.1), (0.9, 0.9)])
    assert share("water") == pytest.approx(0.64, abs=0.03)
    still.page.click("#hm-panel-paint .ly summary")
    still.page.click("#hm-panel-paint [data-act=layer-add]")
    still.material("snow")
    still.drag([(0.25, 0.25), (0.75, 0.75)])
    assert share("snow") == pytest.approx(0.25, abs=0.03)
    still.page.locator("#hm-panel-paint [data-act=down]").first.click()  # the snow, now below the water
    assert share("snow") == 0
    still.page.locator("#hm-panel-paint [data-act=hide]").first.click()  # the water
    assert share("water") == 0
    assert share("snow") == pytest.approx(0.25, abs=0.03)
    for _ in range(5):
        still.page.keyboard.press("Control+z")
    assert np.array_equal(still.painting(), scene)


def test_keys_paint_erase_and_zoom_and_two_fingers_never_paint(still: Canvas) -> None:
    scene = still.painting()
    still.page.hover(PAINTING)  # the keys go on from there, its middle
    still.page.locator(PAINTING).focus()
    for key in ("b", "3", " ", "ArrowRight", "ArrowRight", "Shift+ArrowDown", " "):
        still.page.keyboard.press(key)
    assert 0 < (still.painting() != scene).any(axis=2).mean() < 0.2
    still.page.keyboard.press("e")
    still.drag([(0.3, 0.5), (0.7, 0.5)])
    assert np.array_equal(still.painting(), scene)  # the eraser gives the landscape back
    still.page.keyboard.press("b")
    still.page.evaluate(PINCH)
    assert still.page.evaluate("hackamore.tabs.paint.raster.view.zoom") > 2
    assert np.array_equal(still.painting(), scene)
    still.page.keyboard.press("0")
    assert still.page.evaluate("hackamore.tabs.paint.raster.view.zoom") == 1


def test_a_sketch_is_sent_as_thin_lines_of_a_kind_that_the_base_has(paint: Canvas) -> None:
    paint.page.click("#hm-tab-sketch")
    assert paint.settle() == "nothing"
    paint.drag([(0.0, 0.6), (0.3, 0.5), (0.5, 0.2), (0.7, 0.5), (1.0, 0.6)], SKETCH)
    assert paint.settle() == "done"
    unit = paint.sent[-1]["controls"][0]
    assert unit["kind"] == "canny"
    lines = picture_of(unit["image"])[..., 0]
    assert set(np.unique(lines)) == {0, 255}
    assert (lines > 0).sum(axis=0).max() < 40  # strokes are thinned: nowhere a filled shape
    assert 100 < (lines > 0).sum() < 600
    paint.page.keyboard.press("Control+z")
    assert paint.settle() == "nothing"
    assert len(paint.sent) == 2


def test_the_newest_500_frames_and_the_kept_ones_stay_with_all_that_they_need(still: Canvas) -> None:
    told = still.page.evaluate(MANY)
    assert told["ats"] == [*range(told["most"] + 3, 3, -1), 0]
    assert told["whole"] == {"painting": "first" * 1000, "photo": "x" * 5000}
    assert told["last"] == f"p{told['most'] + 3}"
    assert told["parts"] == 2  # the photo once, and the kept frame's painting; what no frame needs is gone
