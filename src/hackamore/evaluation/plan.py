"""What an evaluation makes: its settings, checked before anything slow, and its cells of pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hackamore.controls.schedule import check_scale
from hackamore.core.errors import HackamoreError
from hackamore.core.files import written_whole
from hackamore.core.recipe import machine
from hackamore.data.evaluation import Example, Source
from hackamore.evaluation.cells import Cell, Sampling
from hackamore.evaluation.verify import MOST_CANDIDATES
from hackamore.generate import check

LARGEST_SEED = 2**62
MOST_BATCH = 1024
SETTINGS = "settings.json"


@dataclass(frozen=True)
class Asked:
    """A control to be evaluated: its kind of hint, the loaded control, and the parameters of the kind's annotator."""

    kind: str
    control: Any
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What is made with each control: at which scales, whether also without it, and the best of how many seeds."""

    scales: tuple[float, ...] = (1.0,)
    off: bool = True
    best_of: int = 1

    def check(self) -> None:
        """Raise :class:`HackamoreError` naming what is out of range."""
        if not 1 <= self.best_of <= MOST_CANDIDATES:
            expected = f"1 to {MOST_CANDIDATES}; 1 is none"
            raise HackamoreError("best-of is out of range", received=self.best_of, expected=expected)
        for scale in self.scales:
            check_scale(scale)
        if not self.scales or len({f"{scale:g}" for scale in self.scales}) < len(self.scales):
            told = ", ".join(f"{scale:g}" for scale in self.scales) or "none"
            raise HackamoreError(
                "the scales are not understood", received=told, expected="numbers that differ in six digits"
            )


def check_sampling(base: Any, how: Sampling) -> None:
    """Raise :class:`HackamoreError` for what no generation with ``base`` would accept."""
    if not 1 <= how.batch <= MOST_BATCH:
        raise HackamoreError("the batch is out of range", received=how.batch, expected=f"1 to {MOST_BATCH}")
    if not 0 <= how.seed < LARGEST_SEED:
        raise HackamoreError("the seed is out of range", received=how.seed, expected="0 to 2^62")
    check(base, [""], steps=how.steps, guidance=how.guidance, scheduler=how.scheduler, fast=how.fast)


def labels(asked: Sequence[Asked]) -> list[str]:
    """A short name for each control, its kind, with a number from the second of a kind on."""
    kinds = [one.kind for one in asked]
    return [
        kind if kinds[:place].count(kind) == 0 else f"{kind}-{kinds[:place].count(kind) + 1}"
        for place, kind in enumerate(kinds)
    ]


def settings(base: Any, asked: Sequence[Asked], source: Source, request: Request, how: Sampling) -> dict[str, Any]:
    """Everything that the pictures depend on, without paths: what a folder of pictures is known by."""
    here = machine(str(base.device.type), base.backend.name, base.dtype, torch.get_num_threads())
    told = {
        "version": 1,
        "base": base.name,
        "base weights": _digest(base.sha256),
        "size": list(base.size),
        "controls": [
            {
                "label": label,
                "kind": one.kind,
                "control": one.control.name,
                "weights": _digest(one.control.sha256),
                "parameters": dict(one.parameters),
            }
            for label, one in zip(labels(asked), asked, strict=True)
        ],
        "data": source.known(),
        "count": source.count,
        "scales": list(request.scales),
        "off": request.off,
        "best of": request.best_of,
        "steps": how.steps,
        "guidance": how.guidance,
        "scheduler": how.scheduler,
        "seed": how.seed,
        "batch": how.batch,
        "fast": how.fast,
        "dtype": here.dtype,
        "device": here.backend,
        "threads": here.threads,
        "hackamore": here.hackamore,
        "torch": here.torch,
        "diffusers": here.diffusers,
    }
    plain: dict[str, Any] = json.loads(json.dumps(told))
    return plain


def claim(out: Path, wanted: dict[str, Any]) -> None:
    """Take the folder ``out`` for an evaluation with these settings; one with others is an error that says which."""
    path = out / SETTINGS
    if out.exists() and not out.is_dir():
        raise HackamoreError(f"{out} is a file", expected="a folder for the pictures and the report")
    if path.exists():
        kept = _read(path)
        differing = [name for name in {**kept, **wanted} if kept.get(name) != wanted.get(name)]
        if differing:
            raise HackamoreError(
                f"{out} holds an evaluation with other settings",
                received="; ".join(f"{name} {_brief(wanted.get(name))}" for name in differing),
                expected="; ".join(f"{name} {_brief(kept.get(name))}" for name in differing),
                remedy="another --out, or the settings it was begun with",
            )
        return
    foreign = next((name for name in ("evaluation.json", "report.html", "pictures") if (out / name).exists()), None)
    if foreign is not None:
        raise HackamoreError(f"{out / foreign} is not of an evaluation begun here", remedy="another --out")
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(wanted, indent=2), encoding="utf-8")


@dataclass(frozen=True)
class Cells:
    """The cells of one control: ``off`` and ``seen`` (the autoencoder) are shared by all on the same pictures.

    ``on`` has a cell for each scale, ``candidates`` those for the other seeds at the first scale.
    """

    seen: Cell
    off: Cell | None
    on: tuple[Cell, ...]
    candidates: tuple[Cell, ...]


def lay_out(
    out: Path,
    asked: Sequence[Asked],
    examples: Mapping[str, Sequence[Example]],
    source: Source,
    request: Request,
) -> dict[str, Cells]:
    """The cells of each control by label; ``examples`` are those of the groups of ``source``."""
    folder = out / "pictures"
    shared = {
        name: (
            Cell(folder / f"{name}-autoencoder", captions := [example.caption for example in told]),
            Cell(folder / f"{name}-off", captions) if request.off else None,
        )
        for name, told in examples.items()
    }
    laid = {}
    for label, one in zip(labels(asked), asked, strict=True):
        group = source.group(one.kind)
        told = examples[group]
        hints = [example.hint(one.kind, one.parameters) for example in told]
        captions = [example.caption for example in told]

        first = request.scales[0]
        laid[label] = Cells(
            *shared[group],
            tuple(
                Cell(folder / f"{label}-{scale:g}", captions, one.control, hints, scale, kind=one.kind)
                for scale in request.scales
            ),
            tuple(
                Cell(folder / f"{label}-{first:g}-seed{c}", captions, one.control, hints, first, c, one.kind)
                for c in range(1, request.best_of)
            ),
        )
    return laid


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HackamoreError(f"{path} cannot be read", received=str(error), remedy="another --out") from error
    if not isinstance(kept, dict):
        raise HackamoreError(f"{path} holds no settings", remedy="another --out")
    return kept


def _brief(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def _digest(values: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
