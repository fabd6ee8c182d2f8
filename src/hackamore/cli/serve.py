"""``hackamore serve``: the canvas and the server."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hackamore.core.errors import HackamoreError

if TYPE_CHECKING:
    from hackamore.serving.settings import ServeSettings

NEEDED = ("fastapi", "uvicorn", "prometheus_client", "multipart")
OFFER_KEYS = ("base", "kind")


def run(
    host: Annotated[str | None, typer.Option(help="Where to listen: 127.0.0.1; others need a token.")] = None,
    port: Annotated[int | None, typer.Option(help="7860; 0 takes a free one.")] = None,
    token: Annotated[
        str | None, typer.Option(envvar="HACKAMORE_TOKEN", help="Bearer token; better told in the environment.")
    ] = None,
    base: Annotated[list[str] | None, typer.Option(help="NAME or NAME=PATH of a base on offer; repeatable.")] = None,
    control: Annotated[
        list[str] | None, typer.Option(help="NAME=PATH[,base=NAME,kind=KIND] of a control on offer; repeatable.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Accepted jobs and results: hackamore-server.")] = None,
    device: Annotated[list[str] | None, typer.Option(help="One worker each; the best one when absent.")] = None,
    dtype: Annotated[str | None, typer.Option(help="fp32, fp16 or bf16.")] = None,
    batch: Annotated[int | None, typer.Option(help="Requests that are sampled together.")] = None,
    memory: Annotated[int | None, typer.Option(help="MiB of loaded bases and controls.")] = None,
    queue: Annotated[int | None, typer.Option(help="Jobs that may wait: 64; more are answered 429.")] = None,
    keep_hours: Annotated[float | None, typer.Option(help="Results are kept so long: 72.")] = None,
    log_prompts: Annotated[bool, typer.Option("--log-prompts", help="Write what people ask for to the log.")] = False,
    no_canvas: Annotated[bool, typer.Option("--no-canvas", help="The routes alone, without the page.")] = False,
    engine: Annotated[str | None, typer.Option(help="local, or ray for more than one machine.")] = None,
    replicas: Annotated[int | None, typer.Option(help="Of the ray engine.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of all of these, and of limits.")] = None,
) -> None:
    """Serve pictures: a page to paint on, and the routes that programs post to. Ctrl-C stops it."""
    from hackamore.core.extras import require

    settings = make_settings(
        {
            "host": host, "port": port, "token": token, "folder": folder, "devices": device, "dtype": dtype,
            "bases": base and [parse_offer(text, ()) for text in base],
            "controls": control and [parse_offer(text, OFFER_KEYS) for text in control],
            "batch": batch, "memory_mib": memory, "keep_hours": keep_hours, "log_prompts": log_prompts or None,
            "canvas": False if no_canvas else None, "engine": engine, "replicas": replicas,
        },
        queue,
        config,
    )  # fmt: skip
    for module in (*NEEDED, *(["gradio"] if settings.canvas else [])):
        require({"multipart": "python_multipart"}.get(module, module), "serve", "the server")
    from hackamore.serving.http.server import serve

    serve(settings, lambda url: print(f"hackamore serves {url}", flush=True))


def make_settings(told: dict[str, Any], queue: int | None = None, config: Path | None = None) -> ServeSettings:
    """The settings of a file, over which those stand that are ``told`` and not None."""
    from pydantic import ValidationError

    from hackamore.serving.settings import ServeSettings

    settings = {} if config is None else read_config(config)
    settings |= {name: value for name, value in told.items() if value not in (None, [])}
    if queue is not None:
        limits = settings.get("limits", {})
        settings["limits"] = {**limits, "queue": queue} if isinstance(limits, dict) else limits
    try:
        return ServeSettings(**settings)
    except (ValidationError, TypeError) as error:
        if isinstance(error, TypeError):
            raise HackamoreError("the settings are not understood", received=str(error)) from error
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise HackamoreError(f"setting {where}: {first['msg']}", received=first.get("input")) from error


def read_config(path: Path) -> dict[str, Any]:
    """A TOML file as it stands."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HackamoreError(f"{path} is not valid TOML", received=str(error)) from error
    except OSError as error:
        raise HackamoreError(f"{path} cannot be read", received=error.strerror, expected="a TOML file") from error


def parse_offer(text: str, keys: tuple[str, ...]) -> dict[str, str]:
    """``NAME``, ``NAME=PATH`` or ``NAME=PATH,key=value…`` → an offer; a name alone is also where it is found."""
    first, *rest = text.split(",")
    name, sign, path = (part.strip() for part in first.partition("="))
    told = {"name": name, "path": path if sign else name}
    for part in rest:
        key, _, value = (piece.strip() for piece in part.partition("="))
        if key not in keys or not value or key in told:
            raise HackamoreError("the offer is not understood", received=text, expected=_form(keys))
        told[key] = value
    if not told["name"] or not told["path"]:
        raise HackamoreError("the offer is not understood", received=text, expected=_form(keys))
    return told


def _form(keys: tuple[str, ...]) -> str:
    return "NAME=PATH" + "".join(f"[,{key}=…]" for key in keys)
