"""``hackamore train``: data and settings → a trained control."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hackamore.core.errors import HackamoreError


def run(
    config: Annotated[Path | None, typer.Argument(help="A TOML file; every option wins over it.")] = None,
    base: Annotated[str | None, typer.Option(help="The base to steer.")] = None,
    data: Annotated[str | None, typer.Option(help="Training pairs: folder, shards, or datasets:NAME.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Which hint: canny, seg, … Again for each of a union.")] = None,
    form: Annotated[
        str | None, typer.Option(help="controlnet, t2i-adapter, t2i-adapter-light, xs, control-lora or union.")
    ] = None,
    init: Annotated[str | None, typer.Option(help="A control to go on from.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the finished control goes.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples a step, over all processes.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate at its height.")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is random.")] = None,
    precision: Annotated[str | None, typer.Option(help="no, bf16 or fp16.")] = None,
    push: Annotated[str | None, typer.Option(help="Hub repository for the finished control.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.NAME=VALUE", help="Any other setting.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Open every pair, report, and train nothing.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="With --check: the report as JSON, with every name.")
    ] = False,
    resume: Annotated[bool, typer.Option(help="Go on from the newest checkpoint in the output folder.")] = True,
    settings: Annotated[
        bool, typer.Option("--settings", help="List every setting of --set, and train nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Train a control, or what CONFIG describes. Goes on where it was stopped."""
    from hackamore.core.extras import require

    require("accelerate", "train", "training")

    from hackamore.training.config import option, read_stage

    if settings:
        _list()
        return
    if json_output and not check:
        raise HackamoreError("--json prints the report of --check", remedy="--check --json")
    kinds: Any = None if not kind else kind[0] if len(kind) == 1 else tuple(kind)
    told = {
        "base": base, "data": data, "kind": kinds, "control.form": form, "control.init": init, "output": out,
        "run.steps": steps, "run.batch_size": batch_size, "run.lr": lr, "run.checkpoint_every": checkpoint_every,
        "run.seed": seed, "run.precision": precision, "track.push": push,
    }  # fmt: skip
    if config is not None and init is not None and _stage_of(config) != "control":
        told["init"] = told.pop("control.init")
    stage = read_stage(config, {**told, **dict(option(text) for text in setting or ())})
    if check:
        _check(stage, quiet, json_output)
        return
    from hackamore.training.run import run_stage

    out = run_stage(stage, resume=resume, quiet=quiet)

    from accelerate import PartialState

    if PartialState().is_main_process:
        print(f"done: {out}")


def _list() -> None:
    """Print every setting with its default and meaning."""
    from hackamore.training.config import known_settings

    for name, default, meaning in known_settings():
        shown = "" if default is None else f" = {str(default).lower() if isinstance(default, bool) else default}"
        print(f"{name}{shown}" + (f"  # {meaning}" if meaning else ""))


def _stage_of(config: Path) -> str:
    """The stage that a configuration names; what is wrong with it is told when it is read."""
    import tomllib

    try:
        return str(tomllib.loads(config.read_text(encoding="utf-8")).get("stage", "control"))
    except (OSError, ValueError):
        return "control"


def _check(stage: Any, quiet: bool, json_output: bool) -> None:
    """Print what the dry run found, in words or as JSON with every name; problems are an error."""
    from hackamore.training.control_stage import ControlStage

    if not isinstance(stage, ControlStage):
        raise HackamoreError("only the data of controls is checked", received=stage.stage, expected="control")
    from hackamore.cli.show import progress_bar
    from hackamore.training.dry import dry_run

    with progress_bar("opening pairs") as show:
        report = dry_run(stage, None if quiet else show)
    print(json.dumps(report.json(), indent=2) if json_output else "\n".join(report.lines()))
    more = "--check --json names every place" if report.cut and not json_output else ""
    if more and not report.problems:
        print(more)
    if report.problems:
        count = len(report.problems)
        remedy = f"they stand above{'; ' if more else ''}{more}"
        raise HackamoreError(f"the data has {count} problem{'s' if count > 1 else ''}", remedy=remedy)
