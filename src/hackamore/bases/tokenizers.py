"""Tokenizers for bases that come as single files, found without asking anyone over a network where that can be.

CLIP's vocabulary is looked for in what the user names, beside the file, in an installed package that carries it, and
in the hub's cache; T5's in the same places but for the package.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hackamore.bases.hub import LIBRARIES, is_path, reach
from hackamore.bases.silence import reason, silenced
from hackamore.core.errors import HackamoreError

CLIP_HUB, T5_HUB = "openai/clip-vit-large-patch14", "google/t5-v1_1-xxl"
START, END = "<|startoftext|>", "<|endoftext|>"
CLIP_LENGTH = 77
CARRIERS = ("open_clip", "clip")
"""Packages that carry CLIP's byte pairs."""
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
MERGES = 49_152 - 256 - 2
"""So many of the byte pairs in the file belong to CLIP."""
PARTS = ("tokenizer", "tokenizer_2", "tokenizer_3")
"""Where diffusers' folders have them."""
PATTERNS = (
    "tokenizer.json", "vocab.json", "merges.txt", "spiece.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "tokenizer*/*",
)  # fmt: skip
"""The files of tokenizers in a hub's repository."""


def clip_tokenizer(
    places: Sequence[Path | str], part: str, *, pad: str = END, length: int = CLIP_LENGTH, packages: bool = True
) -> Any:
    """CLIP's tokenizer, padding with ``pad`` (SD 2.x and the second of SDXL and SD3 pad with ``!``).

    ``places``: folders or hub names to look in first; in a folder, ``part`` (``tokenizer_2``) before the others.
    Raises :class:`HackamoreError` saying what to give where it is nowhere.
    """
    from transformers import CLIPTokenizer

    told = {"pad_token": pad, "model_max_length": length}
    found = _first(places, "CLIP", (part, *PARTS), lambda where: _read(CLIPTokenizer, where, **told))
    if found is not None:
        return found
    if packages and (file := packaged_vocabulary()) is not None:
        vocabulary, merges = read_vocabulary(file)
        return CLIPTokenizer(vocab=vocabulary, merges=merges, **told)
    return _published(CLIPTokenizer, CLIP_HUB, "CLIP", "open_clip_torch, which carries one", **told)


def t5_tokenizer(places: Sequence[Path | str], part: str) -> Any:
    """T5's tokenizer, from ``places`` or the hub's cache; see :func:`clip_tokenizer`."""
    from transformers import T5TokenizerFast

    found = _first(places, "T5", (part, *PARTS), lambda where: _read(T5TokenizerFast, where))
    return _published(T5TokenizerFast, T5_HUB, "T5", None) if found is None else found


def at_hand(kind: str, folder: Path) -> bool:
    """Whether a tokenizer of ``kind`` (``CLIP``, ``T5``) is found without being named: for a file in ``folder``."""
    from huggingface_hub import snapshot_download

    if _inside(folder, kind, PARTS) or (kind == "CLIP" and packaged_vocabulary()):
        return True
    name = CLIP_HUB if kind == "CLIP" else T5_HUB
    try:
        return _inside(Path(snapshot_download(name, local_files_only=True)), kind) is not None
    except Exception:  # not in the cache
        return False


def packaged_vocabulary() -> Path | None:
    """CLIP's byte pairs in an installed package, which is not imported; None where no package has them."""
    for package in CARRIERS:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if (file := Path(folder) / VOCABULARY).is_file():
                return file
    return None


def read_vocabulary(file: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """OpenAI's file of byte pairs → token numbers, and the pairs that merge, in order.

    Every byte, every byte at the end of a word, what each merge makes, and the two marks: 49,408 tokens.
    """
    with gzip.open(file, "rt", encoding="utf-8") as opened:
        lines = opened.read().split("\n")[1 : MERGES + 1]
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    letters = byte_letters()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    return {token: number for number, token in enumerate(tokens)}, merges


def byte_letters() -> list[str]:
    """One printable letter for each of the 256 bytes, printable bytes first, as in GPT-2's byte-level encoding."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def _first(places: Sequence[Path | str], kind: str, parts: Sequence[str], read: Callable[[Path], Any]) -> Any:
    """The tokenizer of ``kind`` in the first of ``places`` that has one; None where none has.

    Raises :class:`HackamoreError` for a hub name that is nowhere.
    """
    for place in places:
        folder = Path(place)
        named = isinstance(place, str) and not folder.exists()
        found = _inside(from_hub(str(place), PATTERNS) if named else folder, kind, parts)
        if found is not None:
            return read(found)
    return None


def _inside(folder: Path, kind: str, parts: Sequence[str] = ()) -> Path | None:
    """The tokenizer of ``kind`` in a folder: in the first of ``parts`` that has one, or in the folder itself."""
    found = (folder / part for part in (*dict.fromkeys(parts), "") if kind_of(folder / part) == kind)
    return next(found, None)


def kind_of(folder: Path) -> str | None:
    """``CLIP`` or ``T5``, whose tokenizer ``folder`` has; None where it has no vocabulary of theirs.

    A folder without vocabulary must not be loaded: transformers would quietly make an empty tokenizer of it.
    """
    if (folder / "vocab.json").is_file():
        return "CLIP" if (folder / "merges.txt").is_file() else None
    if (folder / "spiece.model").is_file():
        return "T5"
    try:
        told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["type"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return {"BPE": "CLIP", "Unigram": "T5"}.get(told)


def from_hub(name: str, patterns: Sequence[str]) -> Path:
    """The folder of a hub's repository with the files that fit ``patterns``, from the cache where it is there.

    Raises :class:`HackamoreError` where it is neither there nor to be had.
    """
    from huggingface_hub import snapshot_download

    if is_path(name):
        raise HackamoreError(f"no such file or folder: {name}", expected="one on this machine, or a hub name")
    last: Exception | None = None
    for local in (True, False):
        try:
            with silenced(*LIBRARIES):
                if not local:
                    reach()
                folder = Path(snapshot_download(name, allow_patterns=list(patterns), local_files_only=local))
        except Exception as error:  # no network, no such name, not allowed: all the same to the user
            last = error
            continue
        if not local or any(next(folder.glob(pattern), None) for pattern in patterns):
            return folder
    raise HackamoreError(
        f"{name} is neither a folder nor on this machine, and the hub does not give it",
        received=f"{type(last).__name__}: {str(last).splitlines()[0][:200]}",
        expected="a folder, or the name of a repository that can be reached",
    ) from last


def _read(kind: Any, where: Path, **told: Any) -> Any:
    try:
        return kind.from_pretrained(where, local_files_only=True, **told)
    except Exception as error:  # a damaged folder can fail in any way
        raise _unreadable(where, reason(error)) from error


def _unreadable(where: str | Path, received: str) -> HackamoreError:
    return HackamoreError(
        f"no tokenizer can be loaded from {where}",
        received=received,
        expected="a folder with tokenizer.json (or vocab.json and merges.txt), or a hub name",
    )


def _published(kind: Any, name: str, words: str, carrier: str | None, **told: Any) -> Any:
    """The tokenizer that the hub has under ``name``; an error that says what to give instead where it has not."""
    try:
        folder = _inside(from_hub(name, PATTERNS), words)
    except HackamoreError as error:
        raise HackamoreError(
            f"{words}'s tokenizer is not on this machine",
            expected=f"tokenizer=FOLDER, on the command line --tokenizer FOLDER (one that holds tokenizer.json), "
            f"or the hub's {name} in its cache",
            remedy=f"the package {carrier}" if carrier else None,
        ) from error
    if folder is None:
        raise _unreadable(name, "no tokenizer in it")
    return _read(kind, folder, **told)
