"""Pages on which nothing is sent by itself, and a picture to put into them."""

import base64
import io
from contextlib import contextmanager

import numpy as np
from PIL import Image

from tests.browser.running import profiles


def picture(width=96, height=96):
    """A data address of a photo with edges: a bright disc on a slope of greys."""
    y, x = np.mgrid[:height, :width]
    pixels = np.repeat((x * 120 // width)[..., None], 3, axis=2).astype(np.uint8)
    pixels[(x - width / 2) ** 2 + (y - height / 2) ** 2 < (width / 4) ** 2] = (250, 220, 90)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def address(file):
    return "data:image/png;base64," + base64.b64encode(file).decode()


@contextmanager
def quiet_page(browser, server, tab):
    """The page on ``tab``, not live, for several tests, since a page takes long to start.

    In it ``changes`` and ``made`` hold what has changed and which jobs are done.
    """
    with profiles(browser, server) as opened:
        page = opened(None)
        page.add_init_script("localStorage.setItem('hackamore.live', 'false')")
        page.goto(f"{server}/#{tab}")
        page.wait_for_selector(f"#hm-panel-{tab}:not([hidden])")
        page.evaluate(
            """() => {
                Object.assign(window, { changes: [], made: [] });
                hackamore.on("changed", (name) => window.changes.push(name));
                hackamore.on("made", (job) => window.made.push(job));
            }"""
        )
        yield page


def generated(page):
    """The job of a picture that is made of the page as it is now, in few steps."""
    page.evaluate("hackamore.settings.restore({ prompt: 'a lake', steps: 4, num: 1, seed: 5 }); made.length = 0")
    page.click("#hm-generate")
    page.wait_for_function("made.length")
    return page.evaluate("made[0]")


def pixels(source):
    """A data address of a picture as H×W×3."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).convert("RGB"))


def hint_of(page, job):
    """The hint of a job's first unit, as the server keeps it."""
    read = "async (id) => (await import(`${location.origin}/canvas/api.js`)).dataUrl(hackamore.api.hintUrl(id, 0))"
    return pixels(page.evaluate(read, job["id"]))
