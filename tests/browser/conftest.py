"""A real server with Meadow and a real browser; both last as long as the tests of this folder. Pages last as told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.canvas import Canvas
from tests.browser.quiet import quiet_page
from tests.browser.running import PATIENCE, Open, chromium, profiles, serving


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    program = chromium()
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running ``hackamore serve`` with Meadow, without a slash at its end."""
    chromium()
    with serving(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def address(server: str) -> str:
    """Where the page is."""
    return f"{server}/"


@pytest.fixture
def open_page(browser: Any, server: str) -> Iterator[Open]:
    """See :func:`profiles`; what it opens ends with the test."""
    with profiles(browser, server) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_page(browser: Any, server: str) -> Iterator[Any]:
    """A page at 1280 × 860 that the tests of a module hand on to one another, since loading one takes seconds."""
    with profiles(browser, server) as opened:
        yield opened("models")


@pytest.fixture
def blank(open_page: Open) -> Any:
    """A page of a fresh profile that has gone nowhere yet."""
    return open_page(None)


@pytest.fixture
def page(open_page: Open) -> Any:
    """A fresh page at 1280 × 860, on Paint."""
    return open_page()


@pytest.fixture(scope="module")
def desk(request: pytest.FixtureRequest, browser: Any, server: str) -> Iterator[Any]:
    """A page for all tests of a file on the tab that the file names ``TAB``; nothing is sent by itself."""
    with quiet_page(browser, server, request.module.TAB) as page:
        yield page


@pytest.fixture
def bare(desk: Any) -> Any:
    """``desk`` on Photo without a photo, and nothing in the stack."""
    desk.evaluate("hackamore.tabs.photo.restore(null)")
    desk.evaluate("hackamore.show('photo'); hackamore.units.restore({ own: {}, pinned: [] })")
    return desk


@pytest.fixture(scope="module")
def shared(browser: Any, server: str) -> Iterator[Canvas]:
    """One page for all tests of a file, since loading one takes seconds; each begins it anew."""
    with profiles(browser, server) as opened:
        yield Canvas(opened(None), f"{server}/")


@pytest.fixture
def paint(shared: Canvas) -> Canvas:
    """The page on Paint with its first landscape and that one's picture."""
    shared.begin()
    return shared


@pytest.fixture
def still(shared: Canvas) -> Canvas:
    """The same, and no pictures are made while one paints."""
    shared.begin(live=False)
    return shared
