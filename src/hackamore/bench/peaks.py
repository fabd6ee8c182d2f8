"""What the machine can do at most, measured: operations and bytes a second; and what a step asks of it."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any

from hackamore.bench.job import Job


def machine(threads: int) -> str:
    """The machine in words."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{name}, {threads} threads, torch {torch.__version__}"


def peak_flops(threads: int, side: int = 2048, rounds: int = 5) -> float:
    """Floating-point operations a second of a matrix product in fp32: the best of several."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.randn(side, side), torch.randn(side, side)
    return 2 * side**3 / _best(lambda: torch.mm(a, b), rounds)


def peak_bytes(threads: int, mib: int = 256, rounds: int = 5) -> float:
    """Bytes a second, read and written, of a copy that no cache holds: the best of several."""
    import torch

    torch.set_num_threads(threads)
    a = torch.ones(mib << 18)
    b = torch.empty_like(a)
    return 2 * (mib << 20) / _best(lambda: b.copy_(a), rounds)


def step_work(job: Job) -> dict[str, float]:
    """What one guided step asks at least: floating-point operations, and bytes of weights that must be read once."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from hackamore.bases.catalog import load_base
    from hackamore.bench.side import hint_of
    from hackamore.controls.catalog import load_control

    base: Any = load_base(job.base, dtype=job.dtype, backend="torch")
    width, height = job.size
    x = torch.randn(2, base.latent_channels, height // base.scale_factor, width // base.scale_factor, dtype=base.dtype)
    text, t = base.encode_text(["", ""], job.size), torch.tensor(500)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        said, weights = None, [*base.network.parameters()]
        for number, name in enumerate(job.controls):
            control = load_control(name, base)
            weights += control.parameters()
            prepared = control.prepare(hint_of(job, number)).expand(2, -1, -1, -1)
            own = control.residuals(x, t, text, prepared)
            said = own if said is None else said + own
        base.predict(x, t, text, said)
    total = counter.get_total_flops()
    return {"flops": float(total), "bytes": float(sum(weight.numel() * weight.element_size() for weight in weights))}


def _best(work: Any, rounds: int) -> float:
    work()
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)
