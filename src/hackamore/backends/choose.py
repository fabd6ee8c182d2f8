"""Which backend runs a base and its controls."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import torch
from platformdirs import user_cache_path

from hackamore.backends.backend import EAGER, Backend
from hackamore.core.errors import HackamoreError, unknown_name

BACKENDS = ("auto", "torch", "openvino")
LEAST = 50_000
"""The work of a picture from which on ``auto`` compiles: 512² in seven guided steps, or 256² in 25."""


def choose(name: str, device: torch.device, dtype: torch.dtype, *, whole: bool = True, often: bool = False) -> Backend:
    """The backend called ``name``: ``torch``, ``openvino``, or ``auto``.

    OpenVINO is for fp32 on a CPU and for networks that nothing else compiles or moves (``whole``). ``auto`` takes it
    where it is installed and fits, for pictures that are worth its start, each by itself or (``often``) all of a kind
    together, else PyTorch.
    Raises :class:`HackamoreError` for another name, and where OpenVINO is asked for and cannot be used.
    """
    if name not in BACKENDS:
        raise unknown_name("backend", name, list(BACKENDS))
    fits = device.type == "cpu" and dtype == torch.float32 and whole
    if name == "torch" or (name == "auto" and not (fits and is_usable())):
        return EAGER
    if not is_usable():
        raise HackamoreError("OpenVINO is not installed", remedy='pip install "hackamore[openvino]"')
    if not fits:
        received = f"{device.type}, {str(dtype).removeprefix('torch.')}" + ("" if whole else ", compiled or offloaded")
        expected = "fp32 on a CPU, without compile and offload"
        raise HackamoreError("OpenVINO cannot run this base", received=received, expected=expected)
    from hackamore.backends.openvino import OpenVINO

    return OpenVINO(graphs_folder(), least=LEAST if name == "auto" else 0, often=often)


def is_usable() -> bool:
    """Whether OpenVINO is installed."""
    return find_spec("openvino") is not None


def graphs_folder() -> Path:
    """Where compiled graphs are kept: ``HACKAMORE_CACHE`` or the user's folder for such."""
    told = os.environ.get("HACKAMORE_CACHE")
    return (Path(told) if told else user_cache_path("hackamore")) / "graphs"
