"""The bases and controls of a server: named by its operator, loaded once, shared, let go when memory is short."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hackamore.backends.choose import choose
from hackamore.core.errors import WorkFailed
from hackamore.serving.check import check_request
from hackamore.serving.offers import Catalogue, Known, is_there
from hackamore.serving.request import Request
from hackamore.serving.settings import ServeSettings
from hackamore.serving.shelf import Holding, Shelf


class Models:
    """Bases and controls by the operator's names; safe to ask from many threads at once.

    Sizes are measured: bytes of parameters and buffers, shared ones once. Beyond ``settings.memory_mib`` the least
    recently used is let go, never one that is held (:meth:`hold`).
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.known = Catalogue(settings)
        self.shelf = Shelf(settings.memory_mib)

    def base(self, name: str | None = None, device: str | None = None, held: Holding | None = None) -> Any:
        """The base that clients call ``name`` (by default the first) on ``device`` (by default the first worker's).

        Raises :class:`HackamoreError` for a name that is not on offer, one that cannot be loaded, or has no room.
        """
        from hackamore.bases.catalog import load_base

        known, place = self.known.base(name), self._place(device)

        def load() -> Any:
            base = load_base(_path(known), device=place, dtype=self.settings.dtype, backend="torch")
            base.backend = choose("auto" if self.settings.compiles else "torch", base.device, base.dtype, often=True)
            return base

        return self.shelf.get(("base", known.name, place), known.name, load, holding=held)

    def control(
        self,
        name: str,
        base_name: str | None = None,
        device: str | None = None,
        held: Holding | None = None,
        kind: str | None = None,
    ) -> Any:
        """The control that clients call ``name``, for a base; ``kind``: what it is taken for where it does not tell."""
        from hackamore.controls.catalog import load_control

        base_known, place = self.known.base(base_name), self._place(device)
        known = self.known.control(name, base_known.name)
        base = self.base(base_known.name, device, held)

        def load() -> _Shared:
            control = load_control(_path(known), base)
            control.condition = control.condition or known.kind
            return _Shared(control)

        below = ("base", base_known.name, place)
        shared = self.shelf.get(("control", known.name, *below[1:]), known.name, load, below, held)
        return shared.taken_for(kind)

    def check(self, request: Request) -> Request:
        """The request with base, seed and defaults filled in; raises :class:`HackamoreError` for what cannot be done.

        Nothing is sampled, and nothing slow is loaded: a base that is neither here nor embedded is asked when the work
        begins.
        """
        return check_request(request, self)

    @contextmanager
    def hold(self) -> Iterator[Holding]:
        """Whatever is asked for with it stays loaded until its end."""
        with self.shelf.holding() as held:
            yield held

    def ready(self, name: str) -> Any | None:
        """The base called ``name`` where asking it is cheap: it is here already, or comes with the package."""
        from hackamore.bases.catalog import BASES

        here = self.loaded_base(name)
        return self.base(name) if here is None and self.known.base(name).path in BASES else here

    def loaded_base(self, name: str) -> Any | None:
        """The base called ``name`` where it is here already, else None."""
        return self.shelf.has(_key(self.known.base(name), self._place(None)))

    def ready_control(self, name: str, base_name: str) -> Any | None:
        """The control called ``name`` where asking it is cheap: it is here already, or comes with the package."""
        from hackamore.controls.catalog import ALONE, embedded

        known = self.known.control(name, base_name)
        if known.path in ALONE or known.path in embedded():
            return self.control(name, base_name)
        return self.loaded_control(known)

    def loaded_control(self, known: Known) -> Any | None:
        """A control that is here already, else None."""
        shared = self.shelf.has(_key(known, self._place(None)))
        return None if shared is None else shared.control

    def offers(self) -> list[dict[str, Any]]:
        """Everything that clients may name: name, type, kind, base, and of what is loaded its size and hashes."""
        return [self._offer(known) for known in (*self.known.bases.values(), *self.known.controls)]

    def load(self, name: str) -> dict[str, Any]:
        """Load a base or a control now; what :meth:`offers` says of it then."""
        known = self.known.any(name)
        if known.base is None:
            self.base(known.name)
        else:
            self.control(known.name, known.base)
        return self._offer(known)

    def unload(self, name: str) -> dict[str, Any]:
        """Let go of a base, with its controls, or of a control, on every device; an error while it is in use."""
        known = self.known.any(name)
        for place in self._places():
            self.shelf.drop(_key(known, place))
        return self._offer(known)

    def memory(self) -> dict[str, Any]:
        """MiB that bases and controls take together, and the limit."""
        return {
            "used_mib": round(self.shelf.mib(), 1),
            "limit_mib": self.settings.memory_mib,
            "loaded": [offer["name"] for offer in self.offers() if offer["loaded"]],
        }

    def _offer(self, known: Known) -> dict[str, Any]:
        keys = [key for place in self._places() if self.shelf.has(key := _key(known, place)) is not None]
        value = self.shelf.has(keys[0]) if keys else None
        control = value.control if isinstance(value, _Shared) else None
        kind = known.kind or getattr(control, "condition", None)
        return {
            "name": known.name,
            "type": "base" if known.base is None else "control",
            "kind": kind,
            "base": known.base,
            "loaded": bool(keys),
            "mib": round(sum(self.shelf.mib(key) for key in keys), 1) if keys else None,
            "sha256": dict((control or value).sha256) if value is not None else None,
        }

    def _place(self, device: str | None) -> str:
        """The device by its full name, so that each is counted once."""
        from hackamore.bases.catalog import best_device

        return str(device or next(iter(self.settings.devices), None) or best_device())

    def _places(self) -> list[str]:
        return list(dict.fromkeys(map(self._place, self.settings.devices or (None,))))


class _Shared:
    """A control as all share it; where its file does not tell its kind, once for each that it is taken for."""

    def __init__(self, control: Any) -> None:
        self.control = control
        self._taken: dict[str, Any] = {}
        self._lock = threading.Lock()

    def taken_for(self, kind: str | None) -> Any:
        """The control; a view of it that is of ``kind`` where nothing else says what it is of."""
        if kind is None or self.control.condition or "type" in getattr(self.control, "options", ()):
            return self.control
        with self._lock:
            if kind not in self._taken:
                self._taken[kind] = copy.copy(self.control)
                self._taken[kind].condition = kind
            return self._taken[kind]


def _path(known: Known) -> str | Path:
    """What the catalogues load it by. Raises :class:`WorkFailed` where it is gone: no client can help that."""
    from hackamore.bases.catalog import BASES
    from hackamore.controls.catalog import ALONE, embedded

    if not is_there(known):
        what = "base" if known.base is None else "control"
        words = f"the {what} {known.name} is on offer, but cannot be found any more"
        raise WorkFailed(words, remedy="tell the server's operator")
    return known.path if known.path in {*BASES, *ALONE, *embedded()} else Path(known.path)


def _key(known: Known, place: str) -> tuple[str, ...]:
    return ("base", known.name, place) if known.base is None else ("control", known.name, known.base, place)
