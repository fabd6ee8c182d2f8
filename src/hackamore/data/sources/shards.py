"""WebDataset shards: tar files whose members of one key make one example; indexed once, then read at random."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hackamore.core.errors import HackamoreError
from hackamore.core.files import written_whole
from hackamore.data.pairs import HINT_COLUMNS, PICTURE_COLUMNS, TEXT_COLUMNS, first_of, seed_of
from hackamore.data.sources.fetch import fetch
from hackamore.data.sources.item import OWN, SUFFIXES, File, Item, Part, caption_of, kind_of

MOST_SHARDS = 100_000
TEXTS = (".txt", ".text", ".caption")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")

Members = dict[str, Part]
"""What follows the key in a member's name, in small letters with its dot → the member."""


def is_address(path: str) -> bool:
    """Whether shards are to be fetched over HTTP."""
    return path.startswith(("http://", "https://"))


def expand(pattern: str) -> list[str]:
    """The names that a brace pattern means: ``a{000..002}.tar`` is a000, a001 and a002; ``{x,y}`` is x and y."""
    pieces = _BRACES.split(pattern)
    choices = [[piece] if place % 2 == 0 else _choices(piece, pattern) for place, piece in enumerate(pieces)]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > MOST_SHARDS:
        raise HackamoreError(f"{pattern} means too many shards", received=count, expected=f"at most {MOST_SHARDS:,}")
    return ["".join(chosen) for chosen in product(*choices)]


def shards(
    pattern: str,
    cache: Path,
    kinds: Sequence[str],
    hint: str | None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Item]:
    """The examples of all shards of a brace pattern or address, or of a folder of shards, in order.

    Addresses are fetched, one shard after the other, into ``cache``, and no further than ``limit`` examples need it.
    ``progress``: shards done, shards in all.
    """
    names = _names(pattern)
    found = 0
    for place, name in enumerate(names):
        if limit is not None and found >= limit:
            return
        path = fetch(name, cache / "shards") if is_address(name) else Path(name)
        for members in _examples(path, cache):
            item = _item(path, *members, kinds, hint)
            if item is not None:
                found += 1
                yield item
        if progress is not None:
            progress(place + 1, len(names))


def _choices(inside: str, pattern: str) -> list[str]:
    span = _RANGE.fullmatch(inside)
    if span is None:
        return inside.split(",")
    first, last = span.groups()
    if int(last) < int(first) or int(last) - int(first) >= MOST_SHARDS:
        raise HackamoreError(f"{pattern} is not understood", received=f"{{{inside}}}", expected="{000..009}")
    width = max(len(first), len(last)) if "0" in (first[0], last[0]) else 0
    return [str(number).zfill(width) for number in range(int(first), int(last) + 1)]


def _names(pattern: str) -> list[str]:
    if not is_address(pattern) and Path(pattern).is_dir():
        return [str(path) for path in sorted(Path(pattern).glob("*.tar"))]
    return expand(pattern)


def _examples(path: Path, cache: Path) -> list[tuple[str, Members]]:
    """(key, members) of each example of a shard, in its order."""
    examples: dict[str, Members] = {}
    for name, offset, length in _index(path, cache):
        folder, slash, base = name.rpartition("/")
        key, dot, rest = base.partition(".")
        if key and dot and not base.startswith("."):
            part = Part(path, offset, length, name)
            examples.setdefault(f"{folder}{slash}{key}", {})[f".{rest.lower()}"] = part
    return list(examples.items())


def _index(path: Path, cache: Path) -> list[tuple[str, int, int]]:
    """(name, offset, length) of every file in an archive, kept in ``cache`` until the archive changes."""
    stamp = File(path).stamp
    if stamp is None:
        raise HackamoreError(f"no such file: {path}", expected="a WebDataset shard (.tar)")
    kept = cache / "indexes" / f"{hashlib.blake2b(stamp.encode(), digest_size=16).hexdigest()}.json"
    try:
        told = json.loads(kept.read_text(encoding="utf-8"))
        return [(str(name), int(offset), int(length)) for name, offset, length in told]
    except (OSError, ValueError, TypeError):
        pass  # not kept yet, or damaged: it is read again
    members = read_index(path)
    with written_whole(kept) as temporary:
        temporary.write_text(json.dumps(members), encoding="utf-8")
    return members


def read_index(path: Path) -> list[tuple[str, int, int]]:
    """(name, offset, length) of every file in an uncompressed archive.

    Raises :class:`HackamoreError` for one that is damaged, cut short or compressed.
    """
    members = []
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.isreg():
                    members.append((member.name, member.offset_data, member.size))
                    if member.offset_data + member.size > size:
                        raise tarfile.ReadError("it ends too early")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise HackamoreError(
            f"{path} cannot be read as a shard", received=error, expected="a whole tar file, not compressed"
        ) from error
    return members


def _item(path: Path, key: str, members: Members, kinds: Sequence[str], hint: str | None) -> Item | None:
    """The example of some members, or None where they hold no picture."""
    pictures: dict[str, Part] = {}
    for rest, part in members.items():
        name, _, suffix = rest[1:].rpartition(".")
        if f".{suffix}" in SUFFIXES:
            pictures.setdefault(name, part)
    if hint is not None:
        hints = {hint: pictures[hint]} if hint in pictures else {}
    else:
        hints = {name if name in kinds else kind_of(name): pictures[name] for name in pictures if name}
        hints.pop(OWN, None)
        own = next((pictures[name] for name in HINT_COLUMNS if name in pictures and name not in kinds), None)
        hints |= {} if own is None else {OWN: own}
    picture = next((pictures[name] for name in ("", *PICTURE_COLUMNS) if name in pictures), None)
    if picture is None:
        return None
    row = _row(path, key, members.get(".json"))
    text = next((members[rest] for rest in TEXTS if rest in members), None)
    caption = caption_of(first_of(row, TEXT_COLUMNS)) if text is None else caption_of(_decoded(path, text))
    attributes = row.get("attributes") if isinstance(row.get("attributes"), dict) else None
    return Item(key.rpartition("/")[2], picture, hints, caption, seed_of(row), members.get(".people.json"), attributes)


def _row(path: Path, key: str, part: Part | None) -> dict[str, Any]:
    try:
        row = {} if part is None else json.loads(_decoded(path, part))
    except (ValueError, RecursionError) as error:
        raise HackamoreError(f"{path}: {key}.json is not JSON", received=str(error)) from error
    return row if isinstance(row, dict) else {}


def _decoded(path: Path, part: Part) -> str:
    try:
        return part.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HackamoreError(f"{path}: {part.member} is no text", received=error, expected="UTF-8") from error
