"""What ``hackamore train CONFIG.toml`` runs: a stage, its settings, and the task they make."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hackamore.core.errors import HackamoreError
from hackamore.core.image import from_hint
from hackamore.data.cache import cached, picture_array, stamps
from hackamore.data.pairs import Pair, training_pairs
from hackamore.training.settings import RunSettings
from hackamore.training.trainer import Task


class _Stage(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path
    output: Path
    size: tuple[int, int] = (128, 128)
    run: RunSettings

    def pictures(self, pairs: list[Pair]) -> Any:
        """The pictures of ``pairs`` as one array N×H×W×3 uint8."""
        return picture_array([pair.picture for pair in pairs], self.size, self.data / ".cache")


class AutoencoderStage(_Stage):
    """Meadow's autoencoder."""

    stage: Literal["autoencoder"]
    crop: int = 64

    def task(self) -> Task:
        """What it trains, with its data loaded."""
        from hackamore.training.autoencoder import AutoencoderTask
        from hackamore.training.patches import Patches

        pictures = self.pictures(training_pairs(self.data))
        return AutoencoderTask(pictures, Patches().fit(pictures), self.crop)


class BaseStage(_Stage):
    """Meadow's text encoder and U-Net."""

    stage: Literal["base"]
    vae: Path | None = Field(None, description="a finished autoencoder's folder, copied beside the U-Net at the end")
    channels: tuple[int, ...] = (64, 128, 192)
    dropout: float = Field(0.1, ge=0, le=1)
    words: int = 1024

    def task(self) -> Task:
        """What it trains, with its data loaded."""
        from hackamore.training.base import BaseTask
        from hackamore.training.patches import Patches
        from hackamore.training.tokenizer import learn_tokenizer

        pairs = training_pairs(self.data)
        captions = [pair.text for pair in pairs]
        pictures = self.pictures(pairs)
        patches = Patches().fit(pictures)
        key = ("patches", float(patches.down.sum()), self.size, stamps([pair.picture for pair in pairs]))
        latents = cached(self.data / ".cache", key, lambda: _encoded(patches, pictures))
        tokenizer = learn_tokenizer(captions, self.output / "tokenizer", self.words)
        torch.manual_seed(self.run.seed)
        return BaseTask(latents, captions, tokenizer, patches, self.channels, self.dropout, self.vae)


class ControlStage(_Stage):
    """A ControlNet on a finished base."""

    stage: Literal["control"]
    base: str = "meadow"
    kind: str
    init: Path | None = Field(None, description="a control to go on from, instead of a fresh one")
    prompt_dropout: float = Field(0.3, ge=0, le=1)
    timesteps: Literal["uniform", "cubic"] = "cubic"
    zero_scale: float = Field(3.0, gt=0, description="learning rate of zero convolutions and hint encoder, times lr")
    eight_bits: bool = Field(False, description="store large convolutions of the finished control in fp8")

    def task(self) -> Task:
        """What it trains, with its data loaded."""
        from hackamore.bases.catalog import load_base
        from hackamore.controls.branch import new_control
        from hackamore.controls.catalog import load_control

        base = load_base(self.base, dtype="fp32")
        torch.manual_seed(self.run.seed)
        branch = new_control(base, self.kind) if self.init is None else load_control(self.init, base)
        branch.condition = self.kind
        return control_task(
            branch,
            self.data,
            self.size,
            self.kind,
            prompt_dropout=self.prompt_dropout,
            precision=self.run.precision,
            timesteps=self.timesteps,
            zero_scale=self.zero_scale,
            eight_bits=self.eight_bits,
        )


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
        seen = None if self.through is None else self._through(folders, truths.pictures)
        start = None if weights is None else {name: weight.float() for name, weight in weights.items()}
        torch.manual_seed(self.run.seed)
        return InspectorTask(truths, seen, start)

    def _through(self, folders: list[Path], pictures: list[Any]) -> list[Any]:
        """All pictures through the autoencoder of the base ``through``, kept beside them."""
        from hackamore.bases.catalog import load_base

        base = load_base(self.through or "", dtype="fp32")
        weights = {name: digest for name, digest in base.sha256.items() if name.startswith("vae")}
        made = []
        for folder, part in zip(folders, pictures, strict=True):
            key = (
                "through",
                weights,
                self.run.precision,
                self.size,
                stamps([p.picture for p in training_pairs(folder)]),
            )
            made.append(cached(folder / ".cache", key, lambda part=part: _decoded(base, part, self.run.precision)))  # type: ignore[misc]
        return made


def control_task(
    branch: Any, data: Path, size: tuple[int, int], kind: str, precision: str = "no", **settings: Any
) -> Task:
    """The task of training ``branch`` on the pairs in ``data``, latents cached beside them."""
    from hackamore.data.hints import hint_source
    from hackamore.training.control import ControlTask

    pairs = training_pairs(data)
    pictures = picture_array([pair.picture for pair in pairs], size, data / ".cache")
    weights = {name: digest for name, digest in branch.base.sha256.items() if name.startswith("vae")}
    key = ("encoded", weights, precision, size, stamps([pair.picture for pair in pairs]))
    latents = cached(data / ".cache", key, lambda: _encoded(branch.base, pictures, precision))
    hints = hint_source(kind, data, pictures, size)
    return ControlTask(branch, latents, [pair.text for pair in pairs], hints, **settings)


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


Stage = Annotated[AutoencoderStage | BaseStage | ControlStage | InspectorStage, Field(discriminator="stage")]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(Stage)


def read_stage(path: Path | str, **overrides: Any) -> Any:
    """The stage that a TOML file describes; ``overrides`` (``run.steps`` as ``steps``) win over the file.

    Raises :class:`HackamoreError` naming the field that is wrong.
    """
    try:
        with Path(path).open("rb") as file:
            told = tomllib.load(file)
    except OSError as error:
        what = f"no such file: {path}" if isinstance(error, FileNotFoundError) else f"{path} cannot be read"
        raise HackamoreError(what, expected="a training configuration (TOML)") from error
    except UnicodeDecodeError as error:
        raise HackamoreError(f"{path} is not TOML", received="bytes that are no text") from error
    except tomllib.TOMLDecodeError as error:
        raise HackamoreError(f"{path} is not TOML", received=str(error)) from error
    if not isinstance(told.setdefault("run", {}), dict):
        raise HackamoreError(f"{path}: run is not a table", received=told["run"], expected="[run] with steps and lr")
    for name, value in overrides.items():
        if value is not None:
            (told["run"] if name in RunSettings.model_fields else told)[name] = value
    try:
        return _ADAPTER.validate_python(told)
    except ValidationError as error:
        first = error.errors()[0]
        raise HackamoreError(
            f"{path}: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}", received=first.get("input")
        ) from error
