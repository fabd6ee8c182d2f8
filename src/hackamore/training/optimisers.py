"""Optimisers by name, and their state by the names of the weights that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from hackamore.training.settings import RunSettings

Named = Mapping[str, Tensor]
"""Name of a weight → the weight."""


def make_optimiser(groups: list[dict[str, Any]], run: RunSettings) -> torch.optim.Optimizer:
    """The optimiser that ``run`` names, over groups with ``params``, and ``scale``, a factor on ``run.lr``.

    ``adamw`` is fused where the device allows; ``adamw8bit`` keeps its moments in bytes; ``adafactor`` (Shazeer & Stern
    2018) keeps rows and columns of the second moment and no first one, at the absolute rate that zero convolutions
    need; ``sgd`` takes the first of the betas as momentum, and adds weight decay to the gradient.
    """
    told = [{"scale": 1.0, "lr": run.lr * group.get("scale", 1.0), **group} for group in groups]
    decay = run.weight_decay
    if run.optimiser == "adamw":
        return torch.optim.AdamW(told, lr=run.lr, betas=run.betas, weight_decay=decay, fused=_fuses(told))
    if run.optimiser == "adamw8bit":
        from hackamore.training.adamw8bit import AdamW8bit

        return AdamW8bit(told, lr=run.lr, betas=run.betas, weight_decay=decay)
    if run.optimiser == "adafactor":
        from transformers.optimization import Adafactor

        made: torch.optim.Optimizer = Adafactor(
            told, lr=run.lr, weight_decay=decay, scale_parameter=False, relative_step=False
        )
        return made
    return torch.optim.SGD(
        told, lr=run.lr, momentum=run.betas[0], weight_decay=decay, fused=_fuses(told) and not _sharded(told)
    )


def _sharded(groups: list[dict[str, Any]]) -> bool:
    return any(hasattr(weight, "placements") for group in groups for weight in group["params"])


def _fuses(groups: list[dict[str, Any]]) -> bool:
    return all(weight.device.type in ("cpu", "cuda") for group in groups for weight in group["params"])


def state_of(
    optimiser: torch.optim.Optimizer, named: Named, whole: Callable[[Tensor], Tensor]
) -> dict[str, dict[str, Any]]:
    """Name of a weight → what the optimiser remembers of it, each tensor through ``whole``."""
    kept = {name: optimiser.state.get(weight, {}) for name, weight in named.items()}
    return {
        name: {key: whole(value) if isinstance(value, Tensor) else value for key, value in state.items()}
        for name, state in kept.items()
    }


def restore(
    optimiser: torch.optim.Optimizer,
    named: Named,
    kept: Mapping[str, Mapping[str, Any]],
    placed: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """Give back what :func:`state_of` gave; ``placed(value, weight)`` puts a tensor where its weight lies."""
    fused = {id(weight): bool(group.get("fused")) for group in optimiser.param_groups for weight in group["params"]}
    for name, weight in named.items():
        for key, value in kept.get(name, {}).items():
            if isinstance(value, Tensor):  # counts of steps stay in main memory, where no kernel reads them
                stays = key == "step" and not fused.get(id(weight), False)
                value = value.clone() if stays else placed(value, weight)
            optimiser.state[weight][key] = value
