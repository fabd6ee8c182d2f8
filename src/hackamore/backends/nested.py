"""Tensors in tuples, lists, tables and records: taken out in an order, and put back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor


def tensors_of(value: Any) -> list[Tensor]:
    """Every tensor of a nested value, depth first."""
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in _parts(value) for tensor in tensors_of(part)]


def put_back(value: Any, tensors: Iterator[Tensor]) -> Any:
    """The same value, its tensors exchanged for ``tensors``, in their order."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, dict):
        return {name: put_back(part, tensors) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(put_back(part, tensors) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{one.name: put_back(getattr(value, one.name), tensors) for one in fields(value)})
    return value


def form_of(value: Any) -> object:
    """What is left when the tensors are taken out: equal for values that one graph serves."""
    if isinstance(value, Tensor):
        return tuple(value.shape), str(value.dtype)
    inside = tuple(form_of(part) for part in _parts(value))
    if isinstance(value, dict):
        return "table", tuple(value), inside
    return (type(value).__name__, inside) if _is_nest(value) else repr(value)


def _is_nest(value: Any) -> bool:
    return isinstance(value, (dict, tuple, list)) or (is_dataclass(value) and not isinstance(value, type))


def _parts(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (tuple, list)):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, one.name) for one in fields(value)]
    return []
