"""Small changes to a loaded base: another autoencoder, fewer layers of its text encoder."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from hackamore.core.errors import HackamoreError
from hackamore.core.files import sha256


def with_autoencoder(base: Any, path: Path) -> Any:
    """The same base with the autoencoder of a folder (its own, or with ``vae`` inside) or of a single file.

    A file has the scale of latents that the base has; a folder's configuration tells its own. Raises
    :class:`HackamoreError` where it makes other latents than the base's.
    """
    from hackamore.bases.folder import read_part, weights_of

    dtype = next(base.vae.parameters()).dtype
    mine, own = copy.copy(base), base.vae.config
    if path.is_dir():
        from diffusers import AutoencoderKL

        folder = path / "vae" if (path / "vae").is_dir() else path
        vae, files = read_part(folder.parent, folder.name, AutoencoderKL, dtype), weights_of(folder)[0]
    else:
        from hackamore.bases.single import load_vae_file

        family = base.family if base.family in ("sd1", "sd2", "sdxl", "sd3", "flux") else "sd1"
        vae, files = load_vae_file(path, dtype, family), [path]
        vae.register_to_config(scaling_factor=own.scaling_factor, shift_factor=getattr(own, "shift_factor", None))
    if (vae.config.latent_channels, len(vae.config.block_out_channels)) != (
        own.latent_channels,
        len(own.block_out_channels),
    ):
        raise HackamoreError(
            f"the autoencoder {path.name} does not fit the base {base.name}",
            received=f"latents of {vae.config.latent_channels}, {2 ** (len(vae.config.block_out_channels) - 1)} pixels",
            expected=f"latents of {own.latent_channels}, {base.scale_factor} pixels",
        )
    mine.vae = vae.requires_grad_(False).eval().to(base.device)
    mine.sha256 = {name: digest for name, digest in base.sha256.items() if not name.startswith("vae/")}
    mine.sha256 |= {f"vae/{file.name}": sha256(file) for file in files}
    return mine


def with_clip_skip(base: Any, layers: int) -> Any:
    """The same base with the last ``layers`` of its text encoders left out; counted as in diffusers' ``clip_skip``."""
    if not hasattr(base, "clip_skip"):
        raise HackamoreError("clip_skip is for U-Net bases", received=f"a base of family {base.family}")
    has = min(encoder.depth for encoder in base.encoders())
    if layers >= has:
        expected = f"fewer than the {has} layers of its text encoder"
        raise HackamoreError("clip_skip is out of range", received=layers, expected=expected)
    mine = copy.copy(base)
    mine.clip_skip = layers
    return mine


def put(base: Any, name: str, network: torch.nn.Module) -> None:
    """Put ``network`` in the place of the part ``name`` of ``base``, which must be a copy of one's own."""
    from dataclasses import replace

    encoders = getattr(base, "encoders", None)
    if isinstance(encoders, dict) and name in encoders:
        base.encoders = encoders | {name: replace(encoders[name], network=network)}
    else:
        setattr(base, name, network)


def remember(hashes: dict[str, str], kind: str, file: Path) -> None:
    """Write down a file's SHA-256 as ``kind/name``; raises :class:`HackamoreError` for a second file of that name.

    The same content may come twice.
    """
    digest = sha256(file)
    if hashes.setdefault(f"{kind}/{file.name}", digest) != digest:
        raise HackamoreError(
            f"two different files of the kind {kind} are named {file.name}", received=file, remedy="rename one of them"
        )
