"""One example of training data wherever it lies: in files, inside an archive, or in a table."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from PIL import Image

from hackamore.annotators.catalog import ALIASES, ANNOTATORS
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size, load_picture

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""Endings of picture files."""
OWN = ""
"""The kind of a hint of which the data does not say what kind it is."""
TRANSPOSED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""
_ORIENTATION = 0x0112


class Blob(ABC):
    """Bytes that lie somewhere; most are pictures."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Where they lie, for a sentence."""

    @abstractmethod
    def read(self) -> bytes:
        """All of them. Raises :class:`HackamoreError` when they are not there."""

    def open(self) -> BinaryIO:
        """They as an open file."""
        return BytesIO(self.read())

    def exists(self) -> bool:
        """Whether they are there."""
        return True

    @property
    def stamp(self) -> str | None:
        """What changes when the bytes do, cheap to ask for; None where nothing tells."""
        return None

    @cached_property
    def digest(self) -> str:
        """A hash of the bytes, 32 hexadecimal digits."""
        return hashlib.blake2b(self.read(), digest_size=16).hexdigest()

    def picture(self) -> Picture:
        """They as a picture; one that is missing or damaged is an error that names it."""
        try:
            return load_picture(self.read())
        except HackamoreError as error:
            if self.name in error.what:
                raise
            what = error.what.removeprefix("the picture ")
            raise HackamoreError(
                f"{self.name} {what}", received=error.received, expected=error.expected, remedy=error.remedy
            ) from error

    @cached_property
    def size(self) -> Size:
        """Width and height of the picture as it is shown, from its header."""
        try:
            with self.open() as file, Image.open(file) as opened:
                return (opened.height, opened.width) if self._turned(opened) else opened.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            height, width = self.picture().shape[:2]  # names what is wrong with it
            return width, height

    def _turned(self, opened: Image.Image) -> bool:
        """Whether width and height are exchanged when it is shown."""
        told = {"exif", "xmp", "Raw profile type exif"} & opened.info.keys()
        if opened.format == "PNG" and not told and b"eXIf" not in self.read():
            return False  # asked for its orientation, Pillow would decode all of it
        return opened.getexif().get(_ORIENTATION) in TRANSPOSED


@dataclass(frozen=True)
class File(Blob):
    """A file."""

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    def read(self) -> bytes:
        """Its content."""
        try:
            return self.path.read_bytes()
        except (OSError, ValueError) as error:
            if isinstance(error, FileNotFoundError):
                raise HackamoreError(f"a file of the training data is missing: {self.path}") from error
            raise HackamoreError(f"{self.path} cannot be read", received=error) from error

    def open(self) -> BinaryIO:
        """The file, of which a header is read without the rest."""
        return self.path.open("rb")

    def exists(self) -> bool:
        """Whether there is such a file."""
        return self.path.is_file()

    @property
    def stamp(self) -> str | None:
        """Its place on this machine, its length and when it changed."""
        try:
            told = self.path.stat()
        except OSError:
            return None
        return f"{self.path.resolve()} {told.st_size} {told.st_mtime_ns}"


@dataclass(frozen=True)
class Part(Blob):
    """A stretch of a file: a member of an archive."""

    archive: Path
    offset: int
    length: int
    member: str

    @property
    def name(self) -> str:
        """The archive and the member."""
        return f"{self.archive}: {self.member}"

    def read(self) -> bytes:
        """The stretch."""
        try:
            with self.archive.open("rb") as file:
                file.seek(self.offset)
                return file.read(self.length)
        except OSError as error:
            raise HackamoreError(f"{self.archive} cannot be read", received=error) from error

    @property
    def stamp(self) -> str | None:
        """The archive's, and the stretch."""
        told = File(self.archive).stamp
        return None if told is None else f"{told} {self.offset} {self.length}"


@dataclass(frozen=True)
class Item:
    """One example. ``stem``: its name without folders and ending.

    ``hints`` by kind, ``OWN`` for one that says no kind; ``people``: OpenPose key points; ``caption`` None where there
    is none; ``seed`` and ``attributes`` of a world.
    """

    stem: str
    picture: Blob
    hints: Mapping[str, Blob] = field(default_factory=dict)
    caption: str | None = None
    seed: int | None = None
    people: Blob | None = None
    attributes: Mapping[str, str] | None = None


def kind_of(name: str) -> str:
    """The kind of hint that a folder or column of this name holds; ``OWN`` where the name tells none."""
    name = ALIASES.get(name, name)
    return name if name in ANNOTATORS else OWN


def stem_of(name: str) -> str:
    """A file's name without folders and ending."""
    return PurePosixPath(name.replace("\\", "/")).stem


def caption_of(value: Any) -> str | None:
    """A caption, of several the first; None for what is blank or no text."""
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    return value.strip() or None if isinstance(value, str) else None
