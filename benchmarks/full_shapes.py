"""Stable Diffusion 1.5's full shape at 512², random weights: ours beside diffusers with 1, 2 and 4 controls.

Each side runs in processes of its own, in turn, from the same folders on disk: seconds a step, peak memory, and the
largest difference of the latents. Processes differ by several percent from one another; ``--together`` times both sides
in one process, alternating, which tells the ratio more truly and says nothing of memory.

python benchmarks/full_shapes.py [--controls 1 2 4] [--steps 3] [--size 512] [--folder DIR] [--together ROUNDS]
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch

PROMPT, NEGATIVE, GUIDANCE = "mountains with a lake at noon", "a town", 7.5
UNET = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}


def write_models(folder: Path) -> None:
    """A base and a control of the published shape; autoencoder and text encoder are small, they are not measured."""
    from diffusers import ControlNetModel, UNet2DConditionModel
    from tests.conftest import write_small_base

    write_small_base(folder / "base", "sd1", "epsilon")
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**UNET)
    unet.save_pretrained(folder / "base" / "unet")
    control = ControlNetModel.from_unet(unet)
    del unet
    with torch.no_grad():
        for name, parameter in control.named_parameters():
            if "controlnet_" in name and float(parameter.abs().max()) == 0:
                parameter.normal_(std=0.01)
    control.save_pretrained(folder / "control")


def hint_of(size: int) -> torch.Tensor:
    """A hint that says something everywhere."""
    return (torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) > 0.9).float()


def ours(folder: Path, controls: int, steps: int, size: int) -> tuple[torch.Tensor, list[float]]:
    """Latents, and when each step was done."""
    from hackamore.bases.catalog import load_base
    from hackamore.controls.catalog import load_control
    from hackamore.generate import generate

    base = load_base(folder / "base", backend="torch")
    units = [load_control(folder / "control", base).unit(hint_of(size), scale=1 / controls) for _ in range(controls)]
    ticks = [time.perf_counter()]
    made = generate(
        base, PROMPT, negative=NEGATIVE, controls=units, seed=1, size=(size, size), steps=steps, guidance=GUIDANCE,
        scheduler="ddim", progress=lambda _: ticks.append(time.perf_counter()),
    )  # fmt: skip
    return made.latents, ticks


def theirs(folder: Path, controls: int, steps: int, size: int) -> tuple[torch.Tensor, list[float]]:
    """The same by diffusers' pipeline."""
    from diffusers import ControlNetModel, DDIMScheduler, StableDiffusionControlNetPipeline
    from PIL import Image

    from hackamore.core.image import from_hint

    nets = [ControlNetModel.from_pretrained(folder / "control", torch_dtype=torch.float32) for _ in range(controls)]
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(
        folder / "base", controlnet=nets if controls > 1 else nets[0], torch_dtype=torch.float32,
        scheduler=DDIMScheduler.from_pretrained(folder / "base" / "scheduler"),
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    picture = Image.fromarray(from_hint(hint_of(size))[0])
    scale = [1 / controls] * controls
    ticks = [time.perf_counter()]

    def tick(_pipeline, _step, _t, kept):
        ticks.append(time.perf_counter())
        return kept

    made = pipeline(
        PROMPT, negative_prompt=NEGATIVE, image=[picture] * controls if controls > 1 else picture, width=size,
        height=size, num_inference_steps=steps, guidance_scale=GUIDANCE, output_type="latent",
        controlnet_conditioning_scale=scale if controls > 1 else scale[0],
        generator=[torch.Generator().manual_seed(1)], callback_on_step_end=tick,
    ).images  # fmt: skip
    return made, ticks


def together(folder: Path, controls: int, steps: int, size: int, rounds: int) -> None:
    """The last step of both sides, alternating in this process."""
    ratios = []
    for number in range(rounds):
        last = []
        for work in (ours, theirs):
            _, ticks = work(folder, controls, steps, size)
            last.append(ticks[-1] - ticks[-2])
        ratios.append(last[0] / last[1])
        print(
            f"{controls} controls, round {number + 1}: {last[0]:.2f} s / {last[1]:.2f} s = {ratios[-1]:.3f}", flush=True
        )
    print(f"{controls} controls: a step, median of {rounds}: {statistics.median(ratios):.3f}", flush=True)


def child(told: argparse.Namespace) -> None:
    """One side, once; what it measured as JSON on stdout."""
    work = {"ours": ours, "diffusers": theirs}[told.side]
    latents, ticks = work(told.folder, told.controls[0], told.steps, told.size)
    torch.save(latents, told.folder / f"{told.side}.pt")
    each = [b - a for a, b in pairwise(ticks)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"all": ticks[-1] - ticks[0], "step": statistics.median(each[1:] or each), "peak": peak}))


def measure(folder: Path, controls: int, steps: int, size: int) -> None:
    """Both sides in turn, and their ratios."""
    found = {}
    for side in ("diffusers", "ours"):
        words = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--controls", str(controls)]
        words += ["--steps", str(steps), "--size", str(size)]
        found[side] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    a, b = (torch.load(folder / f"{side}.pt", weights_only=True) for side in ("ours", "diffusers"))
    ours_, theirs_ = found["ours"], found["diffusers"]
    print(
        f"{controls} controls: a step {ours_['step']:.2f} s / {theirs_['step']:.2f} s = "
        f"{ours_['step'] / theirs_['step']:.3f}; {steps} steps {ours_['all']:.1f} s / {theirs_['all']:.1f} s = "
        f"{ours_['all'] / theirs_['all']:.3f}; peak {ours_['peak']:.2f} GiB / {theirs_['peak']:.2f} GiB = "
        f"{ours_['peak'] / theirs_['peak']:.3f}; largest difference {float((a - b).abs().max()):.1e}",
        flush=True,
    )


def main() -> None:
    """Write the models where they are not yet, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--controls", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--folder", type=Path, help="keeps the models (5 GB) there; a temporary folder when absent")
    parser.add_argument("--together", type=int, metavar="ROUNDS", help="time both sides in one process instead")
    parser.add_argument("--side", choices=["ours", "diffusers"], help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.side:
        child(told)
        return
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, fp32, ours / diffusers")
    with tempfile.TemporaryDirectory() as temporary:
        folder = told.folder or Path(temporary)
        if not (folder / "control").exists():
            write_models(folder)
        for controls in told.controls:
            if told.together:
                together(folder, controls, told.steps, told.size, told.together)
            else:
                measure(folder, controls, told.steps, told.size)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
