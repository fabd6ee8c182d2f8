"""Ours beside diffusers' pipeline in one process, alternating: seconds, ratio, largest difference of the latents.

python benchmarks/generation.py [--runs 5] [--steps 20]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from PIL import Image

from hackamore.bases.catalog import MEADOW, load_base
from hackamore.controls.catalog import load_control
from hackamore.core.image import from_hint
from hackamore.generate import generate
from hackamore.sampling.schedulers import make_scheduler

PROMPT = "mountains with a lake at noon"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    told = parser.parse_args()
    base = load_base("meadow", backend="torch")
    control = load_control("meadow/canny", base)
    net = ControlNetModel.from_pretrained(MEADOW / "controls" / "canny", torch_dtype=base.dtype).to(base.device)
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(
        MEADOW,
        controlnet=net,
        scheduler=make_scheduler(base.scheduler, base.scheduler_config),
        torch_dtype=base.dtype,
    ).to(base.device)
    pipeline.set_progress_bar_config(disable=True)
    hint = (torch.rand(1, 3, *base.size[::-1], generator=torch.Generator().manual_seed(0)) > 0.9).float()
    picture = Image.fromarray(from_hint(hint)[0])

    def ours():
        made = generate(base, PROMPT, controls=[control.unit(hint)], seed=1, steps=told.steps)
        return made.latents, made.images[0].pixels

    def theirs():
        generator = [torch.Generator().manual_seed(1)]
        return pipeline(
            PROMPT, image=picture, num_inference_steps=told.steps, guidance_scale=base.guidance, generator=generator
        ).images[0]

    latents = pipeline(
        PROMPT, image=picture, num_inference_steps=told.steps, guidance_scale=base.guidance, output_type="latent",
        generator=[torch.Generator().manual_seed(1)],
    ).images  # fmt: skip
    difference = float((latents - ours()[0]).abs().max())
    theirs()
    seconds: dict[str, list[float]] = {"ours": [], "diffusers": []}
    for _ in range(told.runs):
        for name, work in (("ours", ours), ("diffusers", theirs)):
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    ratios = [a / b for a, b in zip(seconds["ours"], seconds["diffusers"], strict=True)]
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"Meadow {base.size[0]}×{base.size[1]}, {told.steps} steps, one control, {told.runs} alternating runs")
    for name, values in seconds.items():
        print(f"{name:10} median {statistics.median(values):.3f} s  (min {min(values):.3f}, max {max(values):.3f})")
    print(f"ours ÷ diffusers: median {statistics.median(ratios):.3f}; largest difference of latents {difference:.1e}")


if __name__ == "__main__":
    main()
