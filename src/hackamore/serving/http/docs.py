"""The page that describes the routes: made from their own description, with no script, so that none is let in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font: 13px/1.4 ui-monospace, monospace } pre { overflow-x: auto; padding: .6rem; background: #8881 }
summary { cursor: pointer; padding: .3rem 0 } details { border-bottom: 1px solid #8883 }
table { border-collapse: collapse } td, th { text-align: left; padding: .15rem .8rem .15rem 0; vertical-align: top }
.method { display: inline-block; min-width: 4.5em; font-weight: 600 }
"""


def add_docs(app: FastAPI) -> None:
    """Serve the page at ``/docs``."""

    @lru_cache(maxsize=1)
    def page() -> str:
        return render(app.openapi())

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        """The page."""
        return HTMLResponse(page(), headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})


def render(described: dict[str, Any]) -> str:
    """An OpenAPI description as one page of HTML."""
    title = escape(f"{described['info']['title']} {described['info']['version']}")
    groups: dict[str, list[str]] = {}
    for path, methods in described["paths"].items():
        for method, told in methods.items():
            groups.setdefault((told.get("tags") or ["more"])[0], []).append(_route(method, path, told))
    routes = "".join(f"<h2>{escape(name)}</h2>{''.join(several)}" for name, several in groups.items())
    values = "".join(_value(name, schema) for name, schema in described["components"]["schemas"].items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><h1>{title}</h1>'
        f"<p>{escape(described['info'].get('description', ''))}</p>"
        f'<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>'
        f"{routes}<h2>Values</h2>{values}</html>"
    )


def _route(method: str, path: str, told: dict[str, Any]) -> str:
    body = "".join(_body(kind, content) for kind, content in told.get("requestBody", {}).get("content", {}).items())
    rows = [(one["name"], f"{one['in']}, {words(one['schema'])}", one.get("description", ""))
            for one in told.get("parameters", [])]  # fmt: skip
    answers = [
        (status, ", ".join(f"{kind} {words(content.get('schema', {}))}" for kind, content in
                           answer.get("content", {}).items()), answer.get("description", ""))
        for status, answer in told["responses"].items()
    ]  # fmt: skip
    name = f'<span class="method">{method.upper()}</span>{escape(path)}'
    return (
        f'<details id="{escape(told.get("operationId", ""))}"><summary><code>{name}</code> '
        f"{escape(told.get('summary', ''))}</summary><p>{escape(told.get('description', ''))}</p>"
        f"{_table('Parameters', rows)}{body}{_table('Answers', answers)}</details>"
    )


def _body(kind: str, content: dict[str, Any]) -> str:
    told = [
        f"<p>{escape(one.get('summary', ''))}</p><pre>{escape(json.dumps(one.get('value'), indent=1))}</pre>"
        for one in content.get("examples", {}).values()
    ]
    return f"<p>Body: {escape(kind)} <code>{escape(words(content.get('schema', {})))}</code></p>{''.join(told)}"


def _value(name: str, schema: dict[str, Any]) -> str:
    needed = schema.get("required", [])
    rows = [
        (field, words(told) + ("" if field in needed else f" = {json.dumps(told.get('default'))}"), _meaning(told))
        for field, told in schema.get("properties", {}).items()
    ]
    about = escape(schema.get("description", ""))
    return f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary><p>{about}</p>' + (
        f"{_table('Fields', rows)}</details>"
    )


def _meaning(told: dict[str, Any]) -> str:
    return str(told.get("description", ""))


def _table(title: str, rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    lines = "".join(
        f"<tr><td><code>{escape(a)}</code><td><code>{escape(b)}</code><td>{escape(c)}</tr>" for a, b, c in rows
    )
    return f"<table><tr><th>{title}</th></tr>{lines}</table>"


def words(schema: dict[str, Any]) -> str:
    """A schema in a few words, such as ``integer ≥ 1 or null``."""
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(words(one) for one in schema[several]))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema or "const" in schema:
        return " | ".join(json.dumps(one) for one in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        inner = schema.get("items") or {"anyOf": schema.get("prefixItems", [{}])}
        return f"list of {words(inner)}"
    return " ".join([str(schema.get("type", "any")), *_bounds(schema)])


def _bounds(schema: dict[str, Any]) -> Iterator[str]:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    for name, sign in signs.items():
        if name in schema:
            yield f"{sign} {schema[name]}"
