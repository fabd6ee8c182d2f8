"""Textual inversion: words of one's own, each with its learned vectors (Gal et al. 2022)."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.bases.unet import UNetBase
from hackamore.bases.view import view_of
from hackamore.core.errors import HackamoreError
from hackamore.core.files import sha256
from hackamore.core.weights import SAFE, open_weights

NAMES = {"text_encoder": ("clip_l", "text_encoders_clip_l"), "text_encoder_2": ("clip_g", "text_encoders_clip_g")}
"""Text encoder → what the files for two encoders call its vectors."""


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
        mine.sha256[f"embedding/{file.name}"] = sha256(file)
    return mine


def read_embedding(file: Path, encoders: int = 1) -> tuple[str, dict[str, Tensor]]:
    """A file's word, and its vectors n×D for each of the text encoders, by the encoder's name."""
    content = _content(file)
    word = file.stem
    if isinstance(content.get("string_to_param"), Mapping):  # A1111
        content = {"emb_params": next(iter(content["string_to_param"].values()), None)}
    found = {
        name: next((content[key] for key in keys if isinstance(content.get(key), Tensor)), None)
        for name, keys in NAMES.items()
    }
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if found["text_encoder"] is None and found["text_encoder_2"] is None and len(tensors) == 1:
        key, found["text_encoder"] = next(iter(tensors.items()))
        word = word if key == "emb_params" else str(key)
    vectors = {name: value for name, value in found.items() if value is not None}
    wanted = list(NAMES)[:encoders]
    if set(vectors) != set(wanted):
        raise HackamoreError(
            f"{file.name} is no textual inversion for this base",
            received=", ".join(map(str, list(content)[:4])) or "nothing",
            expected="vectors for its text encoder" if encoders == 1 else "vectors clip_l and clip_g (SDXL)",
        )
    return word, {name: value.reshape(-1, value.shape[-1]) for name, value in vectors.items()}


def _content(file: Path) -> Mapping[str, Any]:
    """The file's table; a pickle is read as plain values and tensors, and nothing in it is run."""
    if file.suffix.lower() in SAFE or not file.is_file():
        opened = open_weights(file)
        return opened.tensors(opened.shapes)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can fail in any way
        code = isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error)
        raise HackamoreError(
            f"{file} holds code beside its vectors, which was not run" if code else f"{file} is damaged",
            received=f"{type(error).__name__}",
            expected="tensors alone",
        ) from error
    return content if isinstance(content, Mapping) else {"emb_params": content}


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
