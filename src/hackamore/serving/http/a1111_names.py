"""The WebUI's names of models, matched to what the operator of this server offers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hackamore.core.errors import HackamoreError, unknown_name

ALONE = "reference"
"""A kind of control that no name asks for: it is a preprocessor that needs no model."""
LONGEST = 300
"""Characters of a name that are read."""
_HASH = re.compile(r"\s*\[[0-9a-fA-F]{6,64}\]\s*$")
_FILE = re.compile(r"\.(safetensors|ckpt|pth|pt|bin)$", re.IGNORECASE)
_WORDS: dict[str, tuple[str, ...]] = {
    "lineart_anime": ("lineart_anime",),
    "canny": ("canny",),
    "softedge": ("softedge", "hed", "pidinet", "pidi"),
    "scribble": ("scribble", "sketch"),
    "lineart": ("lineart",),
    "mlsd": ("mlsd",),
    "seg": ("seg", "segmentation"),
    "depth": ("depth", "depthmap", "zoedepth"),
    "normal": ("normal", "normalbae", "normalmap"),
    "pose": ("openpose", "pose", "openposev2", "keypose"),
    "inpaint": ("inpaint", "inpainting"),
    "shuffle": ("shuffle",),
    "blur": ("blur",),
    "tile": ("tile",),
    "recolor": ("recolor",),
    "color": ("color",),
    "ip2p": ("ip2p",),
    "ip-adapter": ("ip-adapter", "ip_adapter"),
}
"""Our kinds, and the words by which published files tell them in their names; the first that fits is taken."""


@dataclass(frozen=True)
class Offered:
    """A base or a control that clients may name. ``base``: of a control, the base it is for."""

    name: str
    base: str | None
    kind: str | None
    sha256: str | None
    is_base: bool

    @property
    def title(self) -> str:
        """Its name as the WebUI shows it: a model's ten, a control's eight digits of the hash behind it."""
        digits = (self.sha256 or "")[: 10 if self.is_base else 8]
        return f"{self.name} [{digits}]" if digits else self.name


@dataclass(frozen=True)
class Match:
    """What a name meant; ``notice`` says how it was found, where it was not by the offer's own name."""

    offer: Offered
    notice: str | None = None


def offered(offers: Sequence[dict[str, Any]]) -> list[Offered]:
    """What the server has, from ``Models.offers()``; a hash by file becomes the first file's."""
    return [
        Offered(one["name"], one.get("base"), one.get("kind"), _digest(one.get("sha256")), one.get("type") == "base")
        for one in offers
    ]


def _digest(told: Any) -> str | None:
    if isinstance(told, dict):
        return next((str(told[name]) for name in sorted(told)), None)
    return None if told is None else str(told)


def plain(name: str) -> str:
    """A model's name without the hash, the folder's separator turned and the file's ending cut."""
    return _FILE.sub("", _HASH.sub("", name.strip()[:LONGEST])).replace("\\", "/")


def kind_told(name: str) -> str | None:
    """The kind of hint that the name of a published control tells, such as ``canny`` of ``control_canny-fp16``."""
    stem = f"_{plain(name).lower().rpartition('/')[2]}_"
    for kind, words in _WORDS.items():
        if any(re.search(rf"[^a-z]{re.escape(word)}[^a-z]", stem) for word in words):
            return kind
    return None


def base_named(name: str, all_offers: Sequence[Offered]) -> Offered:
    """The base of a name, a title or a hash; raises :class:`HackamoreError` that lists those that there are."""
    bases = [one for one in all_offers if one.is_base]
    found = _by_name(name, bases)
    if found is None:
        digits = name.strip()[:LONGEST].lower()
        hashed = [one for one in bases if one.sha256 and len(digits) >= 8 and one.sha256.startswith(digits)]
        if not hashed:
            raise unknown_name("model", name[:200], [one.title for one in bases])
        found = hashed[0]
    return found


def controls_of(base: str, all_offers: Sequence[Offered]) -> list[Offered]:
    """The controls for a base."""
    return [one for one in all_offers if not one.is_base and one.base == base]


def control_named(name: str, base: str, all_offers: Sequence[Offered]) -> Match:
    """The control that ``name`` means for a base: by the offer's own name, its last part, or its kind.

    Raises :class:`HackamoreError` for one that is not offered for this base, or that two of its controls could be.
    """
    controls = controls_of(base, all_offers)
    found = _by_name(name, controls)
    if found is not None:
        return Match(found)
    kind = kind_told(name)
    alike = [one for one in controls if kind is not None and kind_of(one) == kind]
    if len(alike) == 1:
        return Match(alike[0], f"the model {name[:200]} was taken to be {alike[0].name}, this server's own of its kind")
    if alike:
        raise HackamoreError(
            f"the model {name[:200]} could be one of several",
            expected=f"one of: {', '.join(one.title for one in alike)}",
        )
    known = ", ".join(one.title for one in controls if one.kind != ALONE) or "no control at all"
    raise HackamoreError(f"the model {name[:200]} is not offered for the base {base}", expected=f"one of: {known}")


def _by_name(name: str, offers: Sequence[Offered]) -> Offered | None:
    """The offer of exactly this name, else the only one whose last part it is, in any case of letters."""
    for one in offers:
        if name in (one.name, one.title):
            return one
    wanted = plain(name).lower()
    for one in offers:
        if plain(one.name).lower() == wanted:
            return one
    stem = wanted.rpartition("/")[2]
    ends = [one for one in offers if plain(one.name).lower().rpartition("/")[2] == stem]
    return ends[0] if len(ends) == 1 else None


def kind_of(offer: Offered) -> str | None:
    """The kind of hint that a control takes: as the server knows it, else as its name tells."""
    return offer.kind or kind_told(offer.name)
