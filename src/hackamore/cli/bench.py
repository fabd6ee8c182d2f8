"""``hackamore bench``: ours beside diffusers' pipeline in one run, on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from hackamore.bench.shapes import USUAL
from hackamore.cli.options import parse_size
from hackamore.cli.show import note
from hackamore.core.errors import HackamoreError

MOST_CONTROLS, MOST_RUNS = 8, 100


def run(
    shape: Annotated[
        str, typer.Option(help="meadow, or sd1 or sdxl: their published shape with random weights.")
    ] = "meadow",
    controls: Annotated[int, typer.Option(help="How many ControlNets steer, 0 to 8.")] = 1,
    steps: Annotated[int | None, typer.Option(help="Sampling steps; 20 on Meadow, else 4.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT; the shape's own when absent.")] = None,
    runs: Annotated[int, typer.Option(help="Runs of each side, in turn; one more goes before them.")] = 5,
    only: Annotated[
        list[str] | None, typer.Option(help="A side by its name in the table; repeatable. All when absent.")
    ] = None,
    compiled: Annotated[bool, typer.Option("--compiled", help="Compare with diffusers under torch.compile.")] = False,
    threads: Annotated[
        int | None, typer.Option(help="Threads of both sides; PyTorch's own number when absent.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cuda or cpu; chosen when absent.")] = None,
    dtype: Annotated[str, typer.Option(help="fp32, fp16 or bf16, of both sides.")] = "fp32",
    folder: Annotated[Path | None, typer.Option(help="Keeps the random weights; a temporary folder else.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print everything that was measured as JSON.")] = False,
) -> None:
    """Measure generation beside diffusers: seconds, memory, and how far the latents are apart."""
    usual = _checked(shape, controls, runs, dtype)
    given = parse_size(size) if size else usual[0]
    if min(given) < 64 or any(side % 8 for side in given):
        raise HackamoreError("the size is out of range", received=size, expected="multiples of 8 from 64 on")
    if steps is not None and not 1 <= steps <= 1000:
        raise HackamoreError("the number of steps is out of range", received=steps, expected="1 to 1000")
    if threads is not None and not 1 <= threads <= 1024:
        raise HackamoreError("the number of threads is out of range", received=threads, expected="1 to 1024")

    import torch

    from hackamore.bases.catalog import best_device
    from hackamore.bench.compare import compare
    from hackamore.bench.job import Job
    from hackamore.bench.peaks import machine
    from hackamore.bench.table import HEAD, reference_row, row, sides

    place = device or best_device().type
    if place not in ("cpu", best_device().type):
        raise HackamoreError("there is no such device here", received=place, expected=f"cpu or {best_device().type}")
    with _models(shape, dtype, folder) as (base, names):
        job = Job(
            base=base, controls=tuple(names[k % len(names)] for k in range(controls)), size=given,
            steps=usual[1] if steps is None else steps, dtype=dtype, device=place, family=shape,
            threads=threads or torch.get_num_threads(), side="diffusers", backend="compile" if compiled else "torch",
        )  # fmt: skip
        known = sides(job)
        for name in only or []:
            if name not in known:
                raise HackamoreError("there is no such side", received=name, expected=", ".join(known))
        found = {}
        for name in only or known:
            note(f"diffusers and {name} …")
            found[name] = compare(job, known[name], runs)
    if json_output:
        import json

        print(json.dumps({"machine": machine(job.threads), "job": job.dumps(), "sides": found}, indent=1))
        return
    print(machine(job.threads))
    print(f"{shape} {given[0]}×{given[1]}, {job.steps} steps, {controls} controls, {dtype}, {runs} runs in turn")
    lines = [HEAD, reference_row(next(iter(found.values()))), *(row(name, one) for name, one in found.items())]
    widths = [max(len(line[k]) for line in lines) for k in range(len(HEAD))]
    for line in lines:
        print(
            "  ".join(
                word.ljust(w) if not k else word.rjust(w) for k, (word, w) in enumerate(zip(line, widths, strict=True))
            )
        )


def _checked(shape: str, controls: int, runs: int, dtype: str) -> tuple[tuple[int, int], int]:
    if shape not in USUAL:
        raise HackamoreError("there is no such shape", received=shape, expected=", ".join(USUAL))
    if not 0 <= controls <= MOST_CONTROLS:
        raise HackamoreError("the number of controls is out of range", received=controls, expected="0 to 8")
    if not 1 <= runs <= MOST_RUNS:
        raise HackamoreError("the number of runs is out of range", received=runs, expected="1 to 100")
    if dtype not in ("fp32", "fp16", "bf16"):
        raise HackamoreError("there is no such precision", received=dtype, expected="fp32, fp16, bf16")
    return USUAL[shape]


@contextmanager
def _models(shape: str, dtype: str, folder: Path | None) -> Iterator[tuple[str, list[str]]]:
    """The base and its controls by name or folder; random weights are written where they are not kept already."""
    if shape == "meadow":
        yield "meadow", ["meadow/canny", "meadow/seg"]
        return
    from hackamore.bench.shapes import CONTROL, write_shape

    with tempfile.TemporaryDirectory() as temporary:
        where = (folder or Path(temporary)) / f"{shape}-{dtype}"
        if not where.exists():
            note(f"writing random weights of {shape}'s shape …")
        written = write_shape(where, shape, dtype)
        yield str(written), [str(written / CONTROL)]
