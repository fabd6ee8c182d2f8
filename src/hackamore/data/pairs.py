"""Paired training data on disk: picture, hint, caption."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hackamore.core.errors import HackamoreError

PICTURE_COLUMNS = ("image_file_name", "file_name", "image", "target")
HINT_COLUMNS = ("conditioning_image_file_name", "conditioning_image", "source")
TEXT_COLUMNS = ("text", "prompt", "caption")

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
    index = next((folder / name for name in ("metadata.jsonl", "prompt.json") if (folder / name).is_file()), None)
    if index is None:
        raise HackamoreError(
            f"no training data in {folder}",
            expected="metadata.jsonl (columns image, conditioning_image, text) or prompt.json (source, target, prompt)",
            remedy=f"hackamore world --out {folder} --count 1000",
        )
    pairs = []
    for number, line in enumerate(index.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            picture = folder / _column(row, PICTURE_COLUMNS)
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise HackamoreError(
                f"line {number} of {index} is not understood",
                received=line[:120],
                expected="one JSON object with a picture's file name",
            ) from error
        told = next((row[name] for name in HINT_COLUMNS if row.get(name)), None)
        path = folder / hint / picture.name if hint else (folder / told if told else None)
        text = next((row[name] for name in TEXT_COLUMNS if name in row), "")
        pairs.append(Pair(picture, path, str(text), row.get("seed")))
    if not pairs:
        raise HackamoreError(f"{index} is empty", expected="at least one line")
    return pairs


def training_pairs(folder: Path | str) -> list[Pair]:
    """The pairs of a folder, none of them held out: worlds from ``EVALUATION_SEED`` on are refused."""
    pairs = read_pairs(folder)
    held_out = next((pair for pair in pairs if pair.seed is not None and pair.seed >= EVALUATION_SEED), None)
    if held_out is not None:
        raise HackamoreError(
            f"{folder} holds worlds that are kept for evaluation",
            received=f"seed {held_out.seed}",
            expected=f"seeds below {EVALUATION_SEED}",
        )
    return pairs


def _column(row: dict[str, Any], names: tuple[str, ...]) -> str:
    return str(next(row[name] for name in names if name in row)) if any(n in row for n in names) else row[names[0]]
