"""Listening to an attention of the base and adding to its result, whatever else acts on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from hackamore.controls.control import Voice

Kept = dict[str, Tensor]
"""What one attention was asked in the prediction under way: ``to_q``, ``to_k``, ``to_v``, each N×L×C, all heads."""


def attended(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention over ``heads``: N×L×C, N×M×C and N×M×C → N×L×C (Vaswani et al. 2017, eq. 1)."""

    def split(x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)

    result: Tensor = F.scaled_dot_product_attention(split(query), split(key), split(value))
    return result.transpose(1, 2).flatten(2)


def keep(attention: Any, names: tuple[str, ...], kept: Kept, voice: Voice) -> None:
    """Let ``attention`` leave the results of its layers ``names`` in ``kept`` whenever ``voice`` is not silent."""
    for name in names:
        attention.get_submodule(name).register_forward_hook(partial(_keep, name, kept, voice))


def add(attention: Any, told: Callable[[Tensor], Tensor], voice: Voice) -> None:
    """Add ``told(result)`` to the result of ``attention``, N×L×C before its last layer, unless ``voice`` is silent."""
    attention.get_submodule("to_out.0").register_forward_pre_hook(partial(_add, told, voice))


def _keep(name: str, kept: Kept, voice: Voice, _: nn.Module, __: Any, output: Tensor) -> None:
    if voice.strength != 0:
        kept[name] = output


def _add(told: Callable[[Tensor], Tensor], voice: Voice, _: nn.Module, args: tuple[Tensor, ...]) -> Any:
    return None if voice.strength == 0 else (args[0] + told(args[0]), *args[1:])
