"""A file of weights that may be a control: what it holds is told before any tensor is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from hackamore.core.errors import HackamoreError
from hackamore.core.files import sha256
from hackamore.core.weights import PICKLES, SAFE, SUFFIXES, WeightsFile, open_weights

STEMS = ("diffusion_pytorch_model", "diffusion_pytorch_model.fp16", "diffusion_pytorch_model.bf16", "model", "adapter")
"""Names of the weights in a folder, the first that is there; ``.fp16`` before the suffix is diffusers' variant."""
WRAPPED = ("module.", "model.", "controlnet.", "_orig_mod.")
"""What training in parallel, trainers' own classes and compiled modules put before every key."""
CONFIG = "hackamore.config"
"""Where the header of a single file keeps what would stand in config.json."""


@dataclass(frozen=True)
class ControlFile:
    """One control as it lies on disk.

    ``path``: what the user named, a folder or a file. ``files``: its weights, several where they are sharded.
    ``shapes``, ``dtypes``: of each tensor, by key. ``config``: config.json, {} if none. ``metadata``: of the header.
    ``prefix``: what stands before every key on disk and is left out here.
    """

    path: Path
    files: tuple[Path, ...]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    opened: tuple[WeightsFile, ...] = ()
    prefix: str = ""

    @property
    def weights(self) -> Path:
        """The file of weights, the first of several."""
        return self.files[0]

    @property
    def name(self) -> str:
        """The name of the folder or the file."""
        return self.path.resolve().name

    @property
    def title(self) -> str:
        """The name without a file's suffix."""
        return self.path.resolve().stem if self.path.is_file() else self.name

    @property
    def parameters(self) -> int:
        """How many numbers all tensors hold together."""
        total = 0
        for shape in self.shapes.values():
            size = 1
            for side in shape:
                size *= side
            total += size
        return total

    @cached_property
    def sha256(self) -> dict[str, str]:
        """File name → SHA-256 of each file of weights."""
        return {file.name: sha256(file) for file in self.files}

    def tensors(self, *keys: str) -> dict[str, Tensor]:
        """The tensors of ``keys``, of all where none is given; mapped from disk, so they cost nothing until used."""
        wanted = set(keys or self.shapes)
        found: dict[str, Tensor] = {}
        for one in self.opened:
            held = one.tensors([key for key in one.shapes if key.removeprefix(self.prefix) in wanted])
            found |= {key.removeprefix(self.prefix): value for key, value in held.items()}
        return found

    def without(self, prefix: str) -> ControlFile:
        """The same file with ``prefix`` left out of every key; all keys must begin with it."""
        return replace(
            self,
            shapes={key.removeprefix(prefix): shape for key, shape in self.shapes.items()},
            dtypes={key.removeprefix(prefix): dtype for key, dtype in self.dtypes.items()},
            prefix=self.prefix + prefix,
        )


def open_control(path: Path | str) -> ControlFile:
    """Open a folder in diffusers' layout (whole or sharded), a ``.safetensors`` file, or a pickle of weights.

    Nothing in the file is ever run. What a trainer put before all keys of a control is left out (:data:`WRAPPED`).
    Raises :class:`HackamoreError` when there are no weights, or what is there is damaged, empty, a web page, or holds
    code.
    """
    from hackamore.controls.formats.table import unwrapped

    path = Path(path)
    if not path.exists():
        raise HackamoreError(f"no such file: {path}", expected=f"a folder, or a file ending in {', '.join(SUFFIXES)}")
    files = _files_of(path) if path.is_dir() else (path,)
    config = read_config(path / "config.json") if path.is_dir() else {}
    opened = tuple(open_weights(file) for file in files)
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for one in opened:
        shapes, dtypes, metadata = shapes | one.shapes, dtypes | one.dtypes, metadata | one.metadata
    config = config or _told_config(path, metadata)
    return unwrapped(ControlFile(path, files, shapes, dtypes, config, metadata, opened))


def read_config(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; {} where there is no such file."""
    if not path.exists():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise HackamoreError(f"{path} is not JSON", received=str(error)) from error
    if not isinstance(told, dict):
        raise HackamoreError(f"{path} holds no settings", received=type(told).__name__, expected="a JSON object")
    return told


def _told_config(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The configuration in a single file's header; {} where there is none."""
    try:
        told = json.loads(metadata.get(CONFIG, "{}"))
    except (ValueError, RecursionError) as error:
        raise HackamoreError(f"the configuration in the header of {path} is not JSON", received=str(error)) from error
    return told if isinstance(told, dict) else {}


def _files_of(folder: Path) -> tuple[Path, ...]:
    """The weights in a folder; raises :class:`HackamoreError` when there are none, or several to choose from."""
    for suffix in (*SAFE, *PICKLES):
        for stem in STEMS:
            if (file := folder / f"{stem}{suffix}").is_file():
                return (file,)
            for index in _indices(stem, suffix):
                if (folder / index).is_file():
                    return _shards(folder / index)
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    parts = not found and any((folder / part).is_dir() for part in ("unet", "transformer"))
    if parts or (folder / "model_index.json").is_file():
        raise HackamoreError(f"{folder} is a base, which is not a control; it goes to --base")
    if len(found) == 1:
        return (found[0],)
    if not found:
        raise HackamoreError(
            f"{folder} is neither a base nor a control",
            received="no weights in it",
            expected="a folder with diffusion_pytorch_model.safetensors, or a file of weights",
        )
    raise HackamoreError(
        f"{folder} holds several files of weights",
        received=", ".join(file.name for file in found[:5]),
        expected="the name of one of them",
    )


def _indices(stem: str, suffix: str) -> tuple[str, ...]:
    """Names of the table of sharded weights: diffusers puts a variant before ``.json``, before ``.index`` once."""
    name, _, variant = stem.partition(".")
    whole = f"{name}{suffix}"
    return (f"{whole}.index.{variant}.json", f"{whole}.{variant}.index.json") if variant else (f"{whole}.index.json",)


def _shards(index: Path) -> tuple[Path, ...]:
    table = read_config(index).get("weight_map")
    if not isinstance(table, Mapping) or not table or not all(isinstance(name, str) for name in table.values()):
        raise HackamoreError(f"{index} names no files", expected="weight_map: tensor → file")
    names = sorted(set(table.values()))
    strange = [name for name in names if Path(name).name != name]
    missing = [name for name in names if not (index.parent / name).is_file()]
    if strange or missing:
        raise HackamoreError(
            f"{index.parent} lacks {len(strange or missing)} of its {len(names)} files of weights",
            received=", ".join((strange or missing)[:3]),
            expected=f"what {index.name} names, in the same folder",
        )
    return tuple(index.parent / name for name in names)
