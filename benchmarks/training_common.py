"""What the measurements of training share: a run of ``hackamore train`` from settings, in this process or another."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch


def config(
    base: Path | str, data: Path, kind: str, output: Path, size: tuple[int, int] | None = None, **sections: Any
) -> str:
    """A configuration of ``hackamore train`` as TOML; ``sections`` are tables, what is None in them is left out."""
    top: dict[str, Any] = {"stage": "control", "base": str(base), "kind": kind, "output": str(output)}
    if size is not None:
        top["size"] = list(size)
    sections = {**sections, "data": {"path": str(data), **sections.get("data", {})}}
    lines = [f"{name} = {_word(value)}" for name, value in top.items()]
    for name, section in sections.items():
        lines += [
            "",
            f"[{name}]",
            *(f"{field} = {_word(value)}" for field, value in section.items() if value is not None),
        ]
    return "\n".join(lines) + "\n"


def command(path: Path) -> list[str]:
    """The words that run a configuration in a process of its own, as the command ``hackamore`` does."""
    return [sys.executable, "-c", "from hackamore.cli.main import main; main()", "train", str(path)]


def train(base: Path | str, data: Path, kind: str, output: Path, **told: Any) -> None:
    """Run a configuration in this process, without watchers and probes; ``run={"ema": None}`` is understood."""
    from hackamore.training.stages import read_stage
    from hackamore.training.trainer import train as run_training

    path = output / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config(base, data, kind, output, **told), encoding="utf-8")
    stage = read_stage(path)
    nothing = {name: value for name, value in told.get("run", {}).items() if value is None}
    run = stage.run.model_copy(update=nothing)
    run_training(stage.model_copy(update={"run": run}).task(), run, output)


def _word(value: Any) -> str:
    """A value in TOML's words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_word(item)}" for name, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_word, value)) + "]"
    return str(value)


def sections(told: list[str]) -> dict[str, dict[str, Any]]:
    """``section.field=value`` words as tables; a value is read as TOML, and as text where it is none."""
    tables: dict[str, dict[str, Any]] = {}
    for word in told:
        name, _, text = word.partition("=")
        section, _, field = name.partition(".")
        try:
            value = tomllib.loads(f"x = {text}")["x"]
        except tomllib.TOMLDecodeError:
            value = text
        tables.setdefault(section, {})[field] = value
    return tables


def averaged(path: Path, base: Any, kind: str) -> Any:
    """The control that a checkpoint of a run holds, of the usual form: the averaged weights where there are any."""
    from hackamore.controls.branch import new_control

    state = torch.load(path, map_location="cpu", weights_only=True)
    kept = state["average"] if state["average"] is not None else state["weights"]
    control = new_control(base, kind)
    with torch.no_grad():
        for name, weight in control.named_parameters():
            (own,) = [value for key, value in kept.items() if key == name or key.endswith(f".{name}")]
            weight.copy_(own)
    return control.eval()


def make_probe(base: Any, kind: str, count: int, steps: int) -> Callable[[Any], dict[str, Any]]:
    """A probe for controls of ``kind`` on ``count`` held-out worlds: what is measured once is measured once for all."""
    from hackamore.data.evaluation import open_source
    from hackamore.training.probe import Probe
    from hackamore.training.settings import ProbeSettings

    source = open_source("worlds", count, [kind])
    examples = source.read(base.size, lambda done: None)[source.group(kind)]  # noqa: ARG005
    now: list[Any] = []
    settings = ProbeSettings(count=count, steps=steps)
    probe = Probe(base, lambda hint, _: now[-1].unit(hint), examples, kind, settings)

    def found(control: Any) -> dict[str, Any]:
        now[:] = [control]
        return {"normalised": None, **{name: value for name, value in probe().items() if value is not None}}

    return found


def merge(path: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a JSON file and write it whole; what it holds now."""
    from hackamore.core.files import written_whole

    held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    held |= told
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
    return held
