"""A page of the canvas as a person uses it, with what it asked of the server meanwhile."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAINTING = "#hm-panel-paint .rs-frame"
SKETCH = "#hm-panel-sketch .rs-frame"
DEADLINE = 120_000
"""Milliseconds for whatever the page does next, on a machine that has other things to do too."""
FEW = 8
"""Steps of a full picture here: enough to follow, and twice what a first look takes."""
SETTINGS = {"prompt": "mountains with a lake at noon, clear sky", "seed": 3, "steps": FEW}
BEGIN = """([painting, settings]) => {
  hackamore.tabs.paint.raster.restore(painting, false);
  hackamore.settings.restore(settings);
  hackamore.emit("changed", "paint");
}"""
KEEP = """for (const [name, value] of Object.entries(%s)) {
  const place = "hackamore." + name;
  if (localStorage.getItem(place) === null) localStorage.setItem(place, JSON.stringify(value));
}"""
READ = """async () => {
  const blob = await (await fetch(document.querySelector(".lv-picture").src)).blob();
  const reader = new FileReader();
  return new Promise((done) => { reader.onload = () => done(reader.result); reader.readAsDataURL(blob); });
}"""

Point = tuple[float, float]


class Canvas:
    """A page as a person uses it, and what it asked of the server meanwhile."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.sent: list[dict[str, Any]] = []
        page.set_default_timeout(DEADLINE)
        page.add_init_script(KEEP % json.dumps({"settings": SETTINGS}))
        page.on("request", self._heard)
        page.goto(address)
        self.page.wait_for_function("window.hackamore?.live")
        self.start = page.evaluate("hackamore.tabs.paint.state()")

    def begin(self, live: bool = True) -> None:
        """The first landscape, nothing to undo, and its picture; then live or not."""
        self.page.click("#hm-tab-paint")
        self.page.locator("#hm-live").set_checked(True)
        self.tool("brush")
        self.page.evaluate(BEGIN, [self.start, SETTINGS])
        assert self.settle() == "done"
        self.page.locator("#hm-live").set_checked(live)
        self.sent.clear()

    def _heard(self, request: Any) -> None:
        if request.method == "POST" and request.url.endswith("/v1/jobs"):
            self.sent.append(request.post_data_json)

    def settle(self) -> str:
        """Wait until no live picture is under way; how the last one ended."""
        self.page.wait_for_function("window.hackamore?.live")
        late = f"new Promise((late) => setTimeout(() => late('late'), {DEADLINE}))"
        return str(self.page.evaluate(f"Promise.race([hackamore.live.idle(), {late}])"))

    def drag(self, points: Sequence[Point], frame: str = PAINTING, release: bool = True, steps: int = 4) -> None:
        """Press the mouse at the first point, in shares of the frame, and move it through the others."""
        box = self.page.locator(frame).bounding_box()
        assert box is not None
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=steps)
        if release:
            self.page.mouse.up()

    def material(self, name: str) -> None:
        self.page.click(f"[data-material={name}]")

    def tool(self, name: str, panel: str = "paint") -> None:
        self.page.click(f"#hm-panel-{panel} [data-tool={name}]")

    def mountain_and_lake(self) -> None:
        """A grey triangle on the horizon, filled, and a blue lake before it."""
        self.material("rock")
        self.drag([(0.05, 0.52), (0.35, 0.15), (0.65, 0.52), (0.05, 0.52)])
        self.tool("fill")
        self.drag([(0.35, 0.38)])
        self.tool("ellipse")
        self.material("water")
        self.drag([(0.25, 0.62), (0.95, 0.95)])
        self.tool("brush")

    def painting(self, tab: str = "paint") -> NDArray[np.uint8]:
        """What the tab would send as its hint, H×W×3."""
        return picture_of(self.page.evaluate(f"hackamore.tabs.{tab}.hint().then((hint) => hint.image)"))

    def picture(self) -> NDArray[np.uint8]:
        """The picture that stands beside the painting, H×W×3."""
        return picture_of(self.page.evaluate(READ))

    def frames(self) -> int:
        return self.page.locator(".st-frame").count()


def picture_of(told: str) -> NDArray[np.uint8]:
    """A data address as pixels, H×W×3."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(told.partition(",")[2]))).convert("RGB"))


def sent_hint(request: dict[str, Any]) -> NDArray[np.uint8]:
    """The first control's hint in a request, H×W×3."""
    return picture_of(request["controls"][0]["image"])
