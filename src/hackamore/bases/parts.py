"""The networks of a base, filled from pieces of single files in their original layouts.

Names and shapes are checked on the meta device before a tensor is read; then tensors are mapped from disk and put into
place, so that a file in the wanted type takes no memory twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from hackamore.bases import layouts, published
from hackamore.bases.kinds import Shapes
from hackamore.bases.pieces import PROJECTED, TEXTS, Piece
from hackamore.core.errors import HackamoreError

Convert = Callable[[layouts.Tensors], layouts.Tensors]
Told = TypeVar("Told")


def denoiser(piece: Piece, family: str, size: int, dtype: torch.dtype, pooled: int = 1280) -> Any:
    """The U-Net or transformer of ``family`` for pictures of ``size``; ``pooled`` as for its configuration."""
    import diffusers

    def config() -> dict[str, Any]:
        if family == "sd3":
            return published.sd3_config(piece.shapes, size)
        if family == "flux":
            return published.flux_config(piece.shapes)
        return published.unet_config(piece.shapes, size, pooled)

    told = told_by(piece, config)
    if family == "sd3":
        return built(diffusers.SD3Transformer2DModel, told, piece, layouts.sd3, dtype)
    if family == "flux":
        return built(diffusers.FluxTransformer2DModel, told, piece, layouts.flux, dtype)

    def convert(tensors: layouts.Tensors) -> layouts.Tensors:
        return layouts.unet(tensors, told["layers_per_block"], "addition_embed_type" in told)

    return built(diffusers.UNet2DConditionModel, told, piece, convert, dtype, every=True)


def autoencoder(piece: Piece, family: str, size: int, dtype: torch.dtype) -> Any:
    """The autoencoder, at the scale of ``family``'s latents."""
    from diffusers import AutoencoderKL

    named = told_by(piece, lambda: layouts.vae(piece.meta()))
    config = told_by(piece, lambda: published.vae_config(shapes_of(named), family, size))
    return built(AutoencoderKL, config, piece, layouts.vae, dtype, every=True)


def text_encoder(piece: Piece, family: str, name: str, dtype: torch.dtype) -> Any:
    """The text encoder that diffusers calls ``name``."""
    import transformers

    part, projected = TEXTS[family][name], (family, name) in PROJECTED
    if part == "T5":
        config = transformers.T5Config(
            **told_by(piece, lambda: published.t5_config(converted_shapes(piece, layouts.t5)))
        )
        return _tied(built(transformers.T5EncoderModel, config, piece, layouts.t5, dtype))

    def convert(tensors: layouts.Tensors) -> layouts.Tensors:
        if part == "OpenCLIP":
            return layouts.open_clip(tensors, projection=projected, layers=read_layers(tensors, family))
        made = layouts.clip(tensors)
        width = made["embeddings.token_embedding.weight"]
        if not projected:
            made.pop("text_projection.weight", None)
        elif "text_projection.weight" not in made:  # SD3's CLIP-L is used as it is
            made["text_projection.weight"] = torch.eye(width.shape[1], dtype=width.dtype, device=width.device)
        return made

    shapes = told_by(piece, lambda: converted_shapes(piece, convert))
    told = told_by(piece, lambda: published.clip_config(shapes, open_clip=part != "CLIP-L"))
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return built(kind, transformers.CLIPTextConfig(**told), piece, convert, dtype)


WHOLE_CLIP = 24
"""Layers of OpenCLIP's text encoder of width 1024."""


def read_layers(tensors: Mapping[str, Any], family: str) -> int | None:
    """How many OpenCLIP layers are read: in SD 2.x all but the last of a whole encoder; None for all.

    SD 2.x attends to the states before the last layer; files that lack the last one lack the projection too.
    """
    layers = published.count(dict.fromkeys(tensors, ()), r"transformer\.resblocks\.(\d+)\.")
    whole = "text_projection" in tensors or layers == WHOLE_CLIP
    return layers - 1 if family == "sd2" and whole else None


def converted_shapes(piece: Piece, convert: Convert) -> dict[str, tuple[int, ...]]:
    """New name → shape, as ``convert`` names the tensors of ``piece``."""
    return shapes_of(convert(piece.meta()))


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Name → shape."""
    return {name: tuple(value.shape) for name, value in tensors.items()}


def told_by(piece: Piece, tell: Callable[[], Told]) -> Told:
    """What ``tell`` makes of ``piece``; a tensor that it looks for in vain is an error that names it."""
    try:
        return tell()
    except KeyError as error:
        raise HackamoreError(
            f"{piece.file.path} lacks the tensor {error.args[0]}", expected="every tensor of a part that it holds"
        ) from error
    except (ArithmeticError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise HackamoreError(f"{piece.file.path} holds tensors of strange shapes", received=str(error)) from error


def built(kind: Any, config: Any, piece: Piece, convert: Convert, dtype: torch.dtype, *, every: bool = False) -> Any:
    """A network of the class ``kind`` filled with what ``convert`` makes of ``piece``, in ``dtype``.

    ``every``: each tensor must have a place, even where ``convert`` passes over it. Raises :class:`HackamoreError`
    naming tensors that are missing, unexpected or of the wrong shape, before any is read.
    """
    from accelerate import init_empty_weights

    theirs = isinstance(config, dict)  # of diffusers, whose networks keep no buffer outside the file
    with torch.device("meta") if theirs else init_empty_weights():
        network = told_by(piece, lambda: kind(**config) if theirs else kind(config))
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    expected.pop("encoder.embed_tokens.weight", None)  # T5's second name for its table
    wrapped = any(name.startswith("text_model.") for name in expected)

    def named(tensors: layouts.Tensors) -> layouts.Tensors:
        made = {name: value for name, value in convert(tensors).items() if value is not None}  # None: was not there
        return {f"text_model.{name}" if wrapped and name != _PROJECTION else name: made[name] for name in made}

    blank = piece.meta()
    found = told_by(piece, lambda: named(blank))
    check_names(piece.file.path, expected, shapes_of(found), _passed_over(blank, found) if every else [])
    if not all(value.is_floating_point() for value in found.values()):
        idle = _passed_over(blank, found)
        piece.file.check_floating(piece.keys[name] for name in sorted(blank, key=idle.__contains__))
    kept = {name: _typed(name, value, kind, dtype) for name, value in named(piece.tensors()).items()}
    network.load_state_dict(kept, strict=False, assign=True)
    return network


_PROJECTION = "text_projection.weight"


def _typed(name: str, value: Tensor, kind: Any, dtype: torch.dtype) -> Tensor:
    """``value`` in ``dtype``; in half precision some layers of T5 overflow and stay in single."""
    whole = getattr(kind, "_keep_in_fp32_modules", None) or ()
    keeps = dtype == torch.float16 and any(part in name.split(".") for part in whole)
    return value.to(torch.float32 if keeps else dtype)


def _passed_over(given: layouts.Tensors, made: layouts.Tensors) -> list[str]:
    """The names of tensors that went in and did not come out, themselves or flattened."""
    used = {id(value) for value in made.values()} | {id(value._base) for value in made.values()}
    return [name for name, value in given.items() if id(value) not in used]


def _tied(encoder: Any) -> Any:
    """T5's second name for its table of tokens, bound to the first."""
    encoder.encoder.embed_tokens.weight = encoder.shared.weight
    return encoder


def check_names(source: Path, expected: Shapes, found: Shapes, passed_over: list[str]) -> None:
    """Raise :class:`HackamoreError` naming tensors that are missing, unexpected or of the wrong shape."""
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys()) + sorted(passed_over)
    wrong = [
        f"{name} {found[name]} for {expected[name]}"
        for name in sorted(expected.keys() & found.keys())
        if found[name] != expected[name]
    ]
    for words, names in (("lacks", missing), ("has unexpected", extra), ("has wrong shapes:", wrong)):
        if names:
            raise HackamoreError(
                f"{source} {words} {len(names)} tensors: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}",
                expected="exactly the tensors of its kind",
            )
