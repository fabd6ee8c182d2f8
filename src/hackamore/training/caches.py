"""Latents and text embeddings of training data: encoded once and kept, or encoded when they are asked for."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hackamore.bases.base import Base, Text
from hackamore.bases.weighting import literal
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size
from hackamore.core.section import setting
from hackamore.data.dataset import Dataset
from hackamore.data.shelf import ROWS, Shelf
from hackamore.training.calm import autocast

Progress = Callable[[int, int], None]
"""How many are done, how many there are."""
ENCODED = 16
"""Pictures, or captions, that are encoded at a time."""
OTHERS = ("unet/", "transformer/", "vae/")
"""Files of a base that do not read text."""


class Latents:
    """The latents of a data set's pictures; from a shelf where there is one, else encoded when they are read."""

    def __init__(self, dataset: Dataset, base: Base, precision: str, shelf: Shelf | None) -> None:
        self.dataset, self.base, self.precision, self.shelf = dataset, base, precision, shelf

    def read(self, places: Sequence[int], variants: Sequence[int] | None = None) -> Tensor:
        """Latents N×C×h×w float32 on the CPU, of examples of one size; ``variants``: each one's, 0 when absent."""
        variants = [0] * len(places) if variants is None else variants
        where = [(int(place), int(variant)) for place, variant in zip(places, variants, strict=True)]
        if self.shelf is None:
            return self._encode(where).float()
        keys = [self.dataset.fingerprint(*one) for one in where]
        for k in self.shelf.missing(keys):  # each alone: what it is must not depend on its company
            self.shelf.add(keys[k], {"latents": self._encode([where[k]])[0]})
        return torch.stack([row["latents"] for row in self.shelf.read(keys)])

    def flush(self) -> None:
        """Write what was encoded and is not on the disk yet."""
        if self.shelf is not None:
            self.shelf.flush()

    def _encode(self, where: Sequence[tuple[int, int]]) -> Tensor:
        with ThreadPoolExecutor() as pool:
            pictures = list(pool.map(lambda one: self.dataset.picture(*one), where))
        return encode(self.base, pictures, self.precision)


class Texts:
    """What a base reads in captions; from a shelf where there is one, else encoded when it is read.

    ``empty``: what it reads in no caption, one row, on the CPU.
    """

    def __init__(self, captions: Sequence[str], base: Base, shelf: Shelf | None, sizes: Sequence[Size]) -> None:
        self.captions, self.base, self.shelf = list(captions), base, shelf
        self.sizes = [sizes[0]] * len(self.captions) if len(sizes) == 1 else list(sizes)
        self._told = {size: _cpu(base.encode_text([""], size=size)) for size in dict.fromkeys([*sizes])}
        first = self.sizes[0]
        other = base.encode_text([""], size=(first[0] + base.multiple, first[1])).added
        self._sized = [
            name for name, said in self._told[first].added.items() if not torch.equal(said, _on(other[name]))
        ]
        """What depends on a picture's size and not on its words."""
        self.empty = self._told[first]

    def read(self, places: Sequence[int]) -> Text:
        """The captions at ``places``, float32 on the CPU; longer ones than the base reads at a time are cut."""
        chosen = [int(place) for place in places]
        captions = [self.captions[place] for place in chosen]
        if self.shelf is None:
            read = self._encode(captions)
            rows = [{name: part[row] for name, part in read.items()} for row in range(len(captions))]
        else:
            keys = [caption_key(caption) for caption in captions]
            for k in self.shelf.missing(keys):
                self.shelf.add(keys[k], {name: part[0] for name, part in self._encode([captions[k]]).items()})
            rows = self.shelf.read(keys)
        parts = {name: torch.stack([row[name] for row in rows]).float() for name in rows[0]}
        tokens = parts.pop("tokens")
        added = {name: part for name, part in parts.items() if name not in self._sized}
        for name in self._sized:
            added[name] = torch.cat([self._told[self.sizes[place]].added[name] for place in chosen])
        return Text(tokens, {name: added[name] for name in self.empty.added})

    def empty_at(self, places: Sequence[int]) -> Text:
        """No caption, a row for each of ``places``, as large as its picture where a base is told that."""
        told = [self._told[self.sizes[int(place)]] for place in places]
        added = {name: torch.cat([one.added[name] for one in told]) for name in self.empty.added}
        return Text(self.empty.tokens.expand(len(told), -1, -1), added)

    def flush(self) -> None:
        """Write what was encoded and is not on the disk yet."""
        if self.shelf is not None:
            self.shelf.flush()

    def _encode(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Captions as they are, brackets and colons without a meaning, by name of what is told."""
        text = self.base.encode_text([literal(caption) for caption in captions], size=self.sizes[0])
        length = self.empty.tokens.shape[1]
        return {"tokens": text.tokens[:, :length].cpu()} | {name: part.cpu() for name, part in text.added.items()}


def latents_of(
    dataset: Dataset,
    base: Base,
    precision: str = "no",
    folder: Path | None = None,
    *,
    ahead: bool = True,
    progress: Progress | None = None,
    rows: int = ROWS,
) -> Latents:
    """The latents of all pictures of ``dataset`` in all their variants, kept in ``folder``; None keeps nothing.

    They are kept by the contents and the cut of the pictures, by what the base's autoencoder is and by ``precision``
    ("no", "bf16", "fp16": what it computes in), so that only pictures that are new are encoded. They are written shard
    by shard, ``rows`` at most in each: after a kill the rest is encoded. ``ahead``: all of them at once, else each when
    it is read first. ``progress``: rows done, rows in all.
    """
    if folder is None:
        return Latents(dataset, base, precision, None)
    _check_written(folder)
    shelf = Shelf(folder / "latents" / _named(autoencoder_key(base), precision, str(base.dtype)))
    latents = Latents(dataset, base, precision, shelf)
    if not ahead:
        return latents
    where = [(place, variant) for variant in range(dataset.variants) for place in range(len(dataset))]
    keys = [dataset.fingerprint(*one) for one in where]
    groups = [
        [variant * len(dataset) + int(place) for place in group]
        for variant in range(dataset.variants)
        for group in dataset.groups
    ]

    def make(numbers: list[int]) -> dict[str, Tensor]:
        return {"latents": latents._encode([where[number] for number in numbers])}

    shelf.fill(keys, groups, make, batch=ENCODED, rows=rows, progress=progress)
    return latents


def texts_of(
    captions: Sequence[str],
    base: Base,
    folder: Path | None = None,
    *,
    sizes: Sequence[Size] = (),
    ahead: bool = True,
    progress: Progress | None = None,
    rows: int = ROWS,
) -> Texts:
    """What ``base`` reads in ``captions``, each distinct one kept once in ``folder``; None keeps nothing.

    ``sizes``: (width, height) of each caption's picture, or one for all, for bases that are told it; by default the
    base's own size. The rest as :func:`latents_of`.
    """
    sizes = sizes or [base.size]
    if folder is None:
        return Texts(captions, base, None, sizes)
    shelf = Shelf(folder / "texts" / _named(reader_key(base), str(base.dtype), str(getattr(base, "clip_skip", 0))))
    texts = Texts(captions, base, shelf, sizes)
    if not ahead:
        return texts
    unique = list(dict.fromkeys(captions))

    def make(numbers: list[int]) -> dict[str, Tensor]:
        return texts._encode([unique[number] for number in numbers])

    keys = [caption_key(caption) for caption in unique]
    shelf.fill(keys, [range(len(unique))], make, batch=ENCODED, rows=rows, progress=progress)
    return texts


def encode(base: Base, pictures: Sequence[Picture], precision: str = "no") -> Tensor:
    """Pictures of one size, H×W×3 uint8 → latents N×C×h×w on the CPU; ``precision`` is what it computes in."""
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad(), autocast(base.device, precision):
        return base.encode(x).cpu()


def caption_key(caption: str) -> str:
    """The key of a caption, 32 hexadecimal digits."""
    return hashlib.blake2b(caption.encode(), digest_size=16).hexdigest()


def _check_written(folder: Path) -> None:
    """Raise :class:`HackamoreError` for a folder that takes no files, before anything is made for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise HackamoreError(
            f"the caches cannot be written to {folder}",
            received=error.strerror or str(error),
            remedy=f"{setting('data.cache', 'FOLDER')}, or {setting('memory.cache', False)}",
        ) from error


def autoencoder_key(base: Any) -> str:
    """A hash of what a base's autoencoder is: its weights, its configuration, and the tiles that it works in."""
    config = {name: value for name, value in dict(base.vae.config).items() if not name.startswith("_")}
    mine = {name: digest for name, digest in base.sha256.items() if name.startswith("vae/") or "/" not in name}
    told = [mine or _weights([base.vae]), config, str(base.vae.dtype)]
    if getattr(base.vae, "use_tiling", False):  # seams change the latents
        told.append({name: value for name, value in sorted(vars(base.vae).items()) if name.startswith("tile_")})
    return _named(json.dumps(told, sort_keys=True, default=str))


def reader_key(base: Any) -> str:
    """A hash of what a base reads text with: every file but those of the denoiser and the autoencoder."""
    mine = {name: digest for name, digest in base.sha256.items() if not name.startswith(OTHERS)}
    networks = [part for name, part in base.parts().items() if name.startswith("text_encoder")]
    return _named(json.dumps([mine or _weights(networks), base.family, base.options], sort_keys=True, default=str))


def _weights(networks: Sequence[Any]) -> str:
    """A hash of the weights themselves, for a base that does not know its files."""
    digest = hashlib.sha256()
    for network in networks:
        for name, weight in network.state_dict().items():
            digest.update(name.encode() + weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _named(*parts: str) -> str:
    return hashlib.blake2b("\n".join(("1", *parts)).encode(), digest_size=12).hexdigest()


def _on(value: Tensor) -> Tensor:
    return value.detach().cpu()


def _cpu(text: Text) -> Text:
    added: Mapping[str, Tensor] = text.added
    return Text(_on(text.tokens).float(), {name: _on(part).float() for name, part in added.items()})
