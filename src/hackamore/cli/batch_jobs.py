"""``hackamore batch``: a file of jobs → a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hackamore.cli.serve import OFFER_KEYS, make_settings, parse_offer
from hackamore.core.errors import WorkFailed

MOST_TOLD = 10


def run(
    jobs: Annotated[Path, typer.Argument(help="A JSONL file: a request a line, as POST /v1/jobs takes it.")],
    out: Annotated[Path, typer.Option(help="Where NAME-k.png and results.jsonl go.")],
    engine: Annotated[str, typer.Option(help="local, or ray for more than one machine.")] = "local",
    replicas: Annotated[int, typer.Option(help="Of the ray engine.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on: finished jobs are not done again.")] = False,
    base: Annotated[list[str] | None, typer.Option(help="NAME or NAME=PATH of a base; repeatable.")] = None,
    control: Annotated[
        list[str] | None, typer.Option(help="NAME=PATH[,base=NAME,kind=KIND] of a control; repeatable.")
    ] = None,
    device: Annotated[list[str] | None, typer.Option(help="One worker each; the best one when absent.")] = None,
    dtype: Annotated[str | None, typer.Option(help="fp32, fp16 or bf16.")] = None,
    batch: Annotated[int | None, typer.Option(help="Requests that are sampled together.")] = None,
    memory: Annotated[int | None, typer.Option(help="MiB of loaded bases and controls.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file, as hackamore serve takes it.")] = None,
) -> None:
    """Make the pictures of a whole file of requests. All lines are checked before the work begins."""
    settings = make_settings(
        {
            "engine": engine, "replicas": replicas, "devices": device, "dtype": dtype, "batch": batch,
            "bases": base and [parse_offer(text, ()) for text in base],
            "controls": control and [parse_offer(text, OFFER_KEYS) for text in control], "memory_mib": memory,
        },
        config=config,
    )  # fmt: skip
    from hackamore.serving.batch import run_batch

    summary = run_batch(jobs, out, settings, resume, _tell)
    before = f", {summary.before} were done before" if summary.before else ""
    print(f"{summary.done} done, {len(summary.failed)} failed{before}: {out}")
    if summary.failed:
        count = len(summary.failed)
        told = [f"{one['name']}: {one['error']['what']}" for one in summary.failed[:MOST_TOLD]]
        raise WorkFailed(
            f"{count} {'jobs' if count > 1 else 'job'} failed",
            received="; ".join(told) + (f"; and {count - MOST_TOLD} more" if count > MOST_TOLD else ""),
            remedy="--resume does them again; results.jsonl has the reasons",
        )


def _tell(one: dict[str, Any]) -> None:
    files = ", ".join(picture["file"] for picture in one["pictures"]) or one["error"]["what"]
    print(f"line {one['line']} {one['state']} in {one['seconds']:.1f} s: {files}", flush=True)
