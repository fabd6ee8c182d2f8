"""The passes through a U-Net in parts: its encoder alone, and the whole with what lies deep in it kept or given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from hackamore.bases.base import Text
from hackamore.core.residuals import Residuals


def run_encoder(
    trunk: Any, x: Tensor, embedded: Tensor, text: Text, hint: Tensor | None = None
) -> tuple[list[Tensor], Tensor]:
    """Run a U-Net's encoder, ``hint`` (shaped like ``conv_in``'s output) added after ``conv_in``: its skips and mid.

    ``embedded``: the timestep, by :func:`embed`.
    """
    x = trunk.conv_in(x)
    if hint is not None:
        x = x + hint
    skips = [x]
    for block in trunk.down_blocks:
        attends = {"encoder_hidden_states": text.tokens} if getattr(block, "has_cross_attention", False) else {}
        x, states = block(hidden_states=x, temb=embedded, **attends)
        skips += states
    attends = {"encoder_hidden_states": text.tokens} if getattr(trunk.mid_block, "has_cross_attention", False) else {}
    return skips, trunk.mid_block(x, embedded, **attends)


def run_whole(unet: Any, x: Tensor, t: Tensor, text: Text, residuals: Residuals | None, layers: int) -> Any:
    """One forward pass of a ``UNet2DConditionModel``: its prediction, and the features N×C×h×w that enter the last
    ``layers`` layers of its decoder (Ma et al. 2023, §3.2).

    The residuals are added to the skips that enter the decoder and after the mid block.
    """
    embedded = embed(unet, x, t, text)
    skips, mid = run_encoder(unet, x, embedded, text)
    if residuals is not None:
        skips = skips if not residuals.skips else [s + r for s, r in zip(skips, residuals.skips, strict=True)]
        mid = mid if residuals.mid is None else mid + residuals.mid
    *blocks, last = unet.up_blocks
    for block in blocks:
        count = len(block.resnets)
        entering, skips = tuple(skips[-count:]), skips[:-count]
        attends = {"encoder_hidden_states": text.tokens} if getattr(block, "has_cross_attention", False) else {}
        size = skips[-1].shape[2:]
        mid = block(mid, res_hidden_states_tuple=entering, temb=embedded, upsample_size=size, **attends)
    parts = list(_layers(last))
    first = len(parts) - depth(unet, layers)
    for resnet, attention in parts[:first]:
        mid = _layer(resnet, attention, torch.cat([mid, skips.pop()], 1), embedded, text)
    return _finished(unet, mid, skips, embedded, text, parts[first:]), mid


def run_shallow(
    unet: Any, x: Tensor, t: Tensor, text: Text, residuals: Residuals | None, deep: Tensor, layers: int
) -> Tensor:
    """The prediction with deep features of an earlier step: only the layers on top of them are run."""
    embedded = embed(unet, x, t, text)
    parts = list(_layers(unet.up_blocks[-1]))[-depth(unet, layers) :]
    skips = [unet.conv_in(x)]
    for resnet, attention in list(_layers(unet.down_blocks[0]))[: len(parts) - 1]:
        skips.append(_layer(resnet, attention, skips[-1], embedded, text))
    if residuals is not None and residuals.skips:
        skips = [s + r for s, r in zip(skips, residuals.skips, strict=False)]
    return _finished(unet, deep, skips, embedded, text, parts)


def depth(unet: Any, layers: int) -> int:
    """How many layers run on top: as many as the first level of the encoder has at most."""
    return min(layers, len(unet.down_blocks[0].resnets))


def embed(unet: Any, x: Tensor, t: Tensor, text: Text) -> Tensor:
    """The embedded timestep, with what else the family is told."""
    embedded: Tensor = unet.time_embedding(unet.get_time_embed(sample=x, timestep=t))
    more = unet.get_aug_embed(embedded, text.tokens, text.added) if text.added else None
    return embedded if more is None else embedded + more


def _finished(
    unet: Any, x: Tensor, skips: list[Tensor], embedded: Tensor, text: Text, parts: list[tuple[Any, Any]]
) -> Tensor:
    for resnet, attention in parts:
        x = _layer(resnet, attention, torch.cat([x, skips.pop()], 1), embedded, text)
    if unet.conv_norm_out is not None:
        x = unet.conv_act(unet.conv_norm_out(x))
    made: Tensor = unet.conv_out(x)
    return made


def _layers(block: Any) -> Iterator[tuple[Any, Any]]:
    """The layers of a block: each a ResNet, and an attention where it has any."""
    attentions = getattr(block, "attentions", [None] * len(block.resnets))
    yield from zip(block.resnets, attentions, strict=True)


def _layer(resnet: Any, attention: Any, x: Tensor, embedded: Tensor, text: Text) -> Tensor:
    x = resnet(x, embedded)
    return x if attention is None else attention(x, encoder_hidden_states=text.tokens, return_dict=False)[0]
