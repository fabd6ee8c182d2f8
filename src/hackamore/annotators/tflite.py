"""TensorFlow Lite networks run by torch: the few operators that published pose, hand and face networks are made of.

Values keep TensorFlow's order of axes (N×H×W×C) from end to end; only convolutions and pooling look at them as N×C×H×W.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hackamore.annotators.flatfile import FlatFile, Graph, Operator, read_graph
from hackamore.core.errors import HackamoreError

SAME = 0
"""The number of the padding that keeps the size (divided by the stride, rounded up)."""


class Network:
    """A TensorFlow Lite network that takes one square picture of :attr:`side` pixels."""

    def __init__(self, data: bytes, name: str = "the network") -> None:
        try:
            self._graph = read_graph(data)
        except (ValueError, KeyError, IndexError, struct.error) as error:
            raise HackamoreError(
                f"{name} cannot be read as a TensorFlow Lite network",
                received=f"{len(data)} bytes",
                expected="a .tflite file as published, whole",
            ) from error
        unknown = {op.code for op in self._graph.operators} - set(OPERATORS)
        if unknown:
            numbers = ", ".join(str(code) for code in sorted(unknown))
            raise HackamoreError(f"{name} has operators that are not known here", received=f"numbers {numbers}")
        self._name = name
        self._constants = {number: _tensor(values) for number, values in self._graph.constants.items()}
        self.side = self._graph.side

    @torch.inference_mode()
    def __call__(self, picture: NDArray[np.float32], outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        """The named outputs for a float picture H×W×3 in the network's own range."""
        unknown = [name for name in outputs if name not in self._graph.names]
        if unknown:
            raise HackamoreError(f"{self._name} is another network than expected", expected=f"output {unknown[0]}")
        values = dict(self._constants)
        values[self._graph.input] = torch.from_numpy(np.ascontiguousarray(picture))[None]
        for operator in self._graph.operators:
            taken = [values[tensor] for tensor in operator.inputs if tensor >= 0]
            values[operator.outputs[0]] = OPERATORS[operator.code](_Options(self._graph, operator), *taken)
        return [values[self._graph.names[name]].numpy() for name in outputs]


def _tensor(values: NDArray[np.generic]) -> Tensor:
    """Weights in single precision, whole numbers as they are."""
    return torch.from_numpy(values.astype(np.float32) if values.dtype.kind == "f" else values.copy())


class _Options:
    """An operator's options by their field numbers; absent ones have the schema's defaults."""

    def __init__(self, graph: Graph, operator: Operator) -> None:
        self._file: FlatFile = graph.file
        self._table = operator.options

    def byte(self, field: int) -> int:
        return self._file.number(self._table, field, "<b") if self._table else 0

    def whole(self, field: int, default: int = 0) -> int:
        return self._file.number(self._table, field, "<i", default) if self._table else default

    def list_of(self, field: int) -> list[int]:
        return [int(number) for number in self._file.vector(self._table, field)]

    def activate(self, field: int, x: Tensor) -> Tensor:
        """The activation that is fused into the operator: none, ReLU, ReLU in [−1, 1], ReLU6."""
        low, high = {0: (None, None), 1: (0, None), 2: (-1, 1), 3: (0, 6)}[self.byte(field)]
        return x if low is None else x.clamp(low, high)


def _pad_same(x: Tensor, kernel: Sequence[int], stride: Sequence[int], value: float = 0.0) -> Tensor:
    """TensorFlow's SAME padding of N×C×H×W: the odd pixel goes to the right and the bottom."""
    edges: list[int] = []
    for side, reach, step in zip(reversed(x.shape[-2:]), reversed(kernel), reversed(stride), strict=True):
        missing = max((-(-side // step) - 1) * step + reach - side, 0)
        edges += [missing // 2, missing - missing // 2]
    return F.pad(x, edges, value=value) if any(edges) else x


def _convolution(options: _Options, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    stride = options.whole(2), options.whole(1)
    spread = options.whole(5, 1), options.whole(4, 1)
    kernel = [(side - 1) * step + 1 for side, step in zip(weight.shape[1:3], spread, strict=True)]
    x = x.permute(0, 3, 1, 2)
    x = _pad_same(x, kernel, stride) if options.byte(0) == SAME else x
    x = F.conv2d(x, weight.permute(0, 3, 1, 2), bias, stride, dilation=spread)
    return options.activate(3, x.permute(0, 2, 3, 1))


def _depthwise(options: _Options, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    stride = options.whole(2), options.whole(1)
    spread = options.whole(6, 1), options.whole(5, 1)
    kernel = [(side - 1) * step + 1 for side, step in zip(weight.shape[1:3], spread, strict=True)]
    x = x.permute(0, 3, 1, 2)
    groups = x.shape[1]
    x = _pad_same(x, kernel, stride) if options.byte(0) == SAME else x
    x = F.conv2d(x, weight.permute(3, 0, 1, 2), bias, stride, dilation=spread, groups=groups)
    return options.activate(4, x.permute(0, 2, 3, 1))


def _max_pool(options: _Options, x: Tensor) -> Tensor:
    stride, kernel = (options.whole(2), options.whole(1)), (options.whole(4), options.whole(3))
    x = x.permute(0, 3, 1, 2)
    x = _pad_same(x, kernel, stride, value=-torch.inf) if options.byte(0) == SAME else x
    return options.activate(5, F.max_pool2d(x, kernel, stride).permute(0, 2, 3, 1))


def _resize(options: _Options, x: Tensor, size: Tensor) -> Tensor:
    x = x.permute(0, 3, 1, 2)
    x = F.interpolate(x, size.tolist(), mode="bilinear", align_corners=bool(options.byte(2)))
    return x.permute(0, 2, 3, 1)


def _depth_to_space(options: _Options, x: Tensor) -> Tensor:
    block = options.whole(0)
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, block, block, c // block**2).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h * block, w * block, c // block**2)


def _pad(_options: _Options, x: Tensor, edges: Tensor) -> Tensor:
    return F.pad(x, edges.flip(0).flatten().tolist())


def _fully_connected(options: _Options, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return options.activate(0, F.linear(x.reshape(-1, weight.shape[1]), weight, bias))


OPERATORS: dict[int, Callable[..., Tensor]] = {
    0: lambda options, x, y: options.activate(0, x + y),
    2: lambda options, *parts: options.activate(1, torch.cat(parts, options.whole(0))),
    3: _convolution,
    4: _depthwise,
    5: _depth_to_space,
    6: lambda _, x: x,  # half precision to single: done when the file is read
    9: _fully_connected,
    14: lambda _, x: x.sigmoid(),
    17: _max_pool,
    19: lambda _, x: x.relu(),
    22: lambda options, x, *shape: x.reshape(shape[0].tolist() if shape else options.list_of(0)),
    23: _resize,
    34: _pad,
    40: lambda options, x, axes: x.mean(axes.tolist(), keepdim=bool(options.byte(0))),
    54: lambda _, x, slope: torch.where(x > 0, x, x * slope),
    124: lambda _, x: x,  # sparse to full: done when the file is read
}
"""What is done for each operator, by its number in the schema."""
