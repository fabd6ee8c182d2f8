"""A file of jobs, one JSON object a line: requests with a name, their pictures in base64 or as files beside it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hackamore.core.errors import HackamoreError
from hackamore.serving.pictures import encoded
from hackamore.serving.request import Request

NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
REQUEST_FILES = {"init_file": "init", "mask_file": "mask"}
UNIT_FILES = {"image_file": "image", "mask_file": "mask"}
MOST_TOLD = 50
"""Bad lines whose numbers are told."""


@dataclass(frozen=True)
class Line:
    """One job of the file. ``number`` counts from 1; ``offset``: where its line begins, in bytes.

    ``sha256``: of what is asked, pictures included; a change of it is another job.
    """

    name: str
    number: int
    offset: int
    sha256: str


def check_lines(path: Path, check: Callable[[Request], Request]) -> list[Line]:
    """Read every line and check every request, before any work; blank lines are nothing.

    Raises :class:`HackamoreError` that tells the bad lines by number, or for a file that cannot be read or is empty.
    """
    lines: list[Line] = []
    taken: dict[str, int] = {}
    bad: dict[int, str] = {}
    for number, offset, text in _texts(path):
        try:
            name, request = _parsed(text, number, path.parent)
            if name.casefold() in taken:
                raise HackamoreError(f"the name {name} is that of line {taken[name.casefold()]} too")
            taken[name.casefold()] = number
            check(request)
        except HackamoreError as error:
            bad[number] = "; ".join(str(error).splitlines())
            continue
        sha256 = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
        lines.append(Line(name, number, offset, sha256))
    if bad:
        raise _wrong(path, bad)
    if not lines:
        raise HackamoreError(f"{path} holds no jobs", expected="a JSON object a line, each with a prompt")
    return lines


def _wrong(path: Path, bad: dict[int, str]) -> HackamoreError:
    numbers = ", ".join(map(str, list(bad)[:MOST_TOLD])) + (
        f" and {len(bad) - MOST_TOLD} more" * (len(bad) > MOST_TOLD)
    )
    what = f"{path}: {'lines' if len(bad) > 1 else 'line'} {numbers} cannot be done, and nothing was"
    return HackamoreError(what, received=" | ".join(f"line {number}: {why}" for number, why in bad.items()))


def read_line(path: Path, line: Line) -> Request:
    """The request of a line that was checked. Raises :class:`HackamoreError` where the file is another by now."""
    try:
        with path.open("rb") as file:
            file.seek(line.offset)
            text = file.readline()
    except OSError as error:
        raise HackamoreError(f"{path} cannot be read", received=error.strerror) from error
    name, request = _parsed(text, line.number, path.parent)
    if name != line.name or hashlib.sha256(request.model_dump_json().encode()).hexdigest() != line.sha256:
        raise HackamoreError(f"{path} was changed while its jobs were done", received=f"line {line.number}")
    return request


def _texts(path: Path) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield number, offset, text
                offset += len(text)
    except OSError as error:
        raise HackamoreError(f"{path} cannot be read", received=error.strerror, expected="a JSONL file") from error


def _parsed(text: bytes, number: int, folder: Path) -> tuple[str, Request]:
    """Its name and its request; a request without a seed gets one that the line decides, so that it stays the same."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HackamoreError("it is not JSON", received=error) from error
    if not isinstance(told, dict):
        raise HackamoreError("it is not a JSON object", received=type(told).__name__)
    name = told.pop("name", f"job-{number}")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        expected = "1 to 100 letters, digits, _, . and -, a letter or digit first"
        raise HackamoreError("the name cannot be that of a file", received=name, expected=expected)
    told = _with_files(told, REQUEST_FILES, folder)
    units = told.get("controls")
    if isinstance(units, list):
        told["controls"] = [_with_files(unit, UNIT_FILES, folder) for unit in units]
    if told.get("seed") is None:
        told["seed"] = int.from_bytes(hashlib.sha256(text.strip()).digest()[:4])
    try:
        return name, Request.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise HackamoreError(f"{where}: {first['msg']}", received=first.get("input")) from error


def _with_files(told: Any, keys: dict[str, str], folder: Path) -> Any:
    """The table, each key that names a file replaced by that file in base64."""
    if not isinstance(told, dict):
        return told
    held = dict(told)
    for key in keys.keys() & held.keys():
        place, into = held.pop(key), keys[key]
        if held.get(into) is not None:
            raise HackamoreError(f"both {into} and {key} are told", expected="one of them")
        if not isinstance(place, str) or not place:
            raise HackamoreError(f"{key} is not a path", received=place)
        try:
            held[into] = encoded((folder / place).read_bytes())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise HackamoreError(f"{key} cannot be read", received=f"{place}: {reason}") from error
        if not held[into]:
            raise HackamoreError(f"{key} is empty", received=place)
    return held
