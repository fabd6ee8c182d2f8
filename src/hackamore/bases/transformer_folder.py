"""SD3, SD3.5 and FLUX.1 from a folder in diffusers' layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from hackamore.bases.folder import read_part, read_tokenizer, weights_of
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
    config = _json(folder / "transformer" / "config.json")
    family = _family(folder, config)
    parts = _parts(folder, family)
    _check_channels(folder, family, config)
    scheduler = _json(folder / "scheduler" / "scheduler_config.json")
    transformer = read_part(folder, "transformer", _class(family, "transformer"), dtype)
    vae = read_part(folder, "vae", _class(family, "vae"), dtype)
    encoders = {part: _encoder(folder, family, part, dtype) for part in parts}
    files = [file for part in ("transformer", "vae", *parts) for file in weights_of(folder / part)[0]]
    hashes = {str(file.relative_to(folder)): sha256(file) for file in files}
    kind = SD3Base if family == "sd3" else FluxBase
    return kind(name, transformer, vae, encoders, scheduler, hashes=hashes, **settings).to(device)


def _family(folder: Path, config: dict[str, Any]) -> str:
    told = config.get("_class_name")
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


def _check_channels(folder: Path, family: str, told: dict[str, Any]) -> None:
    """Refuse by name the filling and structural models, whose transformers take further channels."""
    taken = told.get("in_channels", 64 if family == "flux" else 16) // (4 if family == "flux" else 1)
    latent = _json(folder / "vae" / "config.json").get("latent_channels", 4)
    if taken != latent:
        raise HackamoreError(
            f"{folder} is of a kind that is not supported yet",
            received=f"a transformer that takes {taken} channels, latents of {latent} (a filling or structural model)",
            expected="a text-to-image model",
        )


def _encoder(folder: Path, family: str, part: str, dtype: torch.dtype) -> Encoder:
    kind = ENCODERS[family][part]
    network = read_part(folder, part, _class(family, kind), dtype)
    tokenizer = read_tokenizer(folder, _tokenizer(part), _class(family, kind + " tokenizer"))
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


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HackamoreError(f"{path} cannot be read", received=str(error)) from error
    if not isinstance(told, dict):
        raise HackamoreError(f"{path} holds no settings", received=type(told).__name__, expected="a JSON object")
    return told
