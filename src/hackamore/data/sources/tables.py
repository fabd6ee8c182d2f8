"""Tables of the ``datasets`` library: hub names, parquet files, folders that it saved."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hackamore.core.errors import HackamoreError
from hackamore.core.extras import require
from hackamore.core.section import setting
from hackamore.data.pairs import HINT_COLUMNS, PICTURE_COLUMNS, TEXT_COLUMNS, seed_of
from hackamore.data.sources.item import OWN, Blob, File, Item, caption_of, kind_of, stem_of

PREFIX = "datasets:"
FILES = (".parquet", ".arrow")
SPLITS = ("train", "test", "validation", "valid", "val", "dev", "eval")
"""What folders and files of splits are called, beside files that are numbered: ``NAME-00000-of-00002.parquet``."""


@dataclass(frozen=True, eq=False)
class Cell(Blob):
    """A picture in a table: its bytes, or the path of its file."""

    table: Any
    row: int
    column: str

    @property
    def name(self) -> str:
        """The row and the column."""
        return f"row {self.row}, column {self.column}"

    def read(self) -> bytes:
        """The picture's bytes."""
        return _bytes(self.table[self.row][self.column], self.name)


def table(path: str, split: str, cache: Path, kinds: Sequence[str], hint: str | None) -> Iterator[Item]:
    """The examples of a table: ``datasets:NAME``, ``datasets:FOLDER``, a parquet or arrow file, or a folder of them."""
    rows = _open(path.removeprefix(PREFIX), split, cache)
    names = list(rows.column_names)
    picture = next((name for name in PICTURE_COLUMNS if name in names), None)
    if picture is None or (hint is not None and hint not in names):
        raise HackamoreError(
            f"{path} has no column {hint if picture else 'of pictures'}",
            received=", ".join(names),
            expected=", ".join(names if picture else PICTURE_COLUMNS),
        )
    text = next((name for name in TEXT_COLUMNS if name in names), None)
    hints = {hint: hint} if hint is not None else {kind: kind for kind in kinds if kind in names}
    own = next((name for name in HINT_COLUMNS if name in names), None)
    if hint is None:
        hints |= {OWN: own} if own else {}
        hints |= {kind_of(name): name for name in names if kind_of(name) and kind_of(name) not in hints}
    images = list(dict.fromkeys([picture, *hints.values()]))
    columns = {name: _undecoded(rows, name) for name in images}
    words = rows.remove_columns(images)
    for place, (stem, row) in enumerate(zip(_stems(columns[picture], picture), _rows(words, len(rows)), strict=True)):
        yield Item(
            stem,
            Cell(columns[picture], place, picture),
            {kind: Cell(columns[name], place, name) for kind, name in hints.items()},
            caption_of(row[text]) if text else None,
            seed_of(row),
            None,
            row.get("attributes") if isinstance(row.get("attributes"), dict) else None,
        )


def _open(path: str, split: str, cache: Path) -> Any:
    datasets = require("datasets", "train", "reading tables of the datasets library")
    folder = Path(path)
    with _quiet(datasets):
        try:
            if folder.is_file():
                return _files(datasets, [folder], cache)
            if not folder.is_dir():
                return _named(datasets, path, split)
            if (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file():
                saved = datasets.load_from_disk(str(folder))
                if isinstance(saved, datasets.DatasetDict) and split not in saved:
                    raise _no_split(path, split, saved)
                return saved[split] if isinstance(saved, datasets.DatasetDict) else saved
            return _files(datasets, _of_split(folder, split), cache)
        except HackamoreError:
            raise
        except Exception as error:  # the library raises many kinds, each for one of its formats
            raise HackamoreError(
                f"{path} cannot be opened as a table of the datasets library, split {split}",
                received=f"{type(error).__name__}: {error}",
                expected="a folder, a parquet file, or a name that the hub or this machine's cache has",
            ) from error


def _named(datasets: Any, path: str, split: str) -> Any:
    """A split, or an expression of splits, of a name that the library knows."""
    try:
        return datasets.load_dataset(path, split=split)
    except ValueError:
        try:
            known = list(datasets.load_dataset(path))  # of what is fetched by now
        except Exception:  # the split was not what was wrong
            known = []
        if not known or split in known:
            raise
        raise _no_split(path, split, known) from None


def _of_split(folder: Path, split: str) -> list[Path]:
    """The files of a folder that belong to a split; all of them where none is called by any."""
    found = [file for file in sorted(folder.rglob("*")) if file.suffix in FILES]
    mine = [file for file in found if split in (*file.relative_to(folder).parts[:-1], file.stem.split("-")[0])]
    if mine:
        return mine
    names = {name for file in found for name in (*file.relative_to(folder).parts[:-1], file.stem) if name in SPLITS}
    names |= {told[1] for file in found if (told := re.fullmatch(r"(.+?)-\d+-of-\d+.*", file.stem))}
    if names:
        raise _no_split(str(folder), split, names)
    return found


def _no_split(path: str, split: str, known: Iterable[str]) -> HackamoreError:
    names = sorted(known)
    remedy = setting("data.split", names[0])
    return HackamoreError(f"{path} has no split {split}", expected=f"one of {', '.join(names)}", remedy=remedy)


def _files(datasets: Any, files: list[Path], cache: Path) -> Any:
    kinds = {file.suffix for file in files}
    if kinds == {".arrow"}:
        return datasets.concatenate_datasets([datasets.Dataset.from_file(str(file)) for file in files])
    if kinds != {".parquet"}:
        expected = "files .parquet, or files .arrow"
        raise HackamoreError("no table", received=", ".join(sorted(kinds)) or "no such file", expected=expected)
    names = [str(file.resolve()) for file in files]
    return datasets.load_dataset("parquet", data_files=names, split="train", cache_dir=str(cache / "tables"))


def _undecoded(rows: Any, name: str) -> Any:
    """One column, its pictures as they are stored: bytes or paths."""
    datasets = require("datasets", "train", "reading tables of the datasets library")
    column = rows.select_columns([name])
    decoded = isinstance(column.features[name], datasets.Image)
    return column.cast_column(name, datasets.Image(decode=False)) if decoded else column


def _rows(words: Any, count: int) -> Iterator[dict[str, Any]]:
    """The rows without their pictures; empty ones where the table holds nothing else."""
    return iter(words) if words.column_names else iter([{}] * count)


def _stems(column: Any, name: str) -> Iterator[str]:
    """Each picture's name where the table knows it, else its row's number; no picture's bytes are copied."""
    place = 0
    for batch in column.with_format("arrow").iter(1000):
        values = batch.column(name).combine_chunks()
        if hasattr(values, "field") and "path" in [field.name for field in values.type]:
            values = values.field("path")
        paths = values.to_pylist() if str(values.type) in ("string", "large_string") else [None] * len(values)
        for path in paths:
            yield stem_of(path) if path else f"{place:08d}"
            place += 1


def _bytes(told: Any, name: str) -> bytes:
    if isinstance(told, dict):
        told = told.get("bytes") or told.get("path")
    if isinstance(told, str):
        return File(Path(told)).read()
    if not isinstance(told, bytes):
        raise HackamoreError(f"{name} holds no picture", received=type(told).__name__, expected="a picture's bytes")
    return told


@contextlib.contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Inside, the library shows no bars of its own."""
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
