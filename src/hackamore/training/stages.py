"""The stages that make Meadow and what judges it: their settings, and the tasks they make."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt

from hackamore.core.errors import HackamoreError
from hackamore.core.files import sha256
from hackamore.core.image import from_hint
from hackamore.core.section import Section
from hackamore.data.cache import cached, picture_array, stamps
from hackamore.data.pairs import Pair, training_pairs
from hackamore.training.processes import own_device
from hackamore.training.settings import RunSettings
from hackamore.training.trainer import Task
from hackamore.training.watcher import Watcher


class _Stage(Section):
    data: Path
    output: Path
    size: tuple[PositiveInt, PositiveInt] = (128, 128)
    run: RunSettings

    def pictures(self, pairs: list[Pair]) -> Any:
        """The pictures of ``pairs`` as one array N×H×W×3 uint8."""
        return picture_array([pair.picture for pair in pairs], self.size, self.data / ".cache")

    def seen_through(self, name: str, folders: list[Path], pictures: list[Any]) -> list[Any]:
        """All pictures through the autoencoder of the base called ``name``, kept beside them."""
        from hackamore.bases.catalog import load_base

        base, precision = load_base(name, device=own_device(), dtype="fp32", backend="torch"), self.run.precision
        weights = {part: digest for part, digest in base.sha256.items() if part.startswith("vae")}
        made = []
        for folder, some in zip(folders, pictures, strict=True):
            files = stamps([pair.picture for pair in training_pairs(folder)])
            key = ("through", weights, precision, self.size, files)
            made.append(cached(folder / ".cache", key, lambda some=some: _decoded(base, some, precision)))  # type: ignore[misc]
        return made

    def watchers(self, quiet: bool = False) -> list[Watcher]:
        """Who is told how it goes: progress alone; ``quiet``: its warnings."""
        from hackamore.training.watch.progress import Progress

        return [Progress(quiet=quiet)]


class AutoencoderStage(_Stage):
    """Meadow's autoencoder."""

    stage: Literal["autoencoder"]
    crop: int = 64
    init: Path | None = Field(None, description="an autoencoder's folder to go on from, instead of fresh weights")
    encoder: Literal["patches", "joint", "still"] = Field(
        "patches", description="what the encoder learns: the whitened patches, what serves the decoder, or nothing"
    )
    edges: float = Field(0.5, ge=0, description="weight of the gradients, each against its own")
    texture: float = Field(0.0, ge=0, description="weight of the local mean gradient magnitudes")
    roughness: float = Field(
        0.0, ge=0, description="weight of how rough each part of a picture is, against the true one"
    )

    def task(self) -> Task:
        """What it trains, with its data loaded."""
        from hackamore.training.autoencoder import AutoencoderTask, Weights
        from hackamore.training.patches import Patches

        pictures = self.pictures(training_pairs(self.data))
        patches = Patches().fit(pictures)
        weights = Weights(self.edges, self.texture, self.roughness)
        return AutoencoderTask(pictures, patches, self.crop, self.encoder, weights, self.init)


class BaseStage(_Stage):
    """Meadow's text encoder and U-Net."""

    stage: Literal["base"]
    vae: Path | None = Field(None, description="a finished autoencoder's folder, copied beside the U-Net at the end")
    channels: tuple[int, ...] = (64, 128, 192)
    dropout: float = Field(0.1, ge=0, le=1)
    words: int = 1024
    init: Path | None = Field(None, description="a base's folder to go on from, instead of fresh weights")

    def task(self) -> Task:
        """What it trains, with its data loaded."""
        from hackamore.training.autoencoder import Codec
        from hackamore.training.base import BaseTask
        from hackamore.training.patches import Patches
        from hackamore.training.tokenizer import learn_tokenizer

        pairs = training_pairs(self.data)
        captions = [pair.text for pair in pairs]
        pictures = self.pictures(pairs)
        files = stamps([pair.picture for pair in pairs])
        codec: Codec | Patches
        if self.vae is None:
            codec = Patches().fit(pictures)
            key = ("patches", str(float(codec.down.sum())), self.size, files)
        else:
            codec = Codec(self.vae)
            key = ("vae", sha256(self.vae / "diffusion_pytorch_model.safetensors"), self.size, files)
        latents = cached(self.data / ".cache", key, lambda: _encoded(codec, pictures, self.run.precision))
        tokenizer = learn_tokenizer(captions, self.output / "tokenizer", self.words)
        torch.manual_seed(self.run.seed)
        return BaseTask(latents, captions, tokenizer, codec, self.channels, self.dropout, self.vae, self.init)


class DistilStage(_Stage):
    """A LoRA that makes a base's pictures in few steps and without guidance."""

    stage: Literal["distil"]
    base: str = "meadow"
    paths: PositiveInt = Field(6000, description="guided samplings of the base that it learns from")
    few: PositiveInt = Field(4, description="steps of the LoRA")
    many: PositiveInt = Field(20, description="steps of the base")
    guidance: float = Field(3.0, ge=1, description="of the base; the LoRA needs none")
    rank: PositiveInt = 16

    def task(self) -> Task:
        """What it trains, with its paths sampled, each part of them kept as soon as it is there."""
        from hackamore.bases.catalog import load_base
        from hackamore.training.distil import CHUNK, DistilTask, guided_paths

        if self.many % self.few:
            raise HackamoreError("the steps of the base cannot be shared out", received=f"{self.many} over {self.few}")
        base = load_base(self.base, device=own_device(), dtype="fp32", backend="torch")
        captions = [pair.text for pair in training_pairs(self.data)][: self.paths]
        chunks = []
        for first in range(0, len(captions), CHUNK):
            some = captions[first : first + CHUNK]
            key = ("paths", base.sha256, self.few, self.many, self.guidance, some, first)
            seeds = range(first, first + len(some))
            made = (base, some, seeds, self.few, self.many, self.guidance)
            chunks.append(cached(self.output / "paths", key, partial(guided_paths, *made)))
        torch.manual_seed(self.run.seed)
        return DistilTask(base, chunks, captions, self.rank)


class InspectorStage(_Stage):
    """Meadow's inspector."""

    stage: Literal["inspector"]
    more: tuple[Path, ...] = Field((), description="further folders of worlds, beside data")
    through: str | None = Field("meadow", description="a base whose autoencoder two fifths of the pictures go through")
    init: Path | None = Field(None, description="weights to go on from, instead of fresh ones")

    def task(self) -> Task:
        """What it trains, with its data loaded."""
        from hackamore.core.weights import open_weights
        from hackamore.data.truth import read_truths
        from hackamore.training.inspector import InspectorTask

        weights = None if self.init is None else open_weights(self.init).tensors()
        folders = [self.data, *self.more]
        truths = read_truths(folders, self.size)
        seen = None if self.through is None else self.seen_through(self.through, folders, truths.pictures)
        start = None if weights is None else {name: weight.float() for name, weight in weights.items()}
        torch.manual_seed(self.run.seed)
        return InspectorTask(truths, seen, start)


class ReaderStage(_Stage):
    """A small network that reads worlds, for consistency rewards; never the one that judges."""

    stage: Literal["reader"]
    more: tuple[Path, ...] = Field((), description="further folders of worlds, beside data")
    through: str | None = Field("meadow", description="a base whose autoencoder a share of the pictures goes through")

    def task(self) -> Task:
        """What it trains, with its data loaded."""
        from hackamore.data.truth import read_truths
        from hackamore.training.reader_task import ReaderTask

        folders = [self.data, *self.more]
        truths = read_truths(folders, self.size)
        seen = None if self.through is None else self.seen_through(self.through, folders, truths.pictures)
        torch.manual_seed(self.run.seed)
        return ReaderTask(truths, seen)


def _encoded(base: Any, pictures: Any, precision: str = "no") -> Any:
    """All pictures as latents N×C×h×w, fp16; ``precision`` bf16 encodes in it."""
    made = []
    for first in range(0, len(pictures), 64):
        x = torch.from_numpy(np.array(pictures[first : first + 64])).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast(getattr(base, "device", x.device).type, torch.bfloat16, enabled=precision == "bf16"):
            made.append(base.encode(x).float().cpu().numpy().astype(np.float16))
    return np.concatenate(made)


def _decoded(base: Any, pictures: Any, precision: str) -> Any:
    """All pictures through the autoencoder and back, N×H×W×3 uint8."""
    made = np.empty_like(pictures)
    for first in range(0, len(pictures), 32):
        x = torch.from_numpy(np.array(pictures[first : first + 32])).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode(), torch.autocast(base.device.type, torch.bfloat16, enabled=precision == "bf16"):
            seen = base.decode(base.encode(x).float()).float() / 2 + 0.5
        made[first : first + 32] = from_hint(seen)
    return made
