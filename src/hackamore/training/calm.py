"""Look at a run without touching it: what comes after is, bit for bit, what would have come without."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

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


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast of a run's precision: ``bf16`` and ``fp16`` compute in it, ``no`` does nothing."""
    dtype = PRECISIONS.get(precision, torch.bfloat16)
    return torch.autocast(device.type, dtype, enabled=precision in PRECISIONS)
