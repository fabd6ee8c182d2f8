"""One file of weights: what it holds is told before any tensor is read, and nothing in it is ever run."""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.core.files import written_whole

SAFE = (".safetensors", ".sft")
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
SUFFIXES = SAFE + PICKLES
WRAPPERS = ("state_dict", "model_state_dict", "module")
"""Keys under which trainers keep the weights, beside what else they keep."""
CHECKPOINT = {"run", "weights", "optimiser", "step"}
"""Keys of what a training of ours goes on from."""
ALONE = "tensor"
"""What the tensor of a pickle that holds nothing else is called."""
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
    "BOOL": "bool",
}  # fmt: skip


class Unread:
    """What stands for a trainer's own class in an old checkpoint; it can neither be called nor hold anything."""

    def __new__(cls, *_: object) -> Unread:
        """Refuse to be made."""
        raise pickle.UnpicklingError("a trainer's class is called")


INERT = ("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",)
"""Classes that official checkpoints name, as keys of a table beside the weights, and never call."""


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights: ``shapes`` and ``dtypes`` of each tensor, ``metadata`` of its header.

    ``told``: plain numbers that a trainer kept beside the weights (``global_step``).
    """

    path: Path
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    metadata: dict[str, str] = field(default_factory=dict)
    told: dict[str, float] = field(default_factory=dict)
    pickled: dict[str, Tensor] | None = None

    def parameters(self, prefix: str = "") -> int:
        """How many numbers the tensors whose keys begin with ``prefix`` hold together."""
        return sum(math.prod(shape) for key, shape in self.shapes.items() if key.startswith(prefix))

    def check_floating(self, keys: Iterable[str]) -> None:
        """Raise :class:`HackamoreError` naming the first of ``keys`` whose numbers are whole (quantised, no scales)."""
        for key in keys:
            if not self.dtypes[key].startswith(("float", "bfloat")):
                raise HackamoreError(
                    f"{self.path} holds weights that are no floating-point numbers",
                    received=f"{key} of type {self.dtypes[key]}",
                    expected="fp32, fp16, bf16 or fp8; quantised weights are not supported",
                )

    def tensors(self, keys: Iterable[str] | None = None) -> dict[str, Tensor]:
        """The tensors of ``keys`` (all where none are named), mapped from disk: they take memory when they are used."""
        wanted = self.shapes if keys is None else keys
        if self.pickled is not None:
            return {key: self.pickled[key] for key in wanted}
        with _opened(self.path) as opened:
            return {key: opened.get_tensor(key) for key in wanted}


def open_weights(path: Path) -> WeightsFile:
    """Open a ``.safetensors`` file, or a pickle of tensors (``.ckpt``, ``.pt`` …), without reading a tensor.

    Raises :class:`HackamoreError` for a file that is damaged, empty, a web page, of another kind, or holds code.
    """
    _check_content(path)
    if path.suffix.lower() not in SAFE:
        content = _unpickled(path)
        if content.keys() >= CHECKPOINT:
            raise HackamoreError(
                f"{path} is a checkpoint of a training, from which it goes on, and no finished control",
                expected="the folder that hackamore train writes to, where it puts the control at its end",
            )
        told = {key: value for key, value in content.items() if isinstance(value, int | float)}
        weights = content
        while inner := next((weights[key] for key in WRAPPERS if isinstance(weights.get(key), Mapping)), None):
            weights = inner
        tensors = dict(_flat(weights))
        if not tensors:
            some = ", ".join(str(key) for key in [*weights][:3]) + (", …" if len(weights) > 3 else "")
            received = f"{some}, of which none is a tensor" if weights else "an empty table"
            raise HackamoreError(f"{path} holds no weights", received=received, expected="named tensors")
        dtypes = {key: str(value.dtype).removeprefix("torch.") for key, value in tensors.items()}
        return WeightsFile(path, {key: tuple(value.shape) for key, value in tensors.items()}, dtypes, {}, told, tensors)
    shapes, dtypes = {}, {}
    with _opened(path) as opened:
        metadata = dict(opened.metadata() or {})
        for key in opened.keys():  # noqa: SIM118 (not a dictionary)
            part = opened.get_slice(key)
            shapes[key], dtypes[key] = tuple(part.get_shape()), _DTYPES.get(part.get_dtype(), part.get_dtype())
    return WeightsFile(path, shapes, dtypes, metadata)


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a ``.safetensors`` file, whole or not at all.

    Raises :class:`WorkFailed` where the disk does not take it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with written_whole(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except (SafetensorError, OSError) as error:
            raise WorkFailed(f"{path} could not be written", received=error, remedy="free some disk space") from error


def _flat(content: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of nested tables, their names joined by dots."""
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{before}{key}", value.detach()
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")


def _opened(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, "pt")
    except (SafetensorError, OSError, ValueError) as error:
        raise HackamoreError(
            f"{path} is damaged or not a safetensors file",
            received=str(error)[:200],
            expected="a whole .safetensors file",
        ) from error


def _unpickled(path: Path) -> Mapping[Any, Any]:
    """What a pickle holds, read by torch's unpickler for weights alone."""
    try:
        with torch.serialization.safe_globals([(Unread, name) for name in INERT]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old or foreign pickles; what matters ends in an error
            try:
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError as error:
                if "mmap" not in str(error):
                    raise
                content = torch.load(path, map_location="cpu", weights_only=True)  # the layout before torch 1.6
    except Exception as error:  # a damaged pickle can fail in any way
        words = str(error)
        if isinstance(error, pickle.UnpicklingError) and ("GLOBAL" in words or "trainer's class" in words):
            _, _, rest = words.partition("GLOBAL ")
            raise HackamoreError(
                f"{path} holds code beside its weights, which was not run",
                received=rest.split()[0] if rest else "code",
                expected="tensors alone",
                remedy="the same weights as .safetensors",
            ) from error
        raise HackamoreError(
            f"{path} is damaged or not a file of weights",
            received=f"{type(error).__name__}: {words[:120]}"
            if isinstance(error, OSError | MemoryError)
            else "a pickle that is cut, or of something else than tensors; nothing in it was run",
            expected="a whole file that torch.save wrote, or .safetensors",
        ) from error
    if isinstance(content, Tensor):
        return {ALONE: content}
    if not isinstance(content, Mapping):
        received = "nothing" if content is None else f"one value of type {type(content).__name__}"
        raise HackamoreError(f"{path} holds no weights", received=received, expected="named tensors")
    return content


def _check_content(path: Path) -> None:
    """Refuse what is often saved in place of weights: nothing, a web page, a pointer to the file."""
    try:
        with path.open("rb") as opened:
            start = opened.read(256).lstrip().lower()
    except OSError as error:
        raise HackamoreError(f"{path} cannot be read", received=error.strerror or str(error)) from error
    wrong = (
        "is empty"
        if not path.stat().st_size
        else "is a web page, not a file of weights"
        if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head"))
        else "is a pointer to a large file, not the file"
        if start.startswith(b"version https://git-lfs")
        else None
    )
    if wrong:
        raise HackamoreError(f"{path} {wrong}", expected="the weights themselves", remedy="download the file again")
    if start.startswith(b"gguf"):
        raise HackamoreError(f"{path} holds quantised weights (GGUF), which are not supported", expected=".safetensors")
    if path.suffix.lower() not in SUFFIXES:
        expected = f"a name ending in {', '.join(SUFFIXES)}"
        raise HackamoreError(f"{path} is not a file of weights", expected=expected)
