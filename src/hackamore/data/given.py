"""Where the hints of training data come from, and whether all that it needs is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hackamore.annotators.recognise import family
from hackamore.core.errors import HackamoreError
from hackamore.core.section import setting
from hackamore.data.making import Making, making_of
from hackamore.data.settings import DataSettings
from hackamore.data.sources.item import OWN, Item, kind_of
from hackamore.data.sources.layouts import cache_of


def sources_of(
    settings: DataSettings, kinds: Sequence[str], items: Sequence[Item]
) -> tuple[dict[str, str], dict[str, Making]]:
    """Where the hints of each kind come from: (kind → its name in the items' hints, kind → how they are made).

    Raises :class:`HackamoreError` for a kind that the data has not and that cannot be made from pictures.
    """
    if not kinds or len(set(kinds)) < len(kinds):
        raise HackamoreError("the kinds of hints are not understood", received=", ".join(kinds) or "none")
    if settings.hint is not None and len(kinds) > 1:
        raise HackamoreError(
            "one name cannot tell where hints of several kinds are",
            received=f"data.hint {settings.hint}, kinds {', '.join(kinds)}",
            expected="sub-folders or columns that are named as the kinds",
        )
    names = {name for item in items for name in item.hints}
    given: dict[str, str] = {}
    makings: dict[str, Making] = {}
    keep = cache_of(settings) if settings.cache_hints else None
    for kind in kinds:
        told = [settings.hint] if settings.hint is not None else [kind, *([k] if (k := kind_of(kind)) else [])]
        told += [OWN] if len(kinds) == 1 else []
        name = next((name for name in told if name in names), None)
        drawn = family(kind) == "pose" and any(item.people is not None for item in items)
        if settings.annotate is not True and (name is not None or drawn):
            given[kind] = OWN if name is None else name
        elif settings.annotate is False:
            has = ", ".join(name or "of an unnamed kind" for name in sorted(names)) or "none"
            raise HackamoreError(
                f"{settings.path} has no {kind} hints", received=has, remedy=setting("data.annotate", True)
            )
        else:
            makings[kind] = making_of(kind, kinds, settings.parameters, keep)
    if settings.parameters and not makings:
        raise HackamoreError(
            "parameters of an annotator are given, and no hints are made",
            received=", ".join(settings.parameters),
            remedy=f"no parameters, or {setting('data.annotate', True)}",
        )
    return given, makings


def check_files(settings: DataSettings, items: Sequence[Item], given: Mapping[str, str]) -> None:
    """Raise :class:`HackamoreError` that counts and names examples without a file, a hint or a caption."""
    absent, bare, mute = [], [], []
    for item in items:
        needed = [item.picture]
        for kind, name in given.items():
            if family(kind) == "pose" and item.people is not None:
                continue
            needed += [item.hints[name]] if name in item.hints else []
            bare += [] if name in item.hints else [item.picture.name]
        absent += [blob.name for blob in needed if not blob.exists()]
        mute += [item.picture.name] if item.caption is None else []
    if absent:
        others = f", and {len(absent) - 1:,} more" if len(absent) > 1 else ""
        raise HackamoreError(f"a file of the training data is missing: {absent[0]}{others}")
    if bare:
        what = f"{len(bare):,} of {len(items):,} pictures have no {' or '.join(given)} hint"
        raise HackamoreError(what, received=f"the first is {bare[0]}", expected="a hint for every picture")
    if mute and settings.captions == "need":
        raise HackamoreError(
            f"{len(mute):,} of {len(items):,} pictures have no caption",
            received=f"the first is {mute[0]}",
            expected="a caption for every picture",
            remedy=f"to train them without words: {setting('data.captions', 'empty')}",
        )


def check_flip(items: Sequence[Item], given: Mapping[str, str]) -> None:
    """Raise :class:`HackamoreError` where mirrored hints would tell something else than mirrored pictures."""
    poses = [kind for kind in given if family(kind) == "pose"]
    bare = next((item for item in items if item.people is None), None)
    if poses and bare is not None:
        raise HackamoreError(
            "drawings of poses cannot be mirrored, since their colours tell left from right",
            received=f"{bare.picture.name} has no key points",
            expected=f"OpenPose key points: people/{bare.stem}.json beside the pictures",
            remedy=setting("data.flip", False),
        )
