"""Who is to blame for a loss or a gradient that is no number: input, example, weight, or the arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hackamore.training.calm import undisturbed

Batch = Mapping[str, Tensor]
NAMED = 3
"""So many names are told; the rest is counted."""


def not_finite(values: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold NaN or infinity."""
    return [name for name, value in values.items() if value.is_floating_point() and not bool(value.isfinite().all())]


def bad_input(batch: Batch, names: Sequence[str]) -> str | None:
    """Which inputs of which examples are no numbers; None where all are."""
    parts = []
    for field in not_finite(batch):
        rows = batch[field].flatten(1).isfinite().all(1) if batch[field].ndim > 1 else batch[field].isfinite()
        parts.append(
            f"{field} of {listed([name for name, good in zip(names, rows.tolist(), strict=False) if not good])}"
        )
    return " and ".join(parts) or None


def culprit(
    networks: Mapping[str, nn.Module],
    loss: Callable[[Batch], Tensor],
    trained: Mapping[str, nn.Parameter],
    batch: Batch,
    names: Sequence[str],
) -> str:
    """In words, what made the loss or the gradient of ``batch`` no number.

    In this order: weights that are already no numbers, inputs that are none, examples whose own loss is none and the
    first module (in the order of computation) whose output is none, examples and parameters whose gradient is none.
    The step is computed again for that, one example at a time, so that it needs no more memory than the step did.
    ``networks``: by name, those whose modules are looked at.
    """
    weights = not_finite(trained)
    if weights:
        return f"the weights {listed(weights)} are no numbers any more"
    wrong = bad_input(batch, names)
    if wrong is not None:
        return f"the data are no numbers: {wrong}"
    with undisturbed([]):
        examples = _bad_examples(loss, batch, names)
        if examples:
            module = _first_bad_module(networks, loss, rows_of(batch, list(names).index(examples[0])))
            first = f"; the first output that is no number is that of {module}" if module else ""
            return f"the loss of {listed(examples)} is no number{first}"
        for row, name in enumerate(names):
            gradients = _bad_gradients(loss, trained, rows_of(batch, row))
            if gradients:
                return f"the gradient of {name} is no number, in {listed(gradients)}"
    return "each example by itself is fine, so their sum overflows, or the arithmetic is not reliable"


def rows_of(batch: Batch, row: int) -> dict[str, Tensor]:
    """One example of a batch, as a batch."""
    count = max((len(value) for value in batch.values() if value.ndim), default=0)
    return {n: v[row : row + 1] if v.ndim and len(v) == count else v for n, v in batch.items()}


def listed(names: Sequence[Any]) -> str:
    """The first few of some names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(str, names[:NAMED])) + more


@torch.no_grad()
def _bad_examples(loss: Callable[[Batch], Tensor], batch: Batch, names: Sequence[str]) -> list[str]:
    return [name for row, name in enumerate(names) if not math.isfinite(float(loss(rows_of(batch, row))))]


@torch.no_grad()
def _first_bad_module(networks: Mapping[str, nn.Module], loss: Callable[[Batch], Tensor], batch: Batch) -> str | None:
    found: list[str] = []

    def look(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, made: Any) -> None:
            values = [made] if isinstance(made, Tensor) else list(made) if isinstance(made, (tuple, list)) else []
            if not found and not_finite({str(k): v for k, v in enumerate(values) if isinstance(v, Tensor)}):
                found.append(name)

        return hook

    named = {f"{name}.{part}": m for name, network in networks.items() for part, m in network.named_modules() if part}
    hooks = [module.register_forward_hook(look(name)) for name, module in named.items()]
    try:
        loss(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _bad_gradients(loss: Callable[[Batch], Tensor], trained: Mapping[str, nn.Parameter], batch: Batch) -> list[str]:
    with torch.enable_grad():
        made = torch.autograd.grad(loss(batch), list(trained.values()), allow_unused=True)
    return not_finite({name: g for name, g in zip(trained, made, strict=True) if g is not None})
