"""What the operator offers: the only bases and controls that a client's word can name."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hackamore.bases.catalog import BASES
from hackamore.bases.hub import is_hub_name
from hackamore.controls.catalog import ALONE, embedded, own_controls
from hackamore.core.errors import HackamoreError, unknown_name
from hackamore.serving.settings import Offer, ServeSettings


@dataclass(frozen=True)
class Known:
    """Something on offer. ``base``: of a control, the base it is for; None of a base."""

    name: str
    path: str
    base: str | None = None
    kind: str | None = None


class Catalogue:
    """The offers of a server by name, the controls that its bases bring along among them.

    Raises :class:`HackamoreError` for settings that contradict themselves.
    """

    def __init__(self, settings: ServeSettings) -> None:
        if not settings.bases:
            raise HackamoreError("the server offers no base", remedy="--base NAME")
        self.bases = {offer.name: Known(offer.name, offer.path) for offer in settings.bases}
        self.default = settings.bases[0].name
        own = [known for base in self.bases.values() for known in _own(base)]
        self.controls = [*(self._told(offer) for offer in settings.controls), *own]
        names = [(known.base, known.name) for known in self.controls]
        twice = next((name for _, name in names if [told for _, told in names].count(name) > 1), None)
        repeated = len(self.bases) < len(settings.bases) or len(set(names)) < len(names)
        if repeated:
            raise HackamoreError("two offers have the same name", received=twice, expected="names that differ")

    def base(self, name: str | None) -> Known:
        """The base called ``name``, by default the first; an unknown one is an error that lists those on offer."""
        name = name or self.default
        if name not in self.bases:
            raise unknown_name("base", name, list(self.bases))
        return self.bases[name]

    def of_base(self, base: str) -> list[Known]:
        """The controls for a base, the operator's own first."""
        return [known for known in self.controls if known.base == base]

    def control(self, name: str, base: str) -> Known:
        """The control called ``name`` for ``base``."""
        known = {one.name: one for one in self.of_base(base)}
        if name in known:
            return known[name]
        for other in self.controls:
            if other.name == name:
                raise HackamoreError(
                    f"the control {name} is not for the base {base}",
                    received=f"a control of {other.base}",
                    expected=", ".join(sorted(known)) or f"none: {base} has no controls",
                )
        raise unknown_name("control", name, list(known))

    def of_kind(self, kind: str, base: str) -> Known:
        """The control of ``base`` that a unit of ``kind`` means where it names none: the first that says so."""
        found = next((known for known in self.of_base(base) if known.kind == kind), None)
        if found is None:
            kinds = sorted({known.kind for known in self.of_base(base) if known.kind})
            raise HackamoreError(
                f"the base {base} has no control {kind} of its own",
                expected=", ".join(kinds) or "none of a known kind",
                remedy="model, the name of a control on offer",
            )
        return found

    def any(self, name: str) -> Known:
        """The base or control called ``name``."""
        if name in self.bases:
            return self.bases[name]
        found = next((known for known in self.controls if known.name == name), None)
        if found is None:
            raise unknown_name("model", name, [*self.bases, *(known.name for known in self.controls)])
        return found

    def check_places(self) -> None:
        """Raise for the first offer that is nowhere: neither a name of a catalogue nor of the hub, nor on this machine.

        The error is the operator's: it tells the path.
        """
        for known in (*self.bases.values(), *self.controls):
            if not is_there(known):
                what = "base" if known.base is None else "control"
                raise HackamoreError(
                    f"the {what} {known.name} on offer cannot be found",
                    received=known.path,
                    expected="a folder or a file" + (", or a hub name" if what == "base" else ""),
                    remedy=f"--{what} {known.name}=PATH",
                )

    def _told(self, offer: Offer) -> Known:
        return Known(offer.name, offer.path, self.base(offer.base).name, offer.kind)


def is_there(known: Known) -> bool:
    """Whether an offer may be found: a name of a catalogue or of the hub, or something that may be read here."""
    hub = known.base is None and is_hub_name(known.path)
    return known.path in {*BASES, *ALONE, *embedded()} or hub or os.access(known.path, os.R_OK)


def _own(base: Known) -> list[Known]:
    """The controls that come with a base, and those that need no file."""
    brought = [
        Known(f"{base.path}/{kind}", name, base.name, kind)
        for kind, name in (own_controls(base.path).items() if base.path in BASES else ())
    ]
    return [*brought, *(Known(name, name, base.name, name) for name in ALONE)]
