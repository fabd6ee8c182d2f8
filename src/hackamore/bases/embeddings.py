"""Textual inversion: words of one's own, each with its learned vectors (Gal et al. 2022)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.bases.exchange import remember
from hackamore.bases.unet import UNetBase
from hackamore.bases.view import view_of
from hackamore.core.errors import HackamoreError
from hackamore.core.weights import ALONE, open_weights

NAMES = {"text_encoder": ("clip_l", "text_encoders_clip_l"), "text_encoder_2": ("clip_g", "text_encoders_clip_g")}
"""Text encoder → what the files for two encoders call its vectors."""
A1111 = "string_to_param."
UNNAMED = ("emb_params", ALONE)
"""Keys that are no words."""


def with_embeddings(base: UNetBase, files: Sequence[Path | str]) -> UNetBase:
    """The same base, which knows the words of the files; ``base`` is unchanged.

    A word is the key of a diffusers file (``<cat-toy>``), else the file's name without its ending; prompts hold it as
    it is written. Raises :class:`HackamoreError` for a file that holds no vectors, vectors of another width, or a word
    that is known already.
    """
    if not isinstance(base, UNetBase):
        received = f"a base of family {base.family}"
        raise HackamoreError("textual-inversion files are read for U-Net bases only", received=received)
    mine = copy.copy(base)
    encoders = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
    encoders = {name: words for name, words in encoders.items() if getattr(base, name) is not None}
    for name, words in encoders.items():
        network = view_of(getattr(base, name))
        network.config = copy.deepcopy(network.config)
        setattr(mine, name, network)
        setattr(mine, words, copy.deepcopy(getattr(base, words)))
    mine.sha256 = dict(base.sha256)
    for file in map(Path, files):
        word, vectors = read_embedding(file, len(encoders))
        for name, words in encoders.items():
            _add(getattr(mine, name), getattr(mine, words), word, vectors[name], file)
        remember(mine.sha256, "embedding", file)
    return mine


def read_embedding(path: Path, encoders: int = 1) -> tuple[str, dict[str, Tensor]]:
    """A file's word, and its vectors n×D for each of the text encoders, by the encoder's name."""
    file, word = open_weights(path), path.stem
    keys = {name: next((key for key in names if key in file.shapes), None) for name, names in NAMES.items()}
    if keys == dict.fromkeys(NAMES):
        keys["text_encoder"] = next((key for key in file.shapes if key.startswith(A1111)), None)
    if keys == dict.fromkeys(NAMES) and len(file.shapes) == 1:
        (keys["text_encoder"],) = file.shapes
        word = path.stem if keys["text_encoder"] in UNNAMED else str(keys["text_encoder"])
    found = {name: key for name, key in keys.items() if key is not None}
    if list(found) != list(NAMES)[:encoders]:
        raise HackamoreError(
            f"{path.name} is no textual inversion for this base",
            received=", ".join(list(file.shapes)[:4]),
            expected="vectors for its text encoder" if encoders == 1 else "vectors clip_l and clip_g (SDXL)",
        )
    for key in found.values():
        shape = file.shapes[key]
        if len(shape) not in (1, 2) or not all(shape):
            raise HackamoreError(f"{path.name} holds no vectors", received=f"{key} {shape}", expected="vectors n×D")
    file.check_floating(found.values())
    read = file.tensors(found.values())
    return word, {name: read[key].reshape(-1, read[key].shape[-1]) for name, key in found.items()}


def _add(network: Any, tokenizer: Any, word: str, vectors: Tensor, file: Path) -> None:
    """Teach the tokenizer ``word``, ``word_1`` … and put their vectors behind the encoder's own."""
    table = network.get_input_embeddings().weight
    if vectors.shape[1] != table.shape[1]:
        raise HackamoreError(
            f"the textual inversion {file.name} does not fit the base",
            received=f"vectors of width {vectors.shape[1]}",
            expected=f"width {table.shape[1]}",
        )
    words = [word, *(f"{word}_{number}" for number in range(1, len(vectors)))]
    known = tokenizer.get_vocab()
    if any(one in known for one in words):
        raise HackamoreError(f"the word {word!r} of {file.name} is known already", remedy="another file name")
    tokenizer.add_tokens(words)
    network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    table = network.get_input_embeddings().weight
    with torch.no_grad():
        for one, vector in zip(words, vectors, strict=True):
            table[tokenizer.convert_tokens_to_ids(one)] = vector.to(table.device, table.dtype)
    network.requires_grad_(False)
