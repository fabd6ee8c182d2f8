"""The sides that are compared by default, and what was measured of them in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hackamore.backends.choose import is_usable
from hackamore.bench.job import Job
from hackamore.core.effort import LEVELS

HEAD = ("side", "seconds", "of diffusers", "a step", "MiB", "of diffusers", "largest difference")


def sides(job: Job) -> dict[str, Job]:
    """Ours beside ``job``: exact on each backend, and each fast level on the best one."""
    openvino = job.device == "cpu" and job.dtype == "fp32" and is_usable()
    best = "openvino" if openvino else "torch"
    exact = {"exact, PyTorch": job.on("ours", "torch")}
    exact |= {"exact, OpenVINO": job.on("ours", "openvino")} if openvino else {}
    return exact | {f"fast {level}": job.on("ours", best, level) for level in LEVELS}


def row(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    """A side's line under :data:`HEAD`; the difference is told where the same steps were run."""
    other = found["other"]
    step = "–" if other["step"] is None else f"{other['step']:.3f}"
    exact = found["difference"] is not None and name.startswith("exact")
    return (
        name, f"{other['seconds']:.2f}", f"{found['ratio']:.2f}", step, f"{other['peak']:,.0f}",
        f"{found['memory ratio']:.2f}", f"{found['difference']:.0e}" if exact else "–",
    )  # fmt: skip


def reference_row(found: Mapping[str, Any]) -> tuple[str, ...]:
    """The line of the side that the others are compared with."""
    one = found["reference"]
    step = "–" if one["step"] is None else f"{one['step']:.3f}"
    return "diffusers", f"{one['seconds']:.2f}", "1.00", step, f"{one['peak']:,.0f}", "1.00", "–"
