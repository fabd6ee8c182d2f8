"""One page at ``/``: Gradio holds it, and our own component inside talks to the ``/v1`` routes and to nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, HTTPException, Request, Response

from hackamore.core.extras import require
from hackamore.serving.canvas.files import page_files
from hackamore.serving.canvas.gate import Gate

if TYPE_CHECKING:
    from hackamore.serving.engine import Engine
    from hackamore.serving.models import Models
    from hackamore.serving.settings import ServeSettings

TITLE = "Hackamore"
HOLDER = '<div id="hackamore" class="hackamore" aria-busy="true"></div>'
START = """
const holder = element.querySelector("#hackamore");
import(new URL("canvas/app.js", document.baseURI)).then((app) => app.boot(holder));
"""
HEAD = """
<link rel="icon" type="image/svg+xml" href="canvas/icon.svg">
<meta name="color-scheme" content="light dark">
"""
FIRST_STYLE = "style.css"
ICON = "icon.svg"


def mount(app: FastAPI, settings: ServeSettings, engine: Engine, models: Models) -> FastAPI:
    """Put the page at ``/`` of ``app`` and its files at ``/canvas``; every other route must be there already.

    Raises :class:`HackamoreError` where Gradio is not installed.
    """
    del settings, engine, models  # the page has no special door: what it knows it asks of the routes, like any client
    gradio = require("gradio", "serve", "the canvas")
    _serve_files(app)
    gradio.mount_gradio_app(
        app,
        _blocks(gradio),
        path="/",
        theme=gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        head=_head(),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        allowed_paths=[],
        mcp_server=False,
        show_error=False,
    )
    mounted: Any = app.routes[-1]
    mounted.app = Gate(mounted.app)
    return app


def _blocks(gradio: Any) -> Any:
    with gradio.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as blocks:
        gradio.HTML(HOLDER, js_on_load=START, apply_default_css=False, padding=False)
    return blocks


def _head() -> str:
    """What the page's head loads, all of it from here; every module at once, so that none waits for another's turn."""
    names = list(page_files())
    first = sorted((name for name in names if name.endswith(".css")), key=lambda name: name != FIRST_STYLE)
    links = [f'<link rel="stylesheet" href="canvas/{name}">' for name in first]
    links += [f'<link rel="modulepreload" href="canvas/{name}">' for name in names if name.endswith(".js")]
    return HEAD + "\n".join(links)


def _serve_files(app: FastAPI) -> None:
    files = page_files()

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon(request: Request) -> Response:
        """The sign in a browser's tab, which some ask for by its old name."""
        return await canvas_file(ICON, request)

    @app.get("/canvas/{name:path}", include_in_schema=False)
    async def canvas_file(name: str, request: Request) -> Response:
        """A file of the page."""
        if (file := files.get(name)) is None:
            raise HTTPException(404, "the canvas has no such file")
        headers = {"ETag": file.tag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type=file.media_type, headers=headers)
