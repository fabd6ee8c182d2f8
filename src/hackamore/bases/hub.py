"""Bases by hub name, ``owner/repository``: only the files that are needed, from the local cache where they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from threading import Thread
from typing import Any

from hackamore.bases.silence import silenced
from hackamore.core.errors import HackamoreError
from hackamore.core.weights import SUFFIXES

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_WEIGHTS = (".safetensors", ".bin")
_PLAIN = (".json", ".txt", ".model")
PARTS = ("unet", "transformer", "vae", "text_encoder", "tokenizer", "scheduler")

LIBRARIES = ("huggingface_hub", "httpx", "httpx2")
"""Whose loggers tell of every attempt to reach the hub."""
PATIENCE = 4.0
"""Seconds that the hub has to answer at all, before anything is asked of it."""


def is_path(name: str) -> bool:
    """Whether ``name`` means a place on this machine, there or not.

    So it ends as weights do, begins with a folder that exists, or is no plain ``owner/repository`` but has folders.
    """
    first, *rest = re.split(r"[/\\]", name)
    folders = bool(rest) and (not _NAME.fullmatch(name) or Path(first).is_dir())
    return folders or name.lower().endswith(SUFFIXES)


def is_hub_name(name: str) -> bool:
    """Whether ``name`` has the form ``owner/repository`` and does not mean a path."""
    return bool(_NAME.fullmatch(name)) and not is_path(name)


def reach() -> None:
    """Ask the hub for a sign of life, once; raises whatever keeps it from answering within :data:`PATIENCE`.

    The hub's own calls try again for half a minute, so they begin only where this one has passed.
    """
    from huggingface_hub import constants, get_session

    failed: list[Exception] = [TimeoutError(f"no answer within {PATIENCE:g} seconds")]

    def ask() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=PATIENCE)
            failed.clear()
        except Exception as error:  # no network, no such host, offline by choice: all the same here
            failed.insert(0, error)

    asking = Thread(target=ask, daemon=True)  # looking up a host's name heeds no timeout
    asking.start()
    asking.join(PATIENCE)
    if failed:
        raise failed[0]


def snapshot(name: str) -> Path:
    """The folder of a published base: the cached one if it is whole, else downloaded.

    Raises :class:`HackamoreError` when it is not cached and cannot be downloaded.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
        if is_whole(folder):
            return folder
    except Exception:
        pass  # not cached: it is downloaded
    try:
        with silenced(*LIBRARIES):
            reach()
            wanted = needed(HfApi().list_repo_files(name))
            if wanted:
                return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:
        raise HackamoreError(
            f"{name} is no folder here, is not whole in the local cache, and cannot be downloaded",
            received=f"{type(error).__name__}: {str(error).splitlines()[0][:150]}",
            expected="a name of a public base and a network, or a folder or file on this machine",
        ) from error
    raise HackamoreError(f"{name} is no base in diffusers' layout", expected="a repository with model_index.json")


def needed(names: Iterable[str]) -> list[str]:
    """Of a repository's files, those that a base is read from: of each part one set of weights, whole before fp16,
    safetensors before pickles.
    """
    names = sorted(names)
    if "model_index.json" not in names:
        return []
    wanted = ["model_index.json"]
    folders: dict[str, list[str]] = {}
    for name in names:
        folder, _, file = name.partition("/")
        if file and "/" not in file and folder.rstrip("_23") in PARTS:
            folders.setdefault(folder, []).append(name)
    for files in folders.values():
        wanted += [name for name in files if name.endswith(_PLAIN) and not _variant(name)]
        weights = [name for name in files if name.endswith(_WEIGHTS) and not _foreign(name)]
        choices = [
            [name for name in weights if name.endswith(ending) and _variant(name) == variant]
            for ending in _WEIGHTS
            for variant in ("", "fp16")
        ]
        index = [name for name in files if name.endswith(".index.json")]
        wanted += next((choice for choice in choices if choice), []) + [one for one in index if one not in wanted]
    return wanted


def is_whole(folder: Path) -> bool:
    """Whether a cached folder has every part that its ``model_index.json`` names, networks with weights."""
    try:
        index: dict[str, Any] = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    for part, told in index.items():
        if part.rstrip("_23") not in PARTS or not isinstance(told, list) or told[0] is None:
            continue
        if not (folder / part).is_dir():
            return False
        network = not part.startswith(("tokenizer", "scheduler"))
        if network and not any(file.suffix in _WEIGHTS and file.exists() for file in (folder / part).iterdir()):
            return False
    return True


def _variant(name: str) -> str:
    """``fp16`` and the like, between the name and its ending; empty for whole weights."""
    found = re.search(r"\.(fp16|bf16|non_ema|ema)(?:-\d+-of-\d+)?\.", name)
    return found[1] if found else ""


def _foreign(name: str) -> bool:
    """Weights in other programs' formats that have the same endings."""
    return any(word in name for word in ("openvino", "flax", "tf_model", "onnx"))
