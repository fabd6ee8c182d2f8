"""A shelf: tensors kept on disk under keys, in shards that are whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hackamore.core.errors import HackamoreError
from hackamore.core.files import clear_leftovers
from hackamore.core.locks import alone
from hackamore.core.weights import save_tensors

ROWS = 1024
"""Most rows in a shard."""
BYTES = 256 << 20
"""A shard of wide rows holds fewer, so that it is about this large."""
SECONDS = 60.0
"""What was made longer ago than this is written, so that a kill never costs more."""
HALF = 65504.0
"""The largest number that fp16 holds."""
STALE = 3600.0
"""Seconds after which nobody can still be writing a shard."""

Row = Mapping[str, Tensor]
Make = Callable[[list[int]], Row]
"""Numbers of what is missing, all of one shape → tensors by name, a row for each number."""


class Shelf:
    """Rows of named tensors under keys of 32 hexadecimal digits. A key always stands for the same row.

    Each shard is one safetensors file, written whole; rows are memory-mapped. Two processes may write at a time: what
    both made is there twice and the same. Numbers are stored as fp16 where that holds them, else as fp32.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[str, tuple[Path, int]] = {}
        self._known: set[Path] = set()
        self._fresh: dict[str, dict[str, Tensor]] = {}
        self._adding = threading.Lock()
        self._since = time.monotonic()
        self._here = threading.local()  # an open file is no thing for two threads
        clear_leftovers(folder, STALE)
        self.look()

    def look(self) -> None:
        """Take note of shards that have come since. A damaged one is removed, one that cannot be opened now is kept."""
        for path in sorted(self.folder.glob("*.safetensors")) if self.folder.is_dir() else []:
            if path in self._known or path.name.startswith("."):
                continue
            try:
                with safe_open(path, "pt") as file:
                    keys = (file.metadata() or {})["keys"].split(",")
            except OSError:  # too many open files, a disk that is away: nothing is wrong with the shard
                continue
            except (SafetensorError, KeyError):
                with contextlib.suppress(OSError):
                    path.unlink()
                continue
            self._known.add(path)
            self._places |= {key: (path, row) for row, key in enumerate(keys)}

    def __contains__(self, key: str) -> bool:
        return key in self._fresh or key in self._places

    def missing(self, keys: Sequence[str]) -> list[int]:
        """Positions in ``keys`` of those that are not there, of keys that come twice the first."""
        first = {key: place for place, key in reversed(list(enumerate(keys))) if key not in self}
        return sorted(first.values())

    def fill(
        self,
        keys: Sequence[str],
        groups: Sequence[Sequence[int]],
        make: Make,
        *,
        batch: int = 16,
        rows: int = ROWS,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Make what is missing of ``keys``, ``batch`` rows at a time, a shard's rows all of one of the ``groups``.

        ``groups``: positions of ``keys`` that give rows of one shape. ``progress``: rows that are there, rows in all.
        Of several processes one makes them, and the others wait and find them there.
        """
        if self.missing(keys):
            with alone(self.folder / ".lock"):
                self.look()
                self._make(keys, groups, make, batch, rows, progress)

    def _make(
        self,
        keys: Sequence[str],
        groups: Sequence[Sequence[int]],
        make: Make,
        batch: int,
        rows: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        absent = set(self.missing(keys))
        there = len(set(keys)) - len(absent)
        for group in groups:
            todo = [place for place in group if place in absent]
            waiting: list[tuple[list[str], Row]] = []
            since = time.monotonic()
            for first in range(0, len(todo), batch):
                places = todo[first : first + batch]
                waiting.append(([keys[place] for place in places], make(places)))
                there += len(places)
                count = sum(len(part) for part, _ in waiting)
                full = count >= min(rows, max(1, BYTES // _row_bytes(waiting[0][1])))
                if full or time.monotonic() - since > SECONDS or first + batch >= len(todo):
                    self._write(waiting)
                    waiting, since = [], time.monotonic()
                if progress is not None:
                    progress(there, len(set(keys)))

    def read(self, keys: Sequence[str]) -> list[dict[str, Tensor]]:
        """The row of each key, tensors without a batch axis, float32."""
        rows = []
        for key in keys:
            fresh = self._fresh.get(key)
            if fresh is not None:
                rows.append({name: part.float() for name, part in fresh.items()})
                continue
            path, row = self._places[key]
            parts = self._opened(path)
            rows.append({name: part[row].float() for name, part in parts.items()})
        return rows

    def add(self, key: str, row: Row) -> None:
        """Put one row there, tensors without a batch axis. It is written with its like, a minute later at most."""
        with self._adding:
            self._fresh[key] = {name: _compact(part.detach().cpu()) for name, part in row.items()}
            late = time.monotonic() - self._since > SECONDS
            if late or len(self._fresh) * _row_bytes({n: p[None] for n, p in row.items()}) > BYTES:
                self._flush()

    def flush(self) -> None:
        """Write all rows that were added and are not written yet."""
        with self._adding:
            self._flush()

    def _flush(self) -> None:
        """A shard for rows of each shape and type; they are read from it as soon as it is there."""
        alike: dict[object, list[str]] = {}
        for key, row in self._fresh.items():
            alike.setdefault(tuple((name, part.shape, part.dtype) for name, part in row.items()), []).append(key)
        for keys in alike.values():
            parts = [([key], {name: part[None] for name, part in self._fresh[key].items()}) for key in keys]
            self._write(parts)
        self._fresh = {}
        self._since = time.monotonic()

    def _opened(self, path: Path) -> dict[str, Any]:
        """The slices of a shard, opened once in each thread."""
        opened: dict[Path, dict[str, Any]] = self._here.__dict__.setdefault("opened", {})
        if path not in opened:
            try:
                file: Any = safe_open(path, "pt")
                opened[path] = {name: file.get_slice(name) for name in list(file.keys())}
            except (SafetensorError, OSError) as error:
                raise HackamoreError(f"the cache {path} cannot be read", received=error, remedy="remove it") from error
        return opened[path]

    def _write(self, parts: Sequence[tuple[list[str], Row]]) -> None:
        keys = [key for part, _ in parts for key in part]
        names = list(parts[0][1])
        whole = {name: _compact(torch.cat([row[name].detach().cpu() for _, row in parts])) for name in names}
        path = self.folder / f"{hashlib.blake2b(','.join(keys).encode(), digest_size=12).hexdigest()}.safetensors"
        save_tensors(whole, path, {"keys": ",".join(keys)})
        self._known.add(path)
        self._places |= {key: (path, row) for row, key in enumerate(keys)}


def _compact(rows: Tensor) -> Tensor:
    """As fp16, or as fp32 where a number is too large for that."""
    rows = rows.contiguous()
    fits = not rows.numel() or bool(rows.abs().max() <= HALF)  # a number that is none does not fit either
    return rows.half() if fits else rows.float()


def _row_bytes(row: Row) -> int:
    """Bytes of one row as it is stored."""
    return max(1, sum(2 * part[0].numel() for part in row.values()))
