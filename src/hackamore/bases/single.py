"""Bases from single files in their original layouts: SD 1.x, 2.x, XL, 3, 3.5 and FLUX.1.

Nothing is asked of a hub but a tokenizer that is nowhere else: widths come from the tensors, the rest of each
configuration from :mod:`hackamore.bases.published`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from hackamore.bases import parts as networks
from hackamore.bases import published
from hackamore.bases.kinds import family_of, kind_of
from hackamore.bases.pieces import PROJECTED, TEXTS, Source, denoiser_piece, piece_of
from hackamore.bases.prediction import PREDICTIONS, schedule_of, told_prediction
from hackamore.bases.tokenizers import END, at_hand, clip_tokenizer, from_hub, t5_tokenizer
from hackamore.core.errors import HackamoreError, unknown_name
from hackamore.core.files import sha256
from hackamore.core.weights import WeightsFile, open_weights


def load_file(
    path: Path,
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    tokenizer: str | Path | None = None,
    *,
    parts: str | Path | Sequence[str | Path] = (),
    prediction: str | None = None,
    ema: bool = False,
    **settings: Any,
) -> Any:
    """A frozen base from one file: a ``UNetBase`` for SD 1.x, 2.x and XL, an ``SD3Base`` or a ``FluxBase``.

    ``tokenizer``: a folder or hub name, where none lies beside the file. ``parts``: folders in diffusers' layout, hub
    names or files, which lend what the file lacks (FLUX.1: autoencoder and text encoders). ``prediction``: ``epsilon``
    or ``v_prediction``, where it is told wrongly. ``ema``: the averaged weights. ``settings`` go to the base.
    Raises :class:`HackamoreError` for a file that is damaged, holds code or is no base, saying what it is; for tensors
    that are missing, unexpected or misshapen; and for a part that is nowhere, saying what to give.
    """
    file = open_weights(Path(path))
    family = family_of(file)
    _check_prediction(prediction, family)
    files, folders = _lenders(parts)
    source = Source(family, (file, *files), folders)
    texts = _texts(source)
    places: list[str | Path] = [*([] if tokenizer is None else [str(tokenizer)]), *folders, file.path.parent]
    tokenizers = {text: _tokenizer(source, text, places) for text in texts}
    size = published.SIZES[family]
    network = networks.denoiser(denoiser_piece(file, ema), family, size, dtype, _pooled(source))
    vae = _autoencoder(source, size, _vae_type(family, dtype))
    encoders = {text: _text_encoder(source, text, dtype) for text in texts}
    for text, encoder in encoders.items():
        _check_vocabulary(name, text, tokenizers[text], encoder)
    hashes = source.hashes(["vae", *texts])
    if family in ("sd3", "flux"):
        base = _transformer_base(name, family, network, vae, encoders, tokenizers, hashes, settings)
    else:
        schedule = schedule_of(file, family, prediction, network.to(device))
        base = _unet_base(name, family, network, vae, encoders, tokenizers, schedule, hashes, settings)
    return base.to(device)


def _check_prediction(prediction: str | None, family: str) -> None:
    if prediction not in (None, *PREDICTIONS):
        raise unknown_name("prediction", str(prediction), list(PREDICTIONS))
    if prediction and family in ("sd3", "flux"):
        raise HackamoreError(
            "prediction is for Stable Diffusion 1.x, 2.x and XL", received=f"a base of family {family}"
        )


def _pooled(source: Source) -> int:
    """Width of the pooled text of OpenCLIP, which SDXL is told."""
    piece = source.piece("OpenCLIP")
    return piece.shapes.get("text_projection", (0, 1280))[1] if piece else 1280


def load_vae_file(path: Path, dtype: torch.dtype, family: str = "sd1") -> Any:
    """An autoencoder alone (original or diffusers' layout), or that of a whole model, as diffusers' ``AutoencoderKL``.

    ``family``: whose scale of latents it has, which no tensor tells. Raises :class:`HackamoreError` where it has none.
    """
    if family not in published.AUTOENCODERS:
        raise unknown_name("family", family, list(published.AUTOENCODERS))
    file = open_weights(Path(path))
    piece = piece_of(file, "autoencoder")
    if piece is None:
        raise HackamoreError(f"{path} is {kind_of(file).words}, not an autoencoder")
    return networks.autoencoder(piece, family, published.SIZES[family], dtype)


def _lenders(parts: str | Path | Sequence[str | Path]) -> tuple[tuple[WeightsFile, ...], tuple[Path, ...]]:
    """The files and folders that lend parts; hub names are looked up in the cache first."""
    named = [parts] if isinstance(parts, str | Path) else list(parts)
    files = tuple(open_weights(Path(part)) for part in named if Path(part).is_file())
    return files, tuple(
        Path(part) if Path(part).is_dir() else from_hub(str(part), LENT) for part in named if not Path(part).is_file()
    )


def _texts(source: Source) -> list[str]:
    """The text encoders that are there; SD3 can do without some, the others cannot."""
    there = {name: source.piece(part) or source.folder(name) for name, part in TEXTS[source.family].items()}
    absent = [name for name, found in there.items() if found is None]
    if absent and (source.family != "sd3" or len(absent) == len(there)):
        words = " and ".join(f"text encoder {TEXTS[source.family][name]}" for name in absent)
        raise source.missing(" and ".join(absent), words)
    return [name for name in there if name not in absent]


def _tokenizer(source: Source, text: str, places: list[str | Path]) -> Any:
    part = TEXTS[source.family][text]
    folder = text.replace("text_encoder", "tokenizer")
    if part == "T5":
        return t5_tokenizer(places, folder)
    return clip_tokenizer(places, folder, pad=END if part == "CLIP-L" else "!", length=_positions(source, text))


def _positions(source: Source, text: str) -> int:
    """How many tokens a CLIP encoder has positions for."""
    if (piece := source.piece(TEXTS[source.family][text])) is not None:
        return next(shape[0] for name, shape in piece.shapes.items() if name.endswith(POSITIONS))
    try:
        told = json.loads((source.folder(text) or Path()).joinpath(text, "config.json").read_text(encoding="utf-8"))
        return int(told["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HackamoreError(f"the {text} of {source.folder(text)} cannot be loaded", received=str(error)) from error


LENT = (
    "vae/*.json", "vae/*.safetensors", "text_encoder*/*.json", "text_encoder*/*.safetensors", "tokenizer*/*",
)  # fmt: skip
"""What is fetched of a hub's repository that lends parts."""


def _check_vocabulary(name: str, text: str, tokenizer: Any, encoder: Any) -> None:
    known = encoder.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        raise HackamoreError(
            f"the tokenizer does not fit the {text} of {name}",
            received=f"{len(tokenizer)} tokens",
            expected=f"at most {known}",
        )


POSITIONS = ("position_embedding.weight", "positional_embedding")


def _autoencoder(source: Source, size: int, dtype: torch.dtype) -> Any:
    if (piece := source.piece("autoencoder")) is not None:
        return networks.autoencoder(piece, source.family, size, dtype)
    return _lent(source, "vae", "autoencoder", dtype)


def _text_encoder(source: Source, name: str, dtype: torch.dtype) -> Any:
    part = TEXTS[source.family][name]
    if (piece := source.piece(part)) is not None:
        return networks.text_encoder(piece, source.family, name, dtype)
    return _lent(source, name, f"text encoder {part}", dtype)


def _lent(source: Source, name: str, words: str, dtype: torch.dtype) -> Any:
    """A part out of a folder in diffusers' layout."""
    import diffusers
    import transformers

    from hackamore.bases.folder import read_part

    folder = source.folder(name)
    if folder is None:
        raise source.missing(name, words)
    if name == "vae":
        return read_part(folder, name, diffusers.AutoencoderKL, dtype)
    if TEXTS[source.family][name] == "T5":
        return read_part(folder, name, transformers.T5EncoderModel, dtype)
    projected = (source.family, name) in PROJECTED
    return read_part(
        folder, name, transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel, dtype
    )


def _vae_type(family: str, dtype: torch.dtype) -> torch.dtype:
    """SDXL's autoencoder overflows in half precision."""
    return torch.float32 if family == "sdxl" and dtype == torch.float16 else dtype


def _transformer_base(
    name: str, family: str, network: Any, vae: Any, encoders: Any, tokenizers: Any, hashes: Any, settings: Any
) -> Any:
    from hackamore.bases.transformer import FluxBase, SD3Base
    from hackamore.bases.transformer_folder import T5_LENGTH
    from hackamore.bases.transformer_text import Encoder

    read = {
        text: Encoder(
            encoder,
            tokenizers[text],
            T5_LENGTH[family] if TEXTS[family][text] == "T5" else tokenizers[text].model_max_length,
        )
        for text, encoder in encoders.items()
    }
    schedule = published.scheduler_config(family, told=family == "sd3" or bool(network.config.guidance_embeds))
    kind = SD3Base if family == "sd3" else FluxBase
    return kind(name, network, vae, read, schedule, hashes=hashes, **settings)


def _unet_base(
    name: str,
    family: str,
    unet: Any,
    vae: Any,
    encoders: Any,
    tokenizers: Any,
    schedule: Any,
    hashes: Any,
    settings: Any,
) -> Any:
    from hackamore.bases.unet import UNetBase

    width, read = unet.config.cross_attention_dim, sum(encoder.config.hidden_size for encoder in encoders.values())
    if width != read:
        raise HackamoreError(
            f"{name} holds parts that do not fit each other",
            received=f"a U-Net that attends to width {width} beside text encoders of width {read}",
        )
    more: dict[str, Any] = {"zeros_for_empty": True} if family == "sdxl" else {}
    tokens = {text.replace("text_encoder", "tokenizer"): tokenizer for text, tokenizer in tokenizers.items()}
    return UNetBase(name, unet, vae, scheduler_config=schedule, hashes=hashes, **encoders, **tokens, **more, **settings)


def describe_file(path: Path) -> dict[str, object]:
    """Name → value of what a single file of weights is, from its header alone: a base and its parts, or what else.

    Raises :class:`HackamoreError` for a file that is damaged, holds code, or is of no kind that is known.
    """
    file = open_weights(Path(path))
    kind = kind_of(file)
    told: dict[str, object] = {"kind": kind.words if kind.family is None else f"a base in one file: {kind.words}"}
    if kind.family is None:
        told["use"] = f"none: {kind.words}, {kind.note}"
    else:
        told |= _described(file, kind.family)
    told["parameters"] = f"{file.parameters():,} in all"
    told["dtype"] = " and ".join(sorted(set(file.dtypes.values())))
    told |= {key: value for key, value in file.metadata.items() if key.startswith("modelspec.") and len(value) < 200}
    return told | {f"sha256 {file.path.name}": sha256(file.path)}


def _described(file: WeightsFile, family: str) -> dict[str, object]:
    network = denoiser_piece(file)
    inside = [part for part in ("autoencoder", *TEXTS[family].values()) if piece_of(file, part)]
    lacking = [part for part in ("autoencoder", *TEXTS[family].values()) if part not in inside]
    told: dict[str, object] = {"family": family, "size": "×".join([str(published.SIZES[family])] * 2)}
    if family not in ("sd3", "flux"):
        usual = "not told; measured when it is loaded" if family == "sd2" else "epsilon"
        told["prediction"] = told_prediction(file, family) or usual
    told["denoiser"] = f"{sum(math.prod(shape) for shape in network.shapes.values()):,} parameters"
    told["parts inside"] = ", ".join(inside) or "none but the denoiser"
    if any(key.startswith("model_ema.diffusion_model") for key in file.shapes):
        told["averaged weights"] = "inside (ema=True, --ema)"
    told["use"] = f"hackamore generate PROMPT --base {quote(str(file.path))}"
    texts = [part for part in inside if part != "autoencoder"]
    if lacking and not (family == "sd3" and texts and "autoencoder" in inside):
        told["lacks"] = ", ".join(lacking)
        told["use"] = f"{told['use']} --parts FOLDER"  # which has tokenizers too
    elif not all(at_hand("T5" if part == "T5" else "CLIP", file.path.parent) for part in texts):
        told["use"] = f"{told['use']} --tokenizer FOLDER"
    return told
