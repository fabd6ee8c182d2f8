"""``hackamore evaluate``: how well controls are obeyed, and how good the pictures are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from hackamore.cli.show import progress_bar
from hackamore.core.errors import Cancelled, HackamoreError


def run(
    base: Annotated[str, typer.Option(help="A base: meadow, or a folder in diffusers' layout.")] = "meadow",
    control: Annotated[
        list[str] | None,
        typer.Option(
            help="kind, or kind,model=FOLDER, with the annotator's parameters; repeatable. All of Meadow's when absent."
        ),
    ] = None,
    data: Annotated[str, typer.Option(help="worlds, or a folder of pairs (metadata.jsonl or prompt.json).")] = "worlds",
    count: Annotated[
        int | None, typer.Option(help="How many pictures; 64 when absent, or all where a folder holds fewer.")
    ] = None,
    scale: Annotated[list[float] | None, typer.Option(help="Scale of the control; repeatable. 1 when absent.")] = None,
    off: Annotated[bool, typer.Option(help="Also make the pictures without the control.")] = True,
    best_of: Annotated[int, typer.Option(help="Also try so many seeds and keep the best; 1 does not.")] = 1,
    steps: Annotated[
        int | None, typer.Option(help="Sampling steps; 20 when absent, or those of the fast level.")
    ] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale; the base's own when absent.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Scheduler; the base's own when absent.")] = None,
    fast_level: Annotated[int | None, typer.Option(help="A level of the fast mode, 1 to 3; exact when absent.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first picture; picture k has seed + k.")] = 0,
    batch: Annotated[int, typer.Option(help="Pictures sampled at once.")] = 16,
    clip: Annotated[Path | None, typer.Option(help="Folder of a CLIP model: adds the CLIP score.")] = None,
    inception: Annotated[bool, typer.Option(help="Adds FID and KID on Inception's features (torch-fidelity).")] = False,
    device: Annotated[str | None, typer.Option(help="cuda, mps or cpu; chosen when absent.")] = None,
    dtype: Annotated[str | None, typer.Option(help="fp32, fp16 or bf16; chosen when absent.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the pictures, evaluation.json and report.html.")] = Path(
        "out/evaluation"
    ),
    json_output: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Measure how well controls are obeyed, with floor and ceiling; goes on where it was stopped."""
    specs = [parse_asked(text) for text in control or []]

    from hackamore.bases.catalog import load_base
    from hackamore.core.effort import fast_of, usual_steps
    from hackamore.data.evaluation import open_source
    from hackamore.evaluation.cells import Sampling
    from hackamore.evaluation.evaluate import REPORT, evaluate
    from hackamore.evaluation.plan import Request
    from hackamore.generate.plan import usual_scheduler

    fast_of(fast_level)
    specs = specs or own_controls(base)
    for spec in specs:
        check_asked(spec, base)
    request = Request(scales=tuple(scale or [1.0]), off=off, best_of=best_of)
    request.check()
    source = open_source(data, count, [spec["kind"] for spec in specs])
    loaded = load_base(base, device=device, dtype=dtype)
    asked = [load_asked(spec, base, loaded) for spec in specs]
    level = fast_of(fast_level)
    how = Sampling(
        steps=usual_steps(level) if steps is None else steps,
        guidance=loaded.guidance if guidance is None else guidance,
        scheduler=scheduler or usual_scheduler(loaded, level),
        seed=seed,
        batch=batch,
        fast=fast_level,
    )
    with stages() as show:
        try:
            result = evaluate(loaded, asked, source, out, request, how, clip=clip, inception=inception, progress=show)
        except KeyboardInterrupt:
            raise Cancelled("stopped; the same command goes on with the pictures that are made") from None
    if json_output:
        print(result.model_dump_json(indent=2))
        return
    for line in summary(result):
        print(line)
    print(out / REPORT)


def parse_asked(text: str) -> dict[str, str]:
    """``kind`` or ``kind,key=value…`` → a dictionary with ``kind``, ``model`` and the annotator's parameters."""
    kind, *rest = (part.strip() for part in text.split(","))
    told = {"kind": kind}
    for part in rest:
        key, sign, value = (word.strip() for word in part.partition("="))
        if not (sign and key and value) or key in told:
            raise HackamoreError(
                f"the control is not understood at {part!r}",
                received=text,
                expected="kind, or kind,model=FOLDER, with the annotator's parameters, such as canny,density=0.1",
            )
        told[key] = value
    if not kind or "=" in kind:
        raise HackamoreError(
            "the control is not understood", received=text, expected="a kind of hint, such as canny: no picture here"
        )
    return told


def own_controls(base: str) -> list[dict[str, str]]:
    """All controls that come with ``base`` and whose kind has a figure; none is an error."""
    from hackamore.controls.catalog import own_controls as known
    from hackamore.evaluation.fidelity import KINDS

    kinds = [kind for kind in KINDS if kind in known(base)]
    if not kinds:
        raise HackamoreError(f"{base} has no controls of its own", remedy="--control KIND,model=FOLDER")
    return [{"kind": kind} for kind in kinds]


def check_asked(spec: dict[str, str], base: str) -> None:
    """Raise :class:`HackamoreError` for a kind without a figure, and for a control that the base does not have."""
    from hackamore.controls.catalog import own_controls as known
    from hackamore.core.errors import unknown_name
    from hackamore.evaluation.fidelity import KINDS

    kind = spec["kind"]
    if kind not in KINDS:
        raise unknown_name("kind of control", kind, list(KINDS))
    if "model" not in spec and kind not in known(base):
        raise HackamoreError(
            f"the control {kind} names no model, and {base} has none of its own",
            remedy=f"--control {kind},model=FOLDER",
        )


def load_asked(spec: dict[str, str], base: str, loaded: Any) -> Any:
    """The control that a spec names, loaded for the base."""
    from hackamore.controls.catalog import load_control
    from hackamore.controls.catalog import own_controls as known
    from hackamore.evaluation.plan import Asked

    parameters = {key: value for key, value in spec.items() if key not in ("kind", "model")}
    return Asked(spec["kind"], load_control(spec.get("model") or known(base)[spec["kind"]], loaded), parameters)


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each stage in turn."""
    with ExitStack() as stack:
        bars: dict[str, Callable[[int], None]] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                stack.close()
                bars[stage] = stack.enter_context(progress_bar(stage, total))
            bars[stage](done)

        yield show


def summary(result: Any) -> list[str]:
    """A line for each control: its quoted figure, what it is read against, and how that compares."""
    lines = []
    for control in result.controls:
        row = control.rows[0]
        on = row.on[0]
        parts = [f"{row.name} {_told(on.figure)}"]
        parts += [f"off {_told(row.off)}"] if row.off is not None else []
        parts += [f"best of {row.best.of} {_told(row.best.figure)}"] if row.best is not None else []
        parts += [f"floor {_told(on.floor)}", f"ceiling {_told(row.ceiling)}", f"normalised {_told(on.normalised)}"]
        lines.append(f"{control.control}: " + ", ".join(parts))
    return lines


def _told(figure: Any) -> str:
    return "–" if figure is None or figure.value is None else f"{figure.value:.3f}"
