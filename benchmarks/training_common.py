"""What the measurements of training share: configurations, runs in a process of their own, one probe for all."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

Tables = dict[str, dict[str, Any]]
"""Sections of a configuration, each with its fields."""


def config(
    base: Path | str,
    data: Path,
    kind: str | Sequence[str],
    output: Path,
    /,
    size: tuple[int, int] | None = None,
    **tables: Mapping[str, Any],
) -> str:
    """A configuration of ``hackamore train`` as TOML; what is None in a table is left out."""
    top: dict[str, Any] = {"stage": "control", "base": str(base), "kind": kind, "output": str(output)}
    if size is not None:
        top["size"] = list(size)
    tables = {**tables, "data": {"path": str(data), **tables.get("data", {})}}
    lines = [f"{name} = {_word(value)}" for name, value in top.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_word(value)}" for key, value in table.items() if value is not None)]
    return "\n".join(lines) + "\n"


def _word(value: Any) -> str:
    """A value in TOML's words."""
    if isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_word(item)}" for name, item in value.items()) + " }"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_word, value)) + "]"
    return str(value)


def tables(told: Sequence[str]) -> Tables:
    """``section.field=value`` words as tables."""
    from hackamore.training.config import option

    made: Tables = {}
    for word in told:
        name, value = option(word)
        section, _, field = name.partition(".")
        made.setdefault(section, {})[field] = value
    return made


def joined(*told: Mapping[str, Mapping[str, Any]]) -> Tables:
    """Tables over one another, the last one wins."""
    made: Tables = {}
    for some in told:
        for section, fields in some.items():
            made[section] = {**made.get(section, {}), **fields}
    return made


def command(path: Path) -> list[str]:
    """The words that run a configuration in a process of its own, as the command ``hackamore`` does."""
    return [sys.executable, "-c", "from hackamore.cli.main import main; main()", "train", str(path)]


def run(path: Path, threads: int) -> None:
    """Run a configuration in a process of its own; it goes on where it was stopped, and its words go beside it."""
    with path.with_suffix(".log").open("ab") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command(path), env=environment, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        words = path.with_suffix(".log").read_text(encoding="utf-8", errors="replace")
        raise SystemExit(f"{path} failed with exit code {done.returncode}:\n{words[-2000:]}")


def rows_of(output: Path) -> list[dict[str, Any]]:
    """The rows of a run's log."""
    from hackamore.training.trainer import read_log

    return read_log(output / "log.jsonl")


def seconds_of(output: Path, batch: int) -> float:
    """Seconds that the steps of a run took, from its log: neither probes nor the encoding of the data."""
    done, seconds = 0, 0.0
    for row in rows_of(output):
        if row.get("samples_per_second"):
            seconds += (row["step"] - done) * batch / row["samples_per_second"]
            done = row["step"]
    return seconds


def best_of(output: Path) -> dict[str, Any] | None:
    """The best probe of a run: its step and normalised fidelity."""
    probes = [(row["step"], row["probe"].get("normalised")) for row in rows_of(output) if "probe" in row]
    known = [(figure, step) for step, figure in probes if figure is not None]
    return {"step": max(known)[1], "normalised": max(known)[0]} if known else None


def train(base: Path | str, data: Path, kind: str, output: Path, /, **told: Any) -> None:
    """Run a configuration in this process, without watchers and probes; ``run={"ema": None}`` is understood."""
    from hackamore.training.config import read_stage
    from hackamore.training.trainer import train as run_training

    path = output / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config(base, data, kind, output, **told), encoding="utf-8")
    stage: Any = read_stage(path)
    nothing = {name: value for name, value in told.get("run", {}).items() if value is None}
    settings = stage.run.model_copy(update=nothing)
    run_training(stage.model_copy(update={"run": settings}).task(), settings, output)


def batch_of(path: Path) -> int:
    """The batch size of a configuration, defaults filled in."""
    from hackamore.training.config import read_stage

    return int(read_stage(path).run.batch_size)


def averaged(path: Path, base: Any, kind: str) -> Any:
    """The control that a checkpoint of a run holds, of the usual form: the averaged weights where there are any."""
    from hackamore.controls.branch import new_control

    state = torch.load(path, map_location="cpu", weights_only=True)
    kept = state.get("average") or state["weights"]
    control = new_control(base, kind)
    with torch.no_grad():
        for name, weight in control.named_parameters():
            (own,) = [value for key, value in kept.items() if key == name or key.endswith(f".{name}")]
            weight.copy_(own)
    return control.eval()


def make_probe(base: Any, kinds: Sequence[str], count: int, steps: int) -> Callable[[Any], dict[str, Any]]:
    """A probe for controls on ``count`` held-out worlds; of several ``kinds`` for a union.

    What is measured once, ceiling and control off, is measured once for all controls.
    """
    from hackamore.data.evaluation import open_source
    from hackamore.training.probe import Probe
    from hackamore.training.settings import ProbeSettings

    source = open_source("worlds", count, kinds)
    groups = source.read(base.size, lambda done: None)  # noqa: ARG005
    examples = {kind: groups[source.group(kind)] for kind in kinds}
    now: list[Any] = []

    def unit(hint: Any, kind: str | None) -> Any:
        return now[-1].unit(hint) if kind is None else now[-1].unit(hint, type=kind)

    told = kinds if len(kinds) > 1 else kinds[0]
    probe = Probe(base, unit, examples, told, ProbeSettings(count=count, steps=steps))

    def found(control: Any) -> dict[str, Any]:
        now[:] = [control]
        return {"normalised": None} | {name: value for name, value in probe().items() if value is not None}

    return found


def time_to(points: Sequence[Mapping[str, Any]], target: float, key: str = "seconds") -> float | None:
    """When the curve reaches ``target``: between two probes by linear interpolation; None where it does not."""
    before: Mapping[str, Any] | None = None
    for point in points:
        if (point["normalised"] or 0.0) >= target:
            if before is None:
                return float(point[key])
            share = (target - before["normalised"]) / (point["normalised"] - before["normalised"])
            return float(before[key] + share * (point[key] - before[key]))
        before = point
    return None


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """What the tables of many runs are told alike; ``name`` is that of their folder and of their JSON file."""
    parser.add_argument("--data", type=Path, required=True, help="a folder that hackamore world wrote")
    parser.add_argument("--base", default="meadow")
    parser.add_argument("--kind", default="seg")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="no")
    parser.add_argument("--set", nargs="*", default=[], metavar="SECTION.FIELD=VALUE", help="told to every run")
    parser.add_argument("--count", type=int, default=64, help="held-out worlds")
    parser.add_argument("--probe-steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--work", type=Path, default=Path("runs") / name)
    parser.add_argument("--out", type=Path, default=Path("docs") / f"{name}.json")


def merge(path: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a JSON file and write it whole; what it holds now."""
    held = {**read(path), **told}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".json", delete=False, encoding="utf-8") as file:
        file.write(json.dumps(held, indent=1) + "\n")
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)
    return held


def read(path: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where it is not there."""
    held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return held
