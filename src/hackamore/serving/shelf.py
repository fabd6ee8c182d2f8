"""A shelf of things that are loaded once, shared, and put away when room is needed, never while in use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from torch import Tensor, nn

from hackamore.core.errors import HackamoreError
from hackamore.serving.refusal import InUse, Later

MIB = 2**20


class NoRoom(Later):
    """It would fit by itself, but not beside what is in use."""


@dataclass
class Loaded:
    """Something on the shelf. ``needs``: what it stands on, which stays as long as it does."""

    key: Hashable
    name: str
    needs: Hashable | None
    storages: dict[Hashable, int]
    value: Any
    used: int = 0
    holders: int = 0


@dataclass
class Holding:
    """What one user holds at a time."""

    keys: list[Hashable] = field(default_factory=list)


class Shelf:
    """Loads by key, each once however many ask at a time; counts shared tensors once; lets the least used go.

    ``limit_mib``: of all that is loaded, None for no limit.
    """

    def __init__(self, limit_mib: int | None) -> None:
        self.limit_mib = limit_mib
        self._loaded: dict[Hashable, Loaded] = {}
        self._loading: dict[Hashable, threading.Lock] = {}
        self._lock = threading.RLock()
        self._clock = count(1)

    def get(
        self,
        key: Hashable,
        name: str,
        load: Callable[[], Any],
        needs: Hashable | None = None,
        holding: Holding | None = None,
    ) -> Any:
        """What ``key`` stands for, loaded by ``load`` where it is not here; kept until ``holding`` ends."""
        with self._lock:
            one = self._loading.setdefault(key, threading.Lock())
        with one:
            with self._lock:
                found = self._loaded.get(key)
                if found is not None:
                    return self._take(found, holding)
            value = load()
            with self._lock:
                found = Loaded(key, name, needs, storages_of(value), value)
                self._loaded[key] = found
                self._make_room(found)
                return self._take(found, holding)

    @contextmanager
    def holding(self) -> Iterator[Holding]:
        """Whatever is got for it stays on the shelf until its end."""
        held = Holding()
        try:
            yield held
        finally:
            with self._lock:
                for key in held.keys:
                    self._loaded[key].holders -= 1

    def drop(self, key: Hashable) -> bool:
        """Let go of it and of what stands on it; False where it is not here, an error while it is in use."""
        with self._lock:
            found = self._loaded.get(key)
            if found is None:
                return False
            above = self._above(found)
            if any(one.holders for one in above):
                raise InUse(f"{found.name} is in use", remedy="again when the work on it is over")
            for one in above:
                del self._loaded[one.key]
            return True

    def has(self, key: Hashable) -> Any:
        """What is loaded under ``key``, or None; it does not count as used."""
        with self._lock:
            found = self._loaded.get(key)
            return None if found is None else found.value

    def mib(self, key: Hashable | None = None) -> float:
        """Measured size in MiB of what ``key`` stands for, or of all together, shared tensors once."""
        with self._lock:
            chosen = self._loaded.values() if key is None else [self._loaded[key]] if key in self._loaded else []
            return _mib(list(chosen))

    def _take(self, found: Loaded, holding: Holding | None) -> Any:
        """Mark it as used now, and what it stands on; held where somebody holds it."""
        chain = [found, *([self._loaded[found.needs]] if found.needs in self._loaded else [])]
        for one in chain:
            one.used = next(self._clock)
            if holding is not None:
                one.holders += 1
                holding.keys.append(one.key)
        return found.value

    def _above(self, below: Loaded) -> list[Loaded]:
        return [below, *(one for one in self._loaded.values() if one.needs == below.key)]

    def _make_room(self, newest: Loaded) -> None:
        """Let go of the least used until all is within the limit; what cannot be is put away again, in words."""
        if self.limit_mib is None:
            return
        kept = {newest.key, newest.needs}
        while _mib(list(self._loaded.values())) > self.limit_mib:
            together = [self._above(one) for one in self._loaded.values()]
            idle = [above for above in together if not any(one.holders or one.key in kept for one in above)]
            if not idle:
                self._refuse(newest)
            for one in min(idle, key=lambda above: max(part.used for part in above)):
                del self._loaded[one.key]

    def _refuse(self, newest: Loaded) -> None:
        needed = _mib([newest, *([self._loaded[newest.needs]] if newest.needs in self._loaded else [])])
        del self._loaded[newest.key]
        limit = self.limit_mib or 0
        if needed > limit:
            raise HackamoreError(
                f"{newest.name} is larger than the memory for models",
                received=f"{needed:.0f} MiB with what it stands on",
                expected=f"at most {limit} MiB, the server's memory_mib",
            )
        raise NoRoom(
            f"there is no room for {newest.name} beside what is in use",
            received=f"{needed:.0f} MiB with what it stands on",
            expected=f"{limit} MiB for all models, the server's memory_mib",
            remedy="fewer models at once, or later",
        )


def storages_of(value: Any) -> dict[Hashable, int]:
    """Bytes of the parameters and buffers of a base, a control or anything else made of networks, by their storage."""
    found: dict[Hashable, int] = {}
    for network in _networks(value):
        for tensor in (*network.parameters(), *network.buffers()):
            storage = _plain(tensor).untyped_storage()
            found[str(tensor.device), storage.data_ptr()] = storage.nbytes()
    return found


def _networks(value: Any) -> list[nn.Module]:
    if isinstance(value, nn.Module):
        return [value]
    parts = getattr(value, "parts", None)
    told = [*(parts().values() if callable(parts) else ()), *vars(value).values()] if hasattr(value, "__dict__") else []
    return [part for part in told if isinstance(part, nn.Module)]


def _plain(tensor: Tensor) -> Tensor:
    return tensor.data if isinstance(tensor, nn.Parameter) else tensor


def _mib(chosen: list[Loaded]) -> float:
    """Of several together, shared tensors once."""
    together: dict[Hashable, int] = {}
    for one in chosen:
        together |= one.storages
    return sum(together.values()) / MIB
