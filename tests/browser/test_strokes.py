"""Strokes that do not end as they should: nothing is lost, nothing stays open."""

from __future__ import annotations

import numpy as np
import pytest

from tests.browser.canvas import PAINTING, Canvas

pytest.importorskip("playwright")

RASTER = "hackamore.tabs.paint.raster"
TOUCH = """([kind, x, y]) => {
  const frame = document.querySelector("#hm-panel-paint .rs-frame");
  const box = frame.getBoundingClientRect();
  frame.dispatchEvent(new PointerEvent(kind, { pointerId: 21, pointerType: "touch", bubbles: true, cancelable: true,
    button: 0, buttons: 1, clientX: box.left + x * box.width, clientY: box.top + y * box.height }));
}"""


def test_a_brush_that_the_keyboard_set_down_is_lifted_when_one_goes_elsewhere(paint: Canvas) -> None:
    scene = paint.painting()
    paint.page.locator(PAINTING).focus()
    for key in ("b", "3", " ", "ArrowRight"):
        paint.page.keyboard.press(key)
    assert paint.page.evaluate(f"{RASTER}.busy")
    paint.page.click("[data-chip=sunset]")
    assert paint.settle() == "done"
    assert "at sunset" in paint.sent[-1]["prompt"]
    painted = paint.painting()
    assert not np.array_equal(painted, scene)
    paint.page.keyboard.press("Control+z")
    assert np.array_equal(paint.painting(), scene)


def test_a_stroke_that_another_interrupts_can_be_undone_too(still: Canvas) -> None:
    scene = still.painting()
    still.page.locator(PAINTING).focus()
    still.page.keyboard.press("3")
    still.page.keyboard.press(" ")
    still.drag([(0.1, 0.1), (0.4, 0.1)])
    assert still.page.evaluate(f"{RASTER}.depth") == [2, 0]
    still.page.keyboard.press("Control+z")
    still.page.keyboard.press("Control+z")
    assert np.array_equal(still.painting(), scene)


def test_a_shortcut_of_the_page_is_no_stroke(still: Canvas) -> None:
    still.page.locator(PAINTING).focus()
    still.page.keyboard.press("Control+Enter")
    assert not still.page.evaluate(f"{RASTER}.busy")
    still.page.locator("#hm-stop").wait_for()
    still.page.keyboard.press("Escape")
    still.page.locator("#hm-generate").wait_for()


def test_undo_in_the_middle_of_a_stroke_takes_back_that_stroke_alone(still: Canvas) -> None:
    still.material("snow")
    still.drag([(0.1, 0.1), (0.4, 0.1)])
    first = still.painting()
    still.drag([(0.1, 0.8), (0.4, 0.8)], release=False)
    still.page.keyboard.press("Control+z")
    still.page.mouse.up()
    assert np.array_equal(still.painting(), first)


def test_a_touch_that_the_system_takes_back_leaves_no_mark_and_a_lost_one_does_not_stay_down(still: Canvas) -> None:
    scene = still.painting()
    still.material("snow")
    still.page.evaluate(TOUCH, ["pointerdown", 0.3, 0.3])
    still.page.evaluate(TOUCH, ["pointermove", 0.6, 0.3])
    still.page.evaluate(TOUCH, ["pointercancel", 0.6, 0.3])
    assert np.array_equal(still.painting(), scene)
    still.page.evaluate(TOUCH, ["pointerdown", 0.3, 0.3])
    still.page.evaluate(TOUCH, ["lostpointercapture", 0.3, 0.3])
    assert not still.page.evaluate(f"{RASTER}.busy")
    still.page.keyboard.press("Control+z")
    still.drag([(0.1, 0.8), (0.4, 0.8)])  # one finger still draws, and does not pinch with the one that was lost
    assert not np.array_equal(still.painting(), scene)
    assert still.page.evaluate(f"{RASTER}.view.zoom") == 1


def test_drawing_on_a_hidden_layer_shows_all_of_it_and_undo_hides_it_again(still: Canvas) -> None:
    scene = still.painting()
    still.tool("rectangle")
    still.material("water")
    still.drag([(0.1, 0.1), (0.4, 0.4)])
    still.page.evaluate(f"{RASTER}.change(({{ active }}) => {{ active.visible = false; }})")
    assert np.array_equal(still.painting(), scene)
    still.drag([(0.6, 0.6), (0.9, 0.9)])
    screen = f"[...{RASTER}.context.getImageData(32, 32, 1, 1).data].slice(0, 3)"
    assert still.page.evaluate(screen) == still.painting()[32, 32].tolist() != scene[32, 32].tolist()
    still.page.keyboard.press("Control+z")
    still.page.keyboard.press("Control+z")
    assert np.array_equal(still.painting(), scene)
