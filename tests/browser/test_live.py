"""The live picture: whose it is, when an earlier one stands for it, and what becomes of the painting meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.canvas import Canvas

pytest.importorskip("playwright")

HELD = """async () => {
  const painted = JSON.stringify(hackamore.tabs.paint.state().layers);
  for (let turn = 0; turn < 100; turn++) {
    const held = await hackamore.live.frames.held("painting.paint");
    if (JSON.stringify(held?.layers) === painted) return true;
    await new Promise((later) => setTimeout(later, 100));
  }
  return false;
}"""


def test_other_weights_under_the_same_name_make_a_new_frame(paint: Canvas) -> None:
    def changed(route: Any) -> None:
        told = route.fetch().json()
        for model in told["data"]:
            model["sha256"] = dict.fromkeys(model["sha256"] or {}, "0" * 64)
        route.fulfill(json=told)

    paint.page.click("[data-chip=night]")
    assert paint.settle() == "done"
    paint.page.wait_for_timeout(300)  # a frame is stored a moment after it is shown
    sent = len(paint.sent)
    paint.page.click("[data-chip=noon]")
    assert paint.settle() == "done"
    assert len(paint.sent) == sent
    frames = paint.frames()
    paint.page.route("**/v1/models", changed)
    paint.page.click("[data-chip=night]")
    assert paint.settle() == "done"
    assert len(paint.sent) == sent + 2
    paint.page.wait_for_function(f"document.querySelectorAll('.st-frame').length === {frames + 2}")
    paint.page.unroute("**/v1/models")


def test_a_copy_of_the_page_is_live_by_itself(paint: Canvas) -> None:
    with paint.page.context.expect_page() as opened:
        paint.page.evaluate("void window.open(location.href.replace(/#.*/, '#models'))")
    copy = opened.value
    copy.wait_for_function("window.hackamore?.word")
    assert copy.evaluate("hackamore.word") != paint.page.evaluate("hackamore.word")
    copy.close()


def test_a_painting_is_kept_though_one_turns_to_another_tab_at_once(still: Canvas) -> None:
    change = "hackamore.tabs.paint.raster.change(({ active }) => active.picture.data.fill(8, 300, 900))"
    still.page.evaluate(f"{change}; hackamore.show('gallery')")
    assert still.page.evaluate(HELD)


def test_a_picture_that_comes_after_stop_is_kept_and_says_nothing_else(paint: Canvas) -> None:
    coming: list[Any] = []
    paint.page.route("**/images/*", lambda route: coming.append(route))
    frames = paint.frames()
    with paint.page.expect_request("**/images/*"):
        paint.page.click("[data-chip=dusk]")
    paint.page.click(".lv [data-act=stop]")
    assert paint.settle() == "stopped"
    for route in coming:
        route.continue_()
    paint.page.unroute("**/images/*")
    paint.page.wait_for_function(f"document.querySelectorAll('.st-frame').length > {frames}")
    assert paint.page.locator(".lv-frame").get_attribute("data-state") == "stopped"
    assert paint.page.locator(".lv [data-act=again]").is_visible()
