"""Weights out of pickles, without ever running what a pickle holds."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.core.errors import HackamoreError

WRAPPERS = ("state_dict", "model_state_dict", "module")
"""Keys under which trainers keep the weights, beside what else they keep."""


def read_pickle(path: Path) -> dict[str, Tensor]:
    """All tensors of a ``torch.save`` file, mapped from disk where its layout allows; nested names joined by dots.

    Raises :class:`HackamoreError` when the file is damaged, holds no tensors, or holds code, which is not run.
    """
    content = _loaded(path)
    for name in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    tensors = dict(_flat(content)) if isinstance(content, Mapping) else {}
    if not tensors:
        raise HackamoreError(f"{path} holds no weights", received=type(content).__name__, expected="named tensors")
    return tensors


def _loaded(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old or foreign pickles; what matters ends in an error
            try:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError as error:
                if "mmap" not in str(error):
                    raise
                return torch.load(path, map_location="cpu", weights_only=True)  # the layout before torch 1.6
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):
            raise HackamoreError(
                f"{path} holds code beside its weights, which was not run",
                received=_culprit(str(error)),
                expected="tensors alone",
                remedy="the same weights as .safetensors",
            ) from error
        raise _damaged(path, error) from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> HackamoreError:
    inside = "a pickle that is cut, or of something else than tensors; nothing in it was run"
    return HackamoreError(
        f"{path} is damaged or not a file of weights",
        received=inside if isinstance(error, pickle.UnpicklingError) else f"{type(error).__name__}: {str(error)[:120]}",
        expected="a whole file that torch.save wrote, or .safetensors",
    )


def _culprit(words: str) -> str:
    """The name that the pickle wanted to call, where torch tells it."""
    _, found, rest = words.partition("GLOBAL ")
    return rest.split()[0] if found and rest else "code"


def _flat(content: Mapping[Any, Any], before: str = "") -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = []
    for key, value in content.items():
        if isinstance(value, Tensor):
            found.append((f"{before}{key}", value.detach()))
        elif isinstance(value, Mapping):
            found += _flat(value, f"{before}{key}.")
    return found
