"""Folders on the command line: one picture for each file, in the order of their names."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from hackamore.core.errors import HackamoreError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".json")
"""What is taken from a folder: pictures, and key points of poses."""


def files_of(source: Path) -> list[Path] | None:
    """The pictures of a folder in the order of their names; None for what is no folder.

    Raises :class:`HackamoreError` for a folder that holds none.
    """
    from hackamore.core.image import exists

    if not exists(source) or not source.is_dir():
        return None
    files = sorted(file for file in source.iterdir() if file.suffix.lower() in ENDINGS and file.name[0] != ".")
    if not files:
        raise HackamoreError(f"the folder {source} holds no pictures", expected=", ".join(ENDINGS))
    return files


def count_of(sources: Sequence[Path], num: int | None) -> tuple[int, list[str]]:
    """How many pictures are made of ``sources`` and ``num``, and what they are called where folders say so.

    Folders side by side must hold files of the same names, their endings aside, so that what belongs together is
    together; ``num``, where it is given, must be their number.
    """
    folders = [(source, files) for source in sources if (files := files_of(source)) is not None]
    if not folders:
        return (1 if num is None else num), []
    first, names = folders[0][0], [file.stem for file in folders[0][1]]
    twice = next((name for name, after in pairwise(names) if name == after), None)
    if twice is not None:
        raise HackamoreError(f"the folder {first} holds {twice} twice", expected="names that differ before the ending")
    for folder, files in folders[1:]:
        stems = [file.stem for file in files]
        if stems != names:
            odd = sorted(set(stems) ^ set(names))
            raise HackamoreError(
                f"the folders {first} and {folder} do not belong together",
                received=f"{len(odd)} names in one of them alone, such as {odd[0]}" if odd else "another order",
                expected="files of the same names",
            )
    if num is not None and num != len(names):
        raise HackamoreError(
            "--num is not the number of pictures in the folder", received=num, expected=f"{len(names)}, as in {first}"
        )
    return len(names), names


def each_of(source: Path) -> list[Path]:
    """The files of a folder, or the file itself."""
    return files_of(source) or [source]
