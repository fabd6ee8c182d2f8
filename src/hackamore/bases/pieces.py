"""Where the parts of a base lie: in single files under the prefixes of their layouts, and in folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hackamore.bases.folder import weights_of
from hackamore.bases.kinds import UNET
from hackamore.core.errors import HackamoreError
from hackamore.core.files import sha256
from hackamore.core.weights import WeightsFile

TEXTS: dict[str, dict[str, str]] = {
    "sd1": {"text_encoder": "CLIP-L"},
    "sd2": {"text_encoder": "OpenCLIP"},
    "sdxl": {"text_encoder": "CLIP-L", "text_encoder_2": "OpenCLIP"},
    "sd3": {"text_encoder": "CLIP-L", "text_encoder_2": "CLIP-G", "text_encoder_3": "T5"},
    "flux": {"text_encoder": "CLIP-L", "text_encoder_2": "T5"},
}
"""Family → its text encoders, by diffusers' names, and what each is."""

PROJECTED = {("sdxl", "text_encoder_2"), ("sd3", "text_encoder"), ("sd3", "text_encoder_2")}
"""The CLIP encoders whose projection is read."""

LENDERS = {
    "sd1": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sd2": "stabilityai/stable-diffusion-2-1",
    "sdxl": "stabilityai/stable-diffusion-xl-base-1.0",
    "sd3": "stabilityai/stable-diffusion-3-medium-diffusers",
    "flux": "black-forest-labs/FLUX.1-dev",
}
"""Family → the hub's folder that has every part."""

_CLIP = ("text_model.embeddings.position_embedding.weight", "embeddings.position_embedding.weight")
_PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "autoencoder": (("first_stage_model.", "vae.", ""), ("decoder.conv_in.weight",)),
    "CLIP-L": (
        (
            "cond_stage_model.transformer.", "conditioner.embedders.0.transformer.",
            "text_encoders.clip_l.transformer.", "",
        ),
        _CLIP,
    ),
    "CLIP-G": (("text_encoders.clip_g.transformer.", ""), _CLIP),
    "OpenCLIP": (
        ("cond_stage_model.model.", "conditioner.embedders.1.model.", "conditioner.embedders.0.model."),
        ("positional_embedding",),
    ),
    "T5": (("text_encoders.t5xxl.transformer.", ""), ("encoder.block.0.layer.0.SelfAttention.q.weight",)),
}  # fmt: skip
"""Part → the prefixes under which files keep it, and a key behind one of them that tells it."""

OTHER = torch.uint8
"""Stands for a type of numbers that torch has no name for; such tensors are refused where they are used."""

WIDE_CLIP = 1280
"""Width of CLIP-G; a file of a text encoder alone is told by it from CLIP-L."""


@dataclass(frozen=True)
class Piece:
    """One part of a base in a file. ``keys``: original name without prefix → key in the file."""

    file: WeightsFile
    keys: dict[str, str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Original name → shape."""
        return {name: self.file.shapes[key] for name, key in self.keys.items()}

    def meta(self) -> dict[str, Tensor]:
        """Tensors of the right shapes and types without content."""
        return {
            name: torch.empty(self.file.shapes[key], device="meta", dtype=getattr(torch, self.file.dtypes[key], OTHER))
            for name, key in self.keys.items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """The tensors, mapped from disk."""
        found = self.file.tensors(self.keys.values())
        return {name: found[key] for name, key in self.keys.items()}


@dataclass(frozen=True)
class Source:
    """Where the parts of a base come from: ``files``, the base's own first, then diffusers ``folders``."""

    family: str
    files: tuple[WeightsFile, ...]
    folders: tuple[Path, ...]

    def piece(self, part: str) -> Piece | None:
        """``part`` (``autoencoder``, ``CLIP-L``, ``CLIP-G``, ``OpenCLIP``, ``T5``) in the first file that has it."""
        return next((piece for file in self.files if (piece := piece_of(file, part))), None)

    def folder(self, name: str) -> Path | None:
        """The first folder that has the part of diffusers' ``name``."""
        return next((folder for folder in self.folders if (folder / name).is_dir()), None)

    def missing(self, name: str, words: str) -> HackamoreError:
        """The error for a part that is nowhere."""
        return HackamoreError(
            f"{self.files[0].path} has no {words} inside",
            expected=f"parts=FOLDER, on the command line --parts FOLDER: a folder in diffusers' layout with {name}, "
            "or a file with it",
            remedy=f"parts={LENDERS[self.family]!r} (--parts {LENDERS[self.family]}) where the hub can be reached",
        )

    def hashes(self, names: Iterable[str]) -> dict[str, str]:
        """SHA-256 of every file, and of those of the parts ``names`` that no file has and folders lend."""
        found = {file.path.name: sha256(file.path) for file in self.files}
        for name in names:
            folder = self.folder(name)
            inside = self.piece("autoencoder" if name == "vae" else TEXTS[self.family][name])
            files = weights_of(folder / name)[0] if folder and not inside else []
            found |= {f"{name}/{file.name}": sha256(file) for file in files}
        return found


def piece_of(file: WeightsFile, part: str) -> Piece | None:
    """``part`` of a base in ``file``; None where it has none."""
    prefixes, marks = _PLACES[part]
    for prefix in prefixes:
        mark = next((mark for mark in marks if prefix + mark in file.shapes), None)
        if mark is None:
            continue
        wide = file.shapes[prefix + mark][-1] == WIDE_CLIP
        if not prefix and part in ("CLIP-L", "CLIP-G") and wide != (part == "CLIP-G"):
            continue
        keys = {key.removeprefix(prefix): key for key in file.shapes if key.startswith(prefix)}
        if part == "autoencoder":
            keys = {name: key for name, key in keys.items() if name.split(".")[0] in _AUTOENCODER}
        return Piece(file, keys)
    return None


_AUTOENCODER = ("encoder", "decoder", "quant_conv", "post_quant_conv")


_OTHERS = ("first_stage_model.", "vae.", "text_encoders.", "cond_stage_model.", "conditioner.", "model_ema.")
"""What else lies in a file whose denoiser has no prefix."""


def denoiser_piece(file: WeightsFile, ema: bool = False) -> Piece:
    """The U-Net or transformer in ``file``; with ``ema`` its averaged weights, kept under names without dots."""
    whole = any(key.startswith(UNET) for key in file.shapes)
    prefix = UNET if whole else ""
    keys = {key.removeprefix(prefix): key for key in file.shapes if key.startswith(prefix)}
    keys = {name: key for name, key in keys.items() if whole or not key.startswith(_OTHERS)}
    if not ema:
        return Piece(file, keys)
    averaged = {name: "model_ema.diffusion_model" + name.replace(".", "") for name in keys}
    absent = [key for key in averaged.values() if key not in file.shapes]
    if absent:
        raise HackamoreError(
            f"{file.path} has no averaged weights", received=f"no {absent[0]}", expected="no ema=True (--ema)"
        )
    return Piece(file, averaged)
