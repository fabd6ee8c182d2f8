"""Materials in the colours that a control was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hackamore.core.palette import ADE20K, CLASSES, WORLDS
from tests.browser.canvas import picture_of
from tests.browser.running import Open

pytest.importorskip("playwright")

HINT = "hackamore.tabs.paint.hint().then((hint) => hint.image)"


def test_a_published_control_is_told_ade20k_s_colours_unless_one_says_otherwise(open_page: Open) -> None:
    page = open_page("paint", ready=False)
    assert page.locator("#hm-colours").is_hidden()
    page.route("**/v1/info", _published)
    page.reload()
    page.wait_for_function("window.hackamore?.live")
    page.evaluate("hackamore.live.idle()")
    assert page.input_value("#hm-colours") == "ade20k"
    state = page.evaluate("hackamore.tabs.paint.state()")
    raster = (
        "hackamore.tabs.paint.raster.change(({active}) => active.picture.data.set([...Array(16)].map((_, k) => k + 1)))"
    )
    page.evaluate(raster)
    told = [ADE20K.names[k] for k in ADE20K.read(_pixels(page)[:1, :15])[0]]
    assert told[CLASSES.index("rock")] == told[CLASSES.index("snow")] == "mountain"
    assert told[CLASSES.index("cloud")] == told[CLASSES.index("sky")] == "sky"
    assert told[CLASSES.index("forest")] == "tree"
    same = ("sky", "water", "sand", "grass", "tree", "earth", "road", "building", "bridge", "person", "flower")
    assert [told[CLASSES.index(name)] for name in same] == list(same)
    hint = page.evaluate("hackamore.tabs.paint.hint()")
    page.select_option("#hm-colours", "worlds")
    assert (WORLDS.read(_pixels(page)[:1, :16])[0] == np.arange(16)).all()
    assert page.evaluate("(hint) => hackamore.tabs.paint.take(hint)", hint)  # "use again" of the other colours
    assert page.input_value("#hm-colours") == "ade20k"
    page.evaluate("(state) => hackamore.tabs.paint.restore({ ...state, colours: 'worlds' })", state)
    assert page.input_value("#hm-colours") == "worlds"


def _pixels(page: Any) -> np.ndarray:
    return picture_of(page.evaluate(HINT))


def _published(route: Any) -> None:
    told = route.fetch().json()
    for one in told["controls"]["meadow"]:
        one["name"] = one["name"].replace("meadow/seg", "published-seg")
    route.fulfill(json=told)
