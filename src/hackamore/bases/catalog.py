"""Bases by name, loaded when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hackamore.core.errors import HackamoreError, unknown_name

MEADOW = Path(__file__).parent / "meadow"


@dataclass(frozen=True)
class BaseSpec:
    """An embedded base: its folder and how it likes to be sampled."""

    folder: Path
    settings: dict[str, Any]


BASES: dict[str, BaseSpec] = {"meadow": BaseSpec(MEADOW, {"scheduler": "ddim", "guidance": 3.0})}


def best_device() -> torch.device:
    """CUDA where there is one, else MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def load_base(name: str | Path, *, device: str | None = None, dtype: str | torch.dtype | None = None) -> Any:
    """A frozen base from a catalogue name (``meadow``), or a folder in diffusers' layout.

    ``device`` is chosen automatically (CUDA, MPS, CPU) when not given; ``dtype`` is fp16 on CUDA, else fp32.
    Raises :class:`HackamoreError` for an unknown name, a folder that is not a base, or a damaged file.
    """
    from hackamore.bases.folder import load_folder

    place = _device(device)
    kind = _dtype(dtype, place)
    if str(name) in BASES:
        spec = BASES[str(name)]
        return load_folder(spec.folder, str(name), place, kind, **spec.settings)
    folder = Path(name)
    if folder.is_dir():
        return load_folder(folder, folder.name, place, kind)
    if folder.exists():
        raise HackamoreError(
            f"{name} is a file", expected=f"a folder in diffusers' layout, or one of: {', '.join(BASES)}"
        )
    raise unknown_name("base", str(name), list(BASES))


def _device(name: str | None) -> torch.device:
    if name is None:
        return best_device()
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise HackamoreError(f"device {name!r} is not usable here", received=str(error).splitlines()[0]) from error
    return device


def _dtype(name: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    names = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    if name is None:
        return torch.float16 if device.type == "cuda" else torch.float32
    if isinstance(name, torch.dtype):
        return name
    if name not in names:
        raise unknown_name("dtype", name, list(names))
    return names[name]
