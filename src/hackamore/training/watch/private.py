"""What may leave this machine: words and settings without its paths and secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_PATH = re.compile(r"(?<![\w:/.~-])(?:~|[A-Za-z]:(?=[\\/])|file:)?(?:[\\/][^\s'\"`,;:()<>|\\/]+)+[\\/]?")
"""An absolute path inside a sentence: ``/a/b``, ``~/a``, ``C:\\a``, ``file:///a``."""


def openly(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as they may be shown to everybody: paths are their last name, addresses are without secrets."""
    made: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            made[name] = openly(value)
        elif isinstance(value, (list, tuple)):
            made[name] = [public(one) for one in value]
        else:
            made[name] = public(value)
    return made


def public(value: Any) -> Any:
    """A value without what is only of this machine: a local path becomes its name, an address loses user and query."""
    if isinstance(value, Path):
        return value.name
    if not isinstance(value, str):
        return value
    if re.match(r"[a-z][a-z0-9+.-]+://", value) and not value.startswith("file:"):
        parts = urlsplit(value)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    if local(value):
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    return without_paths(value)


def local(value: str) -> bool:
    """Whether a setting is a path of this machine: an absolute one, one from here or from home, or one that exists."""
    if "\n" in value or len(value) > 1000:
        return False
    return bool(re.match(r"[\\/]|\.{1,2}[\\/]|~|[A-Za-z]:[\\/]|file:", value)) or (
        "/" in value and Path(value).exists()
    )


def without_paths(text: str) -> str:
    """A sentence whose absolute paths are their last name."""
    return _PATH.sub(lambda found: re.split(r"[\\/]", found[0].rstrip("\\/"))[-1], text)


def hub_name(name: str) -> bool:
    """Whether ``name`` is one of the hub's, ``somebody/something``, and nothing on this machine."""
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name)) and not Path(name).exists()
