"""Which layout training data has, and its examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from hackamore.core.errors import HackamoreError
from hackamore.core.image import exists
from hackamore.core.section import setting
from hackamore.data.pairs import INDEXES
from hackamore.data.settings import DataSettings
from hackamore.data.sources import folders, shards, tables
from hackamore.data.sources.item import SUFFIXES, Item

HOME = Path("~/.cache/hackamore/data")
"""Caches of data that lies in no folder of this machine."""
NONE_FOUND = (
    "prompt.json, metadata.jsonl or metadata.csv, shards (.tar), tables (.parquet, .arrow), pictures/ with hints/, "
    "or pictures alone"
)


def read_items(
    settings: DataSettings, kinds: Sequence[str], progress: Callable[[int, int], None] | None = None
) -> list[Item]:
    """The examples of the data that ``settings`` describes, the first ``limit`` of them, in a settled order.

    Raises :class:`HackamoreError` for data that is missing, empty, of no known layout, or of several.
    """
    layout, folder = find_layout(settings, kinds)
    hint, cache = settings.hint, cache_of(settings)
    if layout == "webdataset":
        found = shards.shards(str(folder or settings.path), cache, kinds, hint, settings.limit, progress)
    elif layout == "datasets":
        found = tables.table(str(folder or settings.path), settings.split, cache, kinds, hint)
    else:
        assert folder is not None
        index = index_of(folder, layout)
        if index is not None:
            found = iter(folders.indexed(folder, index, kinds, hint))
        else:
            found = iter(folders.paired(folder, kinds, hint) if layout == "paired" else folders.alone(folder))
    items = list(islice(found, settings.limit))
    if not items:
        raise HackamoreError(f"{settings.path} holds no pictures", expected=NONE_FOUND)
    return items


def cache_of(settings: DataSettings) -> Path:
    """The folder of the caches: as told, else ``.cache`` beside the data."""
    if settings.cache is not None:
        return at_home(settings.cache)
    name = settings.path.removeprefix(tables.PREFIX)
    if shards.is_address(name) or (settings.path.startswith(tables.PREFIX) and not exists(Path(name))):
        return at_home(HOME)
    path = at_home(Path(name))
    return (path if path.is_dir() else path.parent) / ".cache"


def at_home(path: Path) -> Path:
    """``path`` with its ``~`` or ``~NAME`` replaced. Raises :class:`HackamoreError` where nobody lives there."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise HackamoreError(f"no such data: {path}", received=error, expected="a folder without ~") from error


def find_layout(settings: DataSettings, kinds: Sequence[str]) -> tuple[str, Path | None]:
    """(layout, folder or file) of the data; the second is None for a name, an address and a pattern."""
    told, name = settings.layout, settings.path
    if name.startswith(tables.PREFIX):
        return _agreed(told, "datasets", name), None
    if shards.is_address(name) or ("{" in name and not exists(Path(name))):
        return _agreed(told, "webdataset", name), None
    path = at_home(Path(name))
    if path.is_file():
        return _agreed(told, _of_file(path), name), path.parent if path.name in INDEXES else path
    if not path.is_dir():
        if told == "datasets":
            return told, None
        raise HackamoreError(
            f"no such data: {name}", expected="a folder, shards (a{000..009}.tar), an address, or datasets:NAME"
        )
    if told in ("webdataset", "datasets"):
        return told, path
    folder = _split(path, settings.split)
    if told != "auto":
        if told in ("prompt.json", "imagefolder") and index_of(folder, told) is None:
            expected = told if told == "prompt.json" else "metadata.jsonl or metadata.csv"
            raise HackamoreError(f"{folder} has no index of the layout {told}", expected=expected)
        return told, folder
    return _recognised(folder, kinds, settings.hint), folder


def index_of(folder: Path, layout: str) -> Path | None:
    """The index of a layout that has one."""
    names = {"prompt.json": INDEXES[2:], "imagefolder": INDEXES[:2]}.get(layout, ())
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _of_file(path: Path) -> str:
    if path.name in INDEXES:
        return "prompt.json" if path.name == INDEXES[2] else "imagefolder"
    if path.suffix in (".tar", *tables.FILES):
        return "webdataset" if path.suffix == ".tar" else "datasets"
    raise HackamoreError(f"{path} is no training data", expected=NONE_FOUND)


def _agreed(told: str, found: str, name: str) -> str:
    if told not in ("auto", found):
        raise HackamoreError(
            f"{name} has another layout", received=told, expected=found, remedy=setting("data.layout", "auto")
        )
    return found


def _split(folder: Path, split: str) -> Path:
    """The sub-folder of the split, where an index lies in it and none in the folder itself."""
    inside = [index for name in INDEXES if (index := folder / split / name).is_file()]
    return folder / split if inside and not any((folder / name).is_file() for name in INDEXES) else folder


def _recognised(folder: Path, kinds: Sequence[str], hint: str | None) -> str:
    """The layout that the files of a folder tell. An index wins over folders of pictures, which it names.

    Of two indexes, which tell the same, that with more columns is taken.
    """
    found = [layout for layout in ("imagefolder", "prompt.json") if index_of(folder, layout) is not None][:1]
    if any(folder.glob("*.tar")):
        found.append("webdataset")
    saved = (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file()
    if saved or any(path for suffix in tables.FILES for path in (*folder.glob(f"*{suffix}"), *_data(folder, suffix))):
        found.append("datasets")
    if not found:
        named = any((folder / name).is_dir() for name in (*kinds, *([hint] if hint else [])))
        if named or folders.hints_in(folder):
            found = ["paired"]
        elif any(path.suffix.lower() in SUFFIXES for path in folders.pictures_in(folder).rglob("*")):
            found = ["pictures"]
    if len(found) != 1:
        raise HackamoreError(
            f"{folder} holds data of several layouts" if found else f"{folder} holds no training data",
            expected=f"data.layout, one of {', '.join(found)}" if found else NONE_FOUND,
        )
    return found[0]


def _data(folder: Path, suffix: str) -> list[Path]:
    """Tables in ``data/``, where the hub's repositories keep them."""
    return list((folder / "data").glob(f"*{suffix}"))
