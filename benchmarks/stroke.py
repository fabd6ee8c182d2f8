"""From the end of a stroke to its picture: the canvas in a headless browser, on a real server with Meadow.

Paints ``--strokes`` strokes with the mouse, each elsewhere and in another material, and notes for each how long after
the mouse button came up its quick look, and then its full picture (20 guided steps), stood beside the painting.

python benchmarks/stroke.py
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from serving_common import Server, quantile

FRAME = "#hm-panel-paint .rs-frame"
MATERIALS = ("rock", "water", "forest", "sand", "snow", "cloud", "grass")
LISTEN = """() => {
  window.up = 0;
  window.made = [];
  window.addEventListener("pointerup", () => { window.up = performance.now(); window.made = []; }, true);
  hackamore.on("frame", () => window.made.push((performance.now() - window.up) / 1000));
}"""
OVER = "hackamore.live.idle()"


def stroke(page: Any, draw: random.Random) -> list[float]:
    """One stroke; after how many seconds each picture of it stood there, the quick look first."""
    page.click(f"[data-material={draw.choice(MATERIALS)}]")
    box = page.locator(FRAME).bounding_box()
    x, y = (box[side] + box[length] * draw.uniform(0.1, 0.6) for side, length in (("x", "width"), ("y", "height")))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 0.3 * box["width"], y + draw.uniform(-0.1, 0.3) * box["height"], steps=12)
    page.mouse.up()
    page.wait_for_function("window.made.length >= 1")
    page.evaluate(OVER)
    return list(page.evaluate("window.made"))


def main() -> None:
    """The strokes, to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strokes", type=int, default=20)
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    parser.add_argument("--picture", type=Path, help="the page at the end, a PNG")
    parser.add_argument("--out", type=Path, default=Path("docs/stroke.json"))
    told = parser.parse_args()
    from playwright.sync_api import sync_playwright

    draw = random.Random(0)
    with TemporaryDirectory() as folder, Server(Path(folder)) as server, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=told.chromium, args=["--headless", "--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(server.url)
        page.wait_for_function("window.hackamore?.live")
        page.evaluate(OVER)
        page.evaluate(LISTEN)
        made = [stroke(page, draw) for _ in range(told.strokes + 1)][1:]  # the first one warms up
        if told.picture:
            page.screenshot(path=told.picture)
        browser.close()
    looks, full = [one[0] for one in made], [one[-1] for one in made if len(one) > 1]
    held = {
        "strokes": told.strokes,
        "look_s": {"median": round(quantile(looks, 0.5), 2), "p95": round(quantile(looks, 0.95), 2)},
        "full_s": {"median": round(quantile(full, 0.5), 2), "p95": round(quantile(full, 0.95), 2)} if full else None,
        "full_pictures": len(full),
    }
    told.out.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(held))


if __name__ == "__main__":
    main()
