"""Look at a run without touching it: what comes after is, bit for bit, what would have come without."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""What a run's precision computes in, beside ``no``, which leaves it to the weights."""


@contextmanager
def undisturbed(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, ``networks`` are in evaluation mode; afterwards every mode, generator and thread count is as before.

    Restores the generators of Python, numpy and torch (also those of its CUDA devices).
    """
    modes = {module: module.training for network in networks for module in network.modules()}
    python, numpy, threads = random.getstate(), np.random.get_state(), torch.get_num_threads()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()), enabled=True):
        try:
            for module in modes:
                module.training = False
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode
            random.setstate(python)
            np.random.set_state(numpy)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)


class _Fp32Attention(TorchFunctionMode):
    """Attention in fp32 amid bf16: on a CPU its backward pass in bf16 was measured to be 1.5 to 6 times slower."""

    def __torch_function__(self, called: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if called is not F.scaled_dot_product_attention:
            return called(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            named = {name: _whole(value) for name, value in kwargs.items()}
            return called(*map(_whole, args), **named)


def _whole(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast of a run's precision: ``bf16`` and ``fp16`` compute in it, ``no`` does nothing."""
    dtype = PRECISIONS.get(precision, torch.bfloat16)
    return torch.autocast(device.type, dtype, enabled=precision in PRECISIONS)


def quick_attention(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """What a step is done in, also backwards, where activations are made again: :class:`_Fp32Attention`."""
    return _Fp32Attention() if device.type == "cpu" and precision in PRECISIONS else nullcontext()
