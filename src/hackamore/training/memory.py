"""What of a base a step does not need, out of memory until somebody asks for it."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.core.section import setting

KEPT = ("unet", "transformer")
"""The parts that every step runs."""


def check_there(base: Any) -> None:
    """Raise :class:`HackamoreError` for a base whose weights are brought layer by layer, which no training can move."""
    for name, part in base.parts().items():
        if any(tensor.is_meta for tensor in part.parameters()):
            raise HackamoreError(
                "a base that waits in main memory layer by layer cannot be trained on",
                received=f"{name} of {base.name}, offload sequential",
                expected="a base whose weights are there",
                remedy="load_base without offload",
            )


class Parts:
    """A base's autoencoder and text encoders, which can be laid aside and brought back, the same to the bit.

    They stay the modules that they are, so that views of the base and whoever else holds them see the same. Of a base
    on a GPU they wait in main memory; of one on the CPU in a file without a name, of which nothing is left even after
    a kill. While they are away, who runs them is told so.
    """

    def __init__(self, base: Any) -> None:
        self.base = base
        self.networks: dict[str, nn.Module] = {n: part for n, part in base.parts().items() if n not in KEPT}
        self._released = False
        self._users = 0
        self._aside: list[Tensor] | None = None
        self._file: BinaryIO | None = None
        self._guards: list[Any] = []

    @property
    def bytes(self) -> int:
        """How much they take while they are there."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._tensors())

    def release(self) -> None:
        """Lay them aside; a second call changes nothing.

        Raises :class:`WorkFailed` where the disk has no room for them; they stay then.
        """
        if self._released:
            return
        try:
            self._lay_aside()
        except OSError as error:
            self._file = self._aside = None
            raise WorkFailed(
                "the base's autoencoder and text encoders could not be laid aside",
                received=f"{error.strerror or error} ({tempfile.gettempdir()})",
                expected=f"{self.bytes / 2**20:.0f} MiB of disk space",
                remedy=f"another TMPDIR, or keep them in memory: {setting('memory.cache', False)}",
            ) from error
        self._released = True
        self._empty()

    def restore(self) -> None:
        """Bring them back for good."""
        if self._released:
            if not self._users:
                self._fill()
            self._released = False
            self._aside = None
            if self._file is not None:
                self._file.close()
                self._file = None

    @contextmanager
    def back(self) -> Iterator[None]:
        """Inside, they are there; afterwards they are away again, if they were."""
        self._users += 1
        try:
            if self._released and self._users == 1:
                self._fill()
            yield
        finally:
            self._users -= 1
            if self._released and self._users == 0:
                self._empty()

    def _tensors(self) -> list[Tensor]:
        """Parameters and buffers, each once."""
        found = {id(t): t for part in self.networks.values() for t in (*part.parameters(), *part.buffers())}
        return list(found.values())

    def _lay_aside(self) -> None:
        tensors = self._tensors()
        self._shapes = [(tensor.shape, tensor.stride()) for tensor in tensors]
        if any(tensor.device.type != "cpu" for tensor in tensors):
            self._aside = [tensor.data.cpu() for tensor in tensors]
            return
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed with this object)
        weakref.finalize(self, self._file.close)
        for tensor in tensors:
            self._file.write(memoryview(_bytes_of(tensor.data.contiguous())))
        self._file.flush()

    def _fill(self) -> None:
        for guard in self._guards:
            guard.remove()
        self._guards = []
        tensors, device = self._tensors(), self.base.device  # the base may have moved since
        if self._file is not None:
            self._file.seek(0)
        for place, (tensor, (shape, stride)) in enumerate(zip(tensors, self._shapes, strict=True)):
            if self._aside is not None:
                tensor.data = self._aside[place].to(device)
                continue
            assert self._file is not None
            fresh = torch.empty(shape, dtype=tensor.dtype)
            self._file.readinto(memoryview(_bytes_of(fresh)))  # type: ignore[attr-defined]
            tensor.data = torch.empty_strided(shape, stride, dtype=tensor.dtype).copy_(fresh).to(device)

    def _empty(self) -> None:
        for tensor in self._tensors():
            tensor.data = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        self._guards = [
            module.register_forward_pre_hook(_say_away) for part in self.networks.values() for module in part.modules()
        ]


def _bytes_of(tensor: Tensor) -> Any:
    """A contiguous tensor's memory as bytes, shared."""
    return tensor.reshape(-1).view(torch.uint8).numpy()


def _say_away(module: nn.Module, _: Any) -> None:
    raise HackamoreError(
        "this part of the base was laid aside to save memory",
        received=type(module).__name__,
        expected="to be asked for inside Parts.back()",
    )
