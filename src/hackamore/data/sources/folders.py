"""Pictures in folders: told by an index, beside a folder of hints, or alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hackamore.core.errors import HackamoreError
from hackamore.data.pairs import HINT_COLUMNS, INDEXES, PICTURE_COLUMNS, TEXT_COLUMNS, first_of, read_rows, seed_of
from hackamore.data.sources.item import OWN, SUFFIXES, File, Item, caption_of, kind_of

PICTURE_FOLDERS = ("pictures", "images", "target")
HINT_FOLDERS = (
    "hints", "hint", "conditioning", "conditioning_images", "conditioning_image", "control", "controls", "source",
)  # fmt: skip
RUN = "log.jsonl"
"""A folder with this in it is of a training; its pictures are no data."""
TEXT_FOLDERS = ("captions", "texts", "prompts")


def indexed(folder: Path, index: Path, kinds: Sequence[str], hint: str | None) -> list[Item]:
    """The examples that an index names. Hints: sub-folders named as a kind or as ``hint``, else the index's own.

    ``hint`` may also name a column of the index.
    """
    rows = read_rows(index)
    seeds = _seeds(folder) if index.name == "prompt.json" else {}
    if hint is not None and not (folder / hint).is_dir() and not any(hint in row for row in rows):
        raise HackamoreError(
            f"{folder} has no hints called {hint}",
            expected=f"a sub-folder {folder / hint}, or a column of {index.name}: {', '.join(rows[0])}",
        )
    items = []
    for row in rows:
        name = str(first_of(row, PICTURE_COLUMNS))
        picture = folder / name
        items.append(
            Item(
                picture.stem,
                File(picture),
                _hints(folder, picture.name, row, kinds, hint),
                caption_of(first_of(row, TEXT_COLUMNS)),
                seeds.get(picture.name) if seed_of(row) is None else seed_of(row),
                _people(folder, picture.stem),
                row.get("attributes") if isinstance(row.get("attributes"), dict) else None,
            )
        )
    return items


def paired(folder: Path, kinds: Sequence[str], hint: str | None) -> list[Item]:
    """Pictures of one sub-folder, hints of the same names in another, captions in ``.txt`` files of the same names."""
    root = pictures_in(folder)
    told = [folder / hint] if hint is not None else hints_in(folder)
    by_kind = {kind: folder / kind for kind in kinds if (folder / kind).is_dir() and folder / kind not in told}
    sources = dict.fromkeys([hint or OWN], told[0]) if told else {}
    absent = [path for path in told if not path.is_dir()]
    if absent or (hint is None and len(told) > 1) or not (told or by_kind):
        raise HackamoreError(
            f"it is not clear where the hints of {folder} are",
            received=", ".join(path.name for path in told) or "no folder of hints",
            expected=f"one of {', '.join(HINT_FOLDERS)}, or data.hint naming the sub-folder",
        )
    files = {name: _files(path) for name, path in (sources | by_kind).items()}
    apart = {path for hints in files.values() for path in hints.values()}  # below the pictures' own folder they may lie
    pictures = _files(root, apart)
    return [_plain(folder, place, path, files) for place, path in sorted(pictures.items())]


def alone(folder: Path) -> list[Item]:
    """Pictures without hints, captions in ``.txt`` files beside them."""
    root = pictures_in(folder)
    return [_plain(folder, place, path, {}) for place, path in sorted(_files(root).items())]


def pictures_in(folder: Path) -> Path:
    """The folder that the pictures of ``folder`` lie in: a sub-folder of a usual name, or itself."""
    found = [folder / name for name in PICTURE_FOLDERS if (folder / name).is_dir()]
    if not found or any(path.suffix.lower() in SUFFIXES for path in folder.iterdir()):
        found = [folder, *found]
    if len(found) > 1:
        raise HackamoreError(
            f"it is not clear where the pictures of {folder} are",
            received=", ".join("the folder itself" if path == folder else path.name for path in found),
            expected=f"pictures in one place: {', '.join(PICTURE_FOLDERS)}, or the folder itself",
        )
    return found[0]


def hints_in(folder: Path) -> list[Path]:
    """The sub-folders of ``folder`` whose names are usual for hints."""
    return [folder / name for name in HINT_FOLDERS if (folder / name).is_dir()]


def _plain(folder: Path, place: str, path: Path, hints: dict[str, dict[str, Path]]) -> Item:
    beside = [path.with_suffix(".txt"), path.with_suffix(".caption")]
    beside += [folder / name / f"{place}.txt" for name in TEXT_FOLDERS]
    text = next((file for file in beside if file.is_file()), None)
    found = {kind: File(files[place]) for kind, files in hints.items() if place in files}
    return Item(path.stem, File(path), found, _read(text), people=_people(folder, place))


def _read(path: Path | None) -> str | None:
    try:
        return None if path is None else caption_of(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise HackamoreError(f"the caption {path} cannot be read", received=error, expected="UTF-8 text") from error


def _files(root: Path, apart: Collection[Path] = ()) -> dict[str, Path]:
    """Path below ``root`` without ending → picture file, but for those ``apart``. Two of one name are an error."""
    found: dict[str, Path] = {}
    runs = [log.parent for log in root.rglob(RUN)]
    for path in sorted(root.rglob("*")):
        if any(path.is_relative_to(run) for run in runs):
            continue
        inside = path.relative_to(root)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.suffix.lower() not in SUFFIXES or hidden or path in apart:
            continue
        name = inside.with_suffix("").as_posix()
        if name in found:
            raise HackamoreError(f"two pictures have one name: {found[name]} and {path}", remedy="remove one of them")
        found[name] = path
    return found


def _hints(folder: Path, name: str, row: dict[str, Any], kinds: Sequence[str], hint: str | None) -> dict[str, File]:
    if hint is not None:
        inside = (folder / hint).is_dir()
        told = f"{hint}/{name}" if inside else row.get(hint)
        return {hint: File(folder / str(told))} if told else {}
    found = {kind: File(folder / kind / name) for kind in kinds if (folder / kind).is_dir()}
    found |= {kind: File(folder / row[kind]) for kind in kinds if kind not in found and isinstance(row.get(kind), str)}
    own = first_of(row, HINT_COLUMNS)
    if own:
        path = folder / str(own)
        found.setdefault(kind_of(path.parent.name), File(path))
    return found


def _people(folder: Path, stem: str) -> File | None:
    path = folder / "people" / f"{stem}.json"
    return File(path) if path.is_file() else None


def _seeds(folder: Path) -> dict[str, int]:
    """Picture name → seed, from the index of worlds that lies beside an official one, which tells no seeds."""
    index = folder / INDEXES[0]
    rows = read_rows(index) if index.is_file() else []
    told = ((Path(str(first_of(row, PICTURE_COLUMNS))).name, seed_of(row)) for row in rows)
    return {name: seed for name, seed in told if seed is not None}
