"""A side at work, in a process of its own: told a job, it loads, and then runs as often as it is told to.

It reads lines from stdin (a job first, then ``run``, ``keep FILE``, ``end``) and answers each with a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from hackamore.bench.job import NEGATIVE, PROMPT, Job

Run = Callable[[Callable[[], None]], Any]
"""Makes the picture once, calling what it is given after each step; gives the latents N×C×h×w."""


def hint_of(job: Job, number: int = 0) -> Any:
    """A hint that says something everywhere."""
    import torch

    width, height = job.size
    generator = torch.Generator().manual_seed(number)
    return (torch.rand(1, 3, height, width, generator=generator) > 0.9).float()


def ours(job: Job) -> Run:
    """Our library, as a user calls it."""
    from hackamore.bases.catalog import load_base
    from hackamore.controls.catalog import load_control
    from hackamore.core.effort import Fast
    from hackamore.generate import generate

    base = load_base(job.base, device=job.device, dtype=job.dtype, backend=job.backend, **job.options)
    loaded = {name: load_control(name, base) for name in dict.fromkeys(job.controls)}
    scale = 1 / max(1, len(job.controls))
    units = [loaded[name].unit(hint_of(job, k), scale=scale) for k, name in enumerate(job.controls)]
    told: dict[str, Any] = {"fast": Fast(**job.fast) if isinstance(job.fast, dict) else job.fast}
    told |= {} if job.steps is None else {"steps": job.steps, "scheduler": job.scheduler}

    def run(tick: Callable[[], None]) -> Any:
        made = generate(
            base, PROMPT, negative=NEGATIVE, controls=units, seed=1, size=job.size, guidance=job.guidance,
            progress=lambda _: tick(), **told,
        )  # fmt: skip
        return made.latents

    return run


def diffusers(job: Job) -> Run:
    """Its pipeline, as its documentation calls it."""
    import diffusers
    import torch
    from PIL import Image

    from hackamore.core.image import from_hint

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[job.dtype]
    nets = {
        name: diffusers.ControlNetModel.from_pretrained(_folder(name), torch_dtype=dtype)
        for name in dict.fromkeys(job.controls)
    }
    several = [nets[name] for name in job.controls]
    xl = "XL" if job.family == "sdxl" else ""
    kind = getattr(diffusers, f"StableDiffusion{xl}{'ControlNet' if several else ''}Pipeline")
    told: dict[str, Any] = {"torch_dtype": dtype}
    told |= {"controlnet": several if len(several) > 1 else several[0]} if several else {}
    pipeline = kind.from_pretrained(_folder(job.base), **told).to(job.device)
    scheduler = {"ddim": "DDIMScheduler", "euler": "EulerDiscreteScheduler", "dpm++_2m": "DPMSolverMultistepScheduler"}
    pipeline.scheduler = getattr(diffusers, scheduler[job.scheduler]).from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    if job.backend == "compile":
        pipeline.unet = torch.compile(pipeline.unet)
        if several:
            compiled = {id(net): torch.compile(net) for net in nets.values()}
            parts = [compiled[id(net)] for net in several]
            pipeline.controlnet = parts[0] if len(parts) == 1 else diffusers.MultiControlNetModel(parts)
    pictures = [Image.fromarray(from_hint(hint_of(job, k))[0]) for k in range(len(several))]
    scales = [1 / len(several)] * len(several) if several else []
    asked: dict[str, Any] = {}
    if several:
        asked = {"image": pictures, "controlnet_conditioning_scale": scales}
        asked = asked if len(several) > 1 else {name: value[0] for name, value in asked.items()}

    def run(tick: Callable[[], None]) -> Any:
        def after(_pipeline: Any, _step: int, _t: Any, kept: dict[str, Any]) -> dict[str, Any]:
            tick()
            return kept

        kept: list[Any] = []
        decode = pipeline.vae.decode

        def seen(latents: Any, **words: Any) -> Any:
            kept.append(latents * pipeline.vae.config.scaling_factor)
            return decode(latents, **words)

        pipeline.vae.decode = seen
        try:
            pipeline(
                PROMPT, negative_prompt=NEGATIVE, width=job.size[0], height=job.size[1], num_inference_steps=job.steps,
                guidance_scale=job.guidance, generator=[torch.Generator().manual_seed(1)], callback_on_step_end=after,
                **asked,
            )  # fmt: skip
        finally:
            pipeline.vae.decode = decode
        return kept[0]

    return run


def _folder(name: str) -> Path:
    """The folder of an embedded base or control, or the folder that is named."""
    from hackamore.bases.catalog import BASES, MEADOW

    if name in BASES:
        return Path(BASES[name].folder)
    return MEADOW / "controls" / name.partition("/")[2] if name.startswith("meadow/") else Path(name)


def peak() -> float:
    """The most memory that this process has held, in MiB: resident, or on the accelerator where one is used."""
    import resource

    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def timed(run: Run, device: str) -> tuple[dict[str, Any], Any]:
    """One run: seconds until its first step is done, of each further step, and of all; its latents."""
    import torch

    def now() -> float:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    ticks = [now()]
    latents = run(lambda: ticks.append(now()))
    end = now()
    each = [b - a for a, b in pairwise(ticks[1:])]
    return {"seconds": end - ticks[0], "first": ticks[1] - ticks[0], "steps": each}, latents


def main() -> None:
    """Serve the parent."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what others print is not an answer
    job = Job.loads(sys.stdin.readline())
    began = time.perf_counter()
    import torch

    torch.set_num_threads(job.threads)
    run = (ours if job.side == "ours" else diffusers)(job)
    print(json.dumps({"load": time.perf_counter() - began}), file=answers)
    latents: Any = None
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "end":
            break
        if word == "run":
            found, latents = timed(run, job.device)
            print(json.dumps(found | {"peak": peak(), "clock": time.time()}), file=answers)
        if word == "keep":
            torch.save(latents.float().cpu(), rest)
            print(json.dumps({"kept": rest}), file=answers)


if __name__ == "__main__":
    main()
