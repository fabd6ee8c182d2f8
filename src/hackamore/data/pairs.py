"""Paired training data on disk: picture, hint, caption, by the lines of an index."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hackamore.core.errors import HackamoreError

PICTURE_COLUMNS = ("image_file_name", "file_name", "image", "target", "picture")
HINT_COLUMNS = ("conditioning_image_file_name", "conditioning_image", "source", "hint", "control", "conditioning")
TEXT_COLUMNS = ("text", "prompt", "caption")
INDEXES = ("metadata.jsonl", "metadata.csv", "prompt.json")
"""Files that tell which picture, hint and caption belong together, the first that is there wins."""

EVALUATION_SEED = 9_000_000
"""Worlds with this seed or a higher one are held out: no training reads them."""


@dataclass(frozen=True)
class Pair:
    """One example: the picture's file, the hint's file where there is one, and the caption."""

    picture: Path
    hint: Path | None
    text: str
    seed: int | None = None


def read_pairs(folder: Path | str, hint: str | None = None) -> list[Pair]:
    """The pairs of a folder in the Hugging Face imagefolder layout or in the official one (``prompt.json``).

    ``hint`` names a sub-folder to take the hints from instead of the one in the index (same file names).
    Raises :class:`HackamoreError` when there is no index, when a line is not understood, or when it is empty.
    """
    folder = Path(folder)
    index = next((folder / name for name in INDEXES if (folder / name).is_file()), None)
    if index is None:
        raise HackamoreError(
            f"no training data in {folder}",
            expected="metadata.jsonl (columns image, conditioning_image, text) or prompt.json (source, target, prompt)",
            remedy=f"hackamore world --out {folder} --count 1000",
        )
    pairs = []
    for row in read_rows(index):
        picture = folder / str(first_of(row, PICTURE_COLUMNS))
        told = first_of(row, HINT_COLUMNS)
        path = folder / hint / picture.name if hint else (folder / str(told) if told else None)
        pairs.append(Pair(picture, path, str(first_of(row, TEXT_COLUMNS) or ""), seed_of(row)))
    return pairs


def read_rows(index: Path) -> list[dict[str, Any]]:
    """The rows of an index: JSON lines, a JSON array, or a CSV table; each names a picture's file.

    Raises :class:`HackamoreError` when a line is not understood, or when the index is empty.
    """
    try:
        text = index.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise HackamoreError(f"{index} cannot be read", received=error, expected="text in UTF-8") from error
    rows: list[dict[str, Any]] = []
    for number, told in _entries(index, text):
        try:
            row = json.loads(told) if isinstance(told, str) else told
            if not isinstance(row, dict) or not isinstance(first_of(row, PICTURE_COLUMNS), str):
                raise ValueError("it names no picture")
        except (ValueError, RecursionError) as error:
            raise HackamoreError(
                f"line {number} of {index} is not understood",
                received=str(told)[:120],
                expected="one JSON object with a picture's file name",
            ) from error
        rows.append(row)
    if not rows:
        raise HackamoreError(f"{index} is empty", expected="at least one line")
    return rows


def training_pairs(folder: Path | str) -> list[Pair]:
    """The pairs of a folder, none of them held out: worlds from ``EVALUATION_SEED`` on are refused."""
    pairs = read_pairs(folder)
    refuse_held_out(folder, [pair.seed for pair in pairs])
    return pairs


def refuse_held_out(data: Path | str, seeds: list[int | None]) -> None:
    """Raise :class:`HackamoreError` where ``data`` holds a world that is kept for evaluation, told by its seed."""
    held_out = next((seed for seed in seeds if seed is not None and seed >= EVALUATION_SEED), None)
    if held_out is not None:
        raise HackamoreError(
            f"{data} holds worlds that are kept for evaluation",
            received=f"seed {held_out}",
            expected=f"seeds below {EVALUATION_SEED}",
        )


def first_of(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The first column of ``names`` that says something, or None."""
    return next((row[name] for name in names if row.get(name)), None)


def seed_of(row: Mapping[str, Any]) -> int | None:
    """The seed of a world, None for other pictures."""
    seed = row.get("seed")
    try:
        return None if seed is None or isinstance(seed, bool) else int(seed)
    except (TypeError, ValueError):
        return None


def _entries(index: Path, text: str) -> list[tuple[int, Any]]:
    """(line number, JSON text or row already read) for every entry of an index."""
    if index.suffix == ".csv":
        table = csv.DictReader(io.StringIO(text, newline=""))  # a caption may have several lines
        return [(table.line_num, row) for row in table]
    if text.lstrip().startswith("["):
        try:
            return list(enumerate(json.loads(text), start=1))
        except (ValueError, RecursionError) as error:
            raise HackamoreError(
                f"{index} is not JSON", received=str(error), expected="JSON lines, or one array"
            ) from error
    return [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
