"""Control-LoRA: a ControlNet whose copy is the base itself, low-rank layers beside its own (Stability AI, 2023)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from hackamore.bases.unet import encoder_of
from hackamore.controls.branch import Branch


class LowRank(nn.Module):
    """``up(down(x))``: what is added to a linear or convolution layer's output, W + up·down (Hu et al. 2021, eq. 3).

    ``up`` starts at zero. The rank is at most what the layer's weight itself can have.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int) -> None:
        super().__init__()
        rank = min(rank, layer.weight.shape[0], layer.weight[0].numel())
        self.down: nn.Linear | nn.Conv2d
        self.up: nn.Linear | nn.Conv2d
        if isinstance(layer, nn.Linear):
            self.down = nn.Linear(layer.in_features, rank, bias=False)
            self.up = nn.Linear(rank, layer.out_features, bias=False)
        else:
            shape: Any = {"kernel_size": layer.kernel_size, "stride": layer.stride, "padding": layer.padding}
            self.down = nn.Conv2d(layer.in_channels, rank, **shape, bias=False)
            self.up = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's input → what is added to its output."""
        added: Tensor = self.up(self.down(x.to(self.up.weight.dtype)))
        return added


class Lent:
    """A module that stays out of the module tree of the one that uses it: no optimiser or checkpoint sees it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Any:
        if name == "module":  # while it is being copied
            raise AttributeError(name)
        return getattr(self.module, name)


class ControlLora(Branch):
    """A ControlNet whose trunk is lent by the base: the base's own tensors, with a :class:`LowRank` beside layers.

    Its own are those layers, the hint encoder, the zero convolutions, and what a file gave whole (``whole``, names of
    the trunk's parameters; they start as the base's). ``ranks``: one rank for every linear and convolution layer, or
    a rank for each named layer. The base is not changed, and moves with it: to another device, never to another type.
    Fresh it changes nothing, bit for bit.
    """

    def __init__(
        self,
        base: Any,
        condition: str | None = None,
        ranks: int | Mapping[str, int] = 32,
        widths: tuple[int, ...] | None = None,
        whole: Collection[str] = (),
    ) -> None:
        trunk: Any = Lent(encoder_of(base.bare, lent=True))
        super().__init__(base, condition, widths, trunk=trunk)
        layers = {name: layer for name, layer in trunk.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
        told = ranks if isinstance(ranks, Mapping) else dict.fromkeys(layers, ranks)
        self.layers = tuple(told)
        self.factors = nn.ModuleList(LowRank(layers[name], rank) for name, rank in told.items())
        for name, factor in self.named_factors().items():
            layers[name].register_forward_hook(partial(_beside, factor))
        self.whole = tuple(whole)
        self.own = nn.ParameterList()
        for name in self.whole:
            path, _, leaf = name.rpartition(".")
            owner = trunk.get_submodule(path)
            self.own.append(nn.Parameter(getattr(owner, leaf).detach().clone()))
            owner._parameters[leaf] = self.own[-1]
        for part in (self.hint_encoder, self.zero_skips, self.zero_mid, self.factors):
            part.to(base.device, base.dtype)  # what is whole stays in the base's type, which its trunk computes in

    def named_factors(self) -> dict[str, LowRank]:
        """Layer of the trunk → what lies beside it."""
        return {name: cast(LowRank, factor) for name, factor in zip(self.layers, self.factors, strict=True)}

    def trunk_tensors(self) -> dict[str, Tensor]:
        """By the trunk's names: ``….up`` and ``….down`` of each layer, and what is whole."""
        made: dict[str, Tensor] = {}
        for name, factor in self.named_factors().items():
            made |= {f"{name}.up": factor.up.weight, f"{name}.down": factor.down.weight}
        return made | dict(zip(self.whole, self.own, strict=True))

    @torch.no_grad()
    def merged(self) -> dict[str, Tensor]:
        """The trunk's weights with the low-rank layers inside: what a ControlNet that does the same would have."""
        weights: dict[str, Tensor] = {name: value.detach() for name, value in self.trunk.state_dict().items()}
        for name, factor in self.named_factors().items():
            weight = weights[f"{name}.weight"]
            product = factor.up.weight.flatten(1).float() @ factor.down.weight.flatten(1).float()
            weights[f"{name}.weight"] = (weight.float() + product.reshape(weight.shape)).to(weight.dtype)
        return weights


def new_control_lora(base: Any, condition: str | None = None, *, rank: int = 32) -> ControlLora:
    """A fresh Control-LoRA for a U-Net ``base``: it changes nothing until it is trained."""
    return ControlLora(base, condition, rank).requires_grad_(True).train()


def _beside(factor: nn.Module, _: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    added: Tensor = factor(args[0])
    return output + added.to(output.dtype)
