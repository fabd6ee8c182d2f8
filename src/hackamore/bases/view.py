"""A second module tree over the same weights, so that something can be put inside a shared network for one user."""

from __future__ import annotations

import copy
from collections import OrderedDict
from functools import partial
from types import MethodType
from typing import Any

from torch import nn


def view_of(network: nn.Module, own: dict[int, nn.Parameter] | None = None) -> nn.Module:
    """A copy of the tree of ``network`` that shares every parameter and buffer with it.

    Modules of the view can be exchanged, wrapped or given hooks, and attributes set, without ``network`` changing.
    What was put in place of a module's methods (accelerate's offloading) acts on the view's module instead, and a
    compiled network is compiled anew, at its first call.
    A parameter that is moved or cast moves in both. With ``own``, a table that several views may fill together, the
    view has parameters of its own over the same memory: moving it leaves ``network`` where it is.
    """
    made: dict[int, nn.Module] = {}

    def view(module: nn.Module) -> nn.Module:
        if id(module) not in made:
            mine = copy.copy(module)
            for name, value in vars(module).items():
                if type(value) in (dict, OrderedDict):  # parameters, buffers, hooks
                    vars(mine)[name] = value.copy()
                else:
                    vars(mine)[name] = _rebound(value, module, mine)
            if own is not None:
                mine._parameters = {
                    name: None if value is None else _owned(value, own) for name, value in module._parameters.items()
                }
            if vars(mine).pop("_compiled_call_impl", None) is not None:
                mine.compile()
            made[id(module)] = mine
            mine._modules = {name: None if part is None else view(part) for name, part in module._modules.items()}
        return made[id(module)]

    return view(network)


def _owned(parameter: nn.Parameter, own: dict[int, nn.Parameter]) -> nn.Parameter:
    """A parameter over the same memory, one and the same for each place that ``parameter`` has."""
    if id(parameter) not in own:
        own[id(parameter)] = nn.Parameter(parameter.detach(), parameter.requires_grad)
    return own[id(parameter)]


def _rebound(value: Any, old: nn.Module, new: nn.Module) -> Any:
    """A method of ``old``, or a call with it as an argument, as one of ``new``; all else as it is."""
    if isinstance(value, MethodType) and value.__self__ is old:
        return MethodType(value.__func__, new)
    if isinstance(value, partial) and any(argument is old for argument in value.args):
        arguments = (new if argument is old else argument for argument in value.args)
        again = partial(value.func, *arguments, **value.keywords)
        vars(again).update({name: _rebound(told, old, new) for name, told in vars(value).items()})
        return again
    return value
