"""A second module tree over the same weights, so that something can be put inside a shared network for one user."""

from __future__ import annotations

import copy
from collections import OrderedDict

from torch import nn


def view_of(network: nn.Module) -> nn.Module:
    """A copy of the tree of ``network`` that shares every parameter and buffer with it.

    Modules of the view can be exchanged, wrapped or given hooks, and attributes set, without ``network`` changing.
    """
    made: dict[int, nn.Module] = {}

    def view(module: nn.Module) -> nn.Module:
        if id(module) not in made:
            mine = copy.copy(module)
            for name, value in vars(module).items():
                if type(value) in (dict, OrderedDict):  # parameters, buffers, hooks
                    vars(mine)[name] = value.copy()
            made[id(module)] = mine
            mine._modules = {name: None if part is None else view(part) for name, part in module._modules.items()}
        return made[id(module)]

    return view(network)
