"""AdamW whose two moments take a byte a weight each, on any device, without a compiled kernel."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, overload

import torch
from torch import Tensor

BLOCK = 256
"""Weights that share one scale."""
SMALLEST = 4096
"""Tensors of fewer weights keep their moments in full."""
CHUNK = {"cpu": 1 << 16, "cuda": 1 << 24}
"""Weights worked on at a time: on a CPU what its cache holds, elsewhere what little memory to spare holds."""
GOLDEN = (math.sqrt(5) - 1) / 2


class AdamW8bit(torch.optim.Optimizer):
    """AdamW (Loshchilov & Hutter 2019) with blockwise 8-bit moments (Dettmers et al. 2022, §2).

    Each block of 256 weights has a scale a moment. Within it the first moment is kept as the signed square root, the
    second as the fourth root, in 127 and 255 even steps: fine where values are small. Rounding is dithered by a golden
    ratio sequence of the step, so that averages that move by less than a step still move, and the same steps give the
    same bits. A second moment never rounds to nothing, which would make its weight leap.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every weight that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group)
        return loss

    def _move(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state.update(_fresh(weight))
        state["step"] += 1
        step = int(state["step"])
        flat, gradient = weight.reshape(-1), weight.grad.reshape(-1)  # type: ignore[union-attr]
        size = CHUNK.get(weight.device.type, CHUNK["cuda"])
        for first in range(0, weight.numel(), size):
            part = slice(first, min(first + size, weight.numel()))
            _move_part(flat[part], gradient[part].float(), state, part, step, group)
        if flat.data_ptr() != weight.data_ptr():  # another memory format: the flat one was a copy
            weight.copy_(flat.view_as(weight))


def _fresh(weight: Tensor) -> dict[str, Tensor]:
    """Both moments at nought."""
    count, device = weight.numel(), weight.device
    state = {"step": torch.zeros((), dtype=torch.int64)}
    if count < SMALLEST:
        return state | {name: torch.zeros(count, device=device) for name in ("exp_avg", "exp_avg_sq")}
    blocks = -(-count // BLOCK)
    return state | {
        "exp_avg": torch.zeros(count, dtype=torch.int8, device=device),
        "exp_avg_sq": torch.zeros(count, dtype=torch.uint8, device=device),
        "scale": torch.zeros(blocks, device=device),
        "scale_sq": torch.zeros(blocks, device=device),
    }


def _move_part(
    weight: Tensor, gradient: Tensor, state: dict[str, Tensor], part: slice, step: int, group: dict[str, Any]
) -> None:
    """One chunk; chunks begin at blocks' boundaries."""
    first, second = group["betas"]
    whole = "scale" not in state
    blocks = slice(part.start // BLOCK, -(-part.stop // BLOCK))
    if whole:
        m, v = state["exp_avg"][part], state["exp_avg_sq"][part]
    else:
        m = _signed(state["exp_avg"][part], state["scale"][blocks])
        v = _fourth(state["exp_avg_sq"][part], state["scale_sq"][blocks])
    m.lerp_(gradient, 1 - first)
    v.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    divisor = v.sqrt().mul_(1 / math.sqrt(1 - second**step)).add_(group["eps"])
    weight.mul_(1 - group["lr"] * group["weight_decay"])
    weight.addcdiv_(m, divisor, value=-group["lr"] / (1 - first**step))
    if not whole:
        dither = _dither(len(m), step, str(m.device))
        _keep(m, state["exp_avg"][part], state["scale"][blocks], dither, signed=True)
        _keep(v, state["exp_avg_sq"][part], state["scale_sq"][blocks], dither, signed=False)


def _signed(kept: Tensor, scale: Tensor) -> Tensor:
    """q|q| / 127² · scale."""
    root = kept.float()
    return _times(root.mul_(root.abs()), scale / 127**2)


def _fourth(kept: Tensor, scale: Tensor) -> Tensor:
    """(q / 255)⁴ · scale."""
    return _times(kept.float().square_().square_(), scale / 255**4)


def _keep(value: Tensor, kept: Tensor, scale: Tensor, dither: Tensor, *, signed: bool) -> None:
    """Write ``value`` into bytes; ``value`` is used up."""
    size = value.abs() if signed else value
    scale.copy_(_largest(size))
    _times(size, scale.clamp(min=torch.finfo(torch.float32).tiny).reciprocal())
    if signed:
        steps = size.sqrt_().mul_(127).add_(dither).floor_().clamp_(max=127)
        kept.copy_(torch.copysign(steps, value))
    else:
        kept.copy_(size.sqrt_().sqrt_().mul_(255).add_(dither).floor_().clamp_(1, 255))


def _blocks(values: Tensor) -> tuple[Tensor, Tensor]:
    """Whole blocks as rows, and what is left over as a row of its own."""
    whole = len(values) // BLOCK * BLOCK
    return values[:whole].view(-1, BLOCK), values[whole:]


def _times(values: Tensor, scale: Tensor) -> Tensor:
    rows, rest = _blocks(values)
    rows.mul_(scale[: len(rows), None])
    if len(rest):
        rest.mul_(scale[-1])
    return values


def _largest(values: Tensor) -> Tensor:
    rows, rest = _blocks(values)
    found = rows.amax(1) if len(rows) else values.new_empty(0)
    return torch.cat([found, rest.amax().view(1)]) if len(rest) else found


def _dither(count: int, step: int, device: str) -> Tensor:
    """Numbers in [0, 1), for each place a sequence of its own that fills the interval evenly as steps go by."""
    return _places(device)[:count].add(step * GOLDEN % 1).frac_()


@lru_cache(maxsize=4)
def _places(device: str) -> Tensor:
    size = CHUNK.get(torch.device(device).type, CHUNK["cuda"])
    return torch.rand(size, generator=torch.Generator().manual_seed(0)).to(device)
