"""SD3, SD3.5 and FLUX.1 from a folder in diffusers' layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hackamore.bases.transformer import FluxBase, SD3Base, TransformerBase
from hackamore.bases.transformer_text import CLIP_LENGTH, Encoder
from hackamore.core.errors import HackamoreError
from hackamore.core.files import sha256

T5_LENGTH = {"sd3": 256, "flux": 512}
"""How many tokens T5 reads of a prompt."""

FAMILIES = {"SD3Transformer2DModel": "sd3", "FluxTransformer2DModel": "flux"}

ENCODERS = {
    "sd3": {"text_encoder": "projection", "text_encoder_2": "projection", "text_encoder_3": "t5"},
    "flux": {"text_encoder": "clip", "text_encoder_2": "t5"},
}
"""What each of a family's text encoders is."""


def load_folder(folder: Path, name: str, device: torch.device, dtype: torch.dtype, **settings: Any) -> TransformerBase:
    """Read a diffusers folder (``transformer``, ``vae``, ``text_encoder``, ``tokenizer`` …, ``scheduler``).

    SD3's text encoders may be absent, each with its tokenizer; FLUX needs both of its own.
    Raises :class:`HackamoreError` naming the part that is missing or does not load.
    """
    family = _family(folder)
    parts = _parts(folder, family)
    transformer = _read(folder, "transformer", _class(family, "transformer"), torch_dtype=dtype, use_safetensors=True)
    _check_channels(folder, family, transformer)
    vae = _read(folder, "vae", _class(family, "vae"), torch_dtype=dtype, use_safetensors=True)
    encoders = {part: _encoder(folder, family, part, dtype) for part in parts}
    scheduler = _scheduler(folder)
    files = [
        file
        for part in ("transformer", "vae", *parts)
        for file in sorted((folder / part).glob("*.safetensors"))
        if not {"fp16", "bf16"} & set(file.name.split("."))
    ]
    hashes = {str(file.relative_to(folder)): sha256(file) for file in files}
    kind = SD3Base if family == "sd3" else FluxBase
    return kind(name, transformer, vae, encoders, scheduler, hashes=hashes, **settings).to(device)


def is_transformer_folder(folder: Path) -> bool:
    """Whether ``folder`` has a transformer where other bases have a U-Net."""
    return (folder / "transformer").is_dir()


def _family(folder: Path) -> str:
    told = _json(folder / "transformer" / "config.json").get("_class_name")
    if told not in FAMILIES:
        raise HackamoreError(
            f"{folder} is of a kind that is not supported yet",
            received=f"the transformer {told}",
            expected="SD3, SD3.5 or FLUX.1",
        )
    return FAMILIES[str(told)]


def _parts(folder: Path, family: str) -> list[str]:
    """The text encoders that are there; an error for what must be and is not."""
    known = ENCODERS[family]
    there = {part: (folder / part).is_dir() for part in known}
    pairs = {part: (folder / _tokenizer(part)).is_dir() for part in known}
    needed = {part: (folder / part).is_dir() for part in ("transformer", "vae", "scheduler")}
    if family == "flux":
        needed |= there
    needed |= {_tokenizer(part): pairs[part] for part in known if there[part] or family == "flux"}
    missing = [part for part, found in needed.items() if not found]
    if missing:
        raise HackamoreError(
            f"{folder} is not a whole {'FLUX' if family == 'flux' else 'SD3'} folder",
            received="no " + ", ".join(missing),
            expected=f"the folders {', '.join(needed)} (diffusers' layout)",
        )
    return [part for part in known if there[part]]


def _check_channels(folder: Path, family: str, transformer: Any) -> None:
    """Refuse by name the editing and structural models, whose transformers take further channels."""
    channels = transformer.config.in_channels // (4 if family == "flux" else 1)
    if channels != 16:
        raise HackamoreError(
            f"{folder} is of a kind that is not supported yet",
            received=f"a transformer that takes {channels} latent channels (a filling or structural model)",
            expected="16, a text-to-image model",
        )


def _encoder(folder: Path, family: str, part: str, dtype: torch.dtype) -> Encoder:
    kind = ENCODERS[family][part]
    network = _read(folder, part, _class(family, kind), torch_dtype=dtype, use_safetensors=True)
    tokenizer = _read(folder, _tokenizer(part), _class(family, kind + " tokenizer"))
    length = T5_LENGTH[family] if kind == "t5" else min(tokenizer.model_max_length, CLIP_LENGTH)
    return Encoder(network, tokenizer, length)


def _tokenizer(part: str) -> str:
    return part.replace("text_encoder", "tokenizer")


def _class(family: str, kind: str) -> Any:
    """The class of a part; imported when it is needed, for the libraries take seconds."""
    import diffusers
    import transformers

    if kind == "vae":
        return diffusers.AutoencoderKL
    if kind == "transformer":
        return diffusers.SD3Transformer2DModel if family == "sd3" else diffusers.FluxTransformer2DModel
    if kind.endswith("tokenizer"):
        return transformers.T5TokenizerFast if kind.startswith("t5") else transformers.CLIPTokenizer
    known = {
        "clip": transformers.CLIPTextModel,
        "projection": transformers.CLIPTextModelWithProjection,
        "t5": transformers.T5EncoderModel,
    }
    return known[kind]


def _scheduler(folder: Path) -> dict[str, Any]:
    return _json(folder / "scheduler" / "scheduler_config.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HackamoreError(f"{path} cannot be read", received=str(error)) from error
    if not isinstance(told, dict):
        raise HackamoreError(f"{path} holds no settings", received=type(told).__name__, expected="a JSON object")
    return told


def _read(folder: Path, part: str, kind: Any, **told: Any) -> Any:
    network = bool(told)
    try:
        with _no_bars():
            more = {"output_loading_info": True} if network else {}
            made = kind.from_pretrained(folder / part, local_files_only=True, **told, **more)
    except Exception as error:
        raise HackamoreError(
            f"the {part} of {folder} cannot be loaded",
            received=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
            expected="whole files in diffusers' layout, weights as .safetensors",
        ) from error
    if not network:
        return made
    made, found = made
    if missing := sorted(found["missing_keys"]):  # which the libraries would fill with random numbers
        names = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        raise HackamoreError(f"the {part} of {folder} lacks {len(missing)} tensors: {names}", expected="whole files")
    return made


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without transformers' progress bars, which come back afterwards if they were on."""
    from transformers.utils import logging as their

    shown = their.is_progress_bar_enabled()
    their.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            their.enable_progress_bar()
