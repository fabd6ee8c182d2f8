"""One training step at Stable Diffusion 1.5's full shape, random weights: ours, diffusers' control, a full fine-tune.

Each side runs in a process of its own, in turn, from the same folders on disk: seconds a step (the median after the
first, from one optimiser step's end to the next one's), seconds of processor time, which a busy machine hardly changes,
and the high-water mark of resident memory. ``diffusers`` does
what a step of its ``train_controlnet.py`` does; ``finetune`` trains the whole U-Net with AdamW; ``ours`` is
``hackamore train`` as a user runs it, and the others are the same with other settings. ``--profile`` tells where the
time of a side goes.

python benchmarks/training_step.py [--sides ours finetune …] [--steps 3] [--size 256] [--threads N] [--folder DIR]
    [--out docs/training-step.json] [--profile]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.optim.optimizer import register_optimizer_step_post_hook
from training_common import merge, read, train

UNET = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
FULL, LEAN = {"precision": "no"}, {"optimiser": "adamw8bit", "ema": 0}
OURS: dict[str, dict[str, Any]] = {
    "ours": {"run": FULL},
    "ours, no average": {"run": FULL | {"ema": 0}},
    "ours, adamw8bit": {"run": FULL | {"optimiser": "adamw8bit"}},
    "ours, bf16 base": {"run": FULL, "memory": {"base_dtype": "bf16"}},
    "ours, adamw8bit and bf16 base": {"run": FULL | {"optimiser": "adamw8bit"}, "memory": {"base_dtype": "bf16"}},
    "ours, adamw8bit, bf16 base, no average": {"run": FULL | LEAN, "memory": {"base_dtype": "bf16"}},
    "ours, bf16 autocast": {"run": {"precision": "bf16"}},
    "ours, channels last": {"run": FULL | {"channels_last": True}},
    "ours, gradient checkpointing": {"run": FULL, "memory": {"gradient_checkpointing": True}},
}
"""Sides that are ours, in fp32 where not told otherwise: what is told beyond the usual settings."""
SIDES = (
    "finetune", "diffusers", "ours", "ours, no average", "ours, adamw8bit, bf16 base, no average",
    "ours, bf16 autocast",
)  # fmt: skip


def write_models(folder: Path, size: int) -> None:
    """A base of the published shape, and a few pairs; autoencoder and text encoder are small, they are not measured."""
    from diffusers import UNet2DConditionModel
    from tests.conftest import write_small_base

    from hackamore.data.worlds import write_worlds

    write_worlds(folder / "pairs", 16, (size, size), 0, ("seg",), 1)
    write_small_base(folder / "base", "sd1", "epsilon")
    torch.manual_seed(0)
    UNet2DConditionModel(**UNET).save_pretrained(folder / "base" / "unet")


class Clock:
    """Notes when each optimiser step is done, whoever's it is; after the last one it tells and leaves."""

    def __init__(self, steps: int, profile: bool) -> None:
        self.steps, self.ticks, self.work = steps, [time.perf_counter()], [time.process_time()]
        self.profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) if profile else None
        register_optimizer_step_post_hook(self.tick)

    def tick(self, *_: object) -> None:
        self.ticks.append(time.perf_counter())
        self.work.append(time.process_time())
        if self.profiler is not None and len(self.ticks) == self.steps:
            self.profiler.__enter__()
        if len(self.ticks) <= self.steps:
            return
        if self.profiler is not None:
            self.profiler.__exit__(None, None, None)
            print(self.profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=30), file=sys.stderr)
        each, work = ([b - a for a, b in pairwise(told)][1:] for told in (self.ticks, self.work))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        told = {"step": statistics.median(each), "cpu": statistics.median(work), "peak": peak}
        told |= {"steps": [round(x, 3) for x in each], "cpus": [round(x, 3) for x in work]}
        print(json.dumps(told), flush=True)
        sys.stderr.flush()
        os._exit(0)  # what follows, saving and exporting, is not measured


def ours(folder: Path, size: int, told: dict[str, Any]) -> None:
    """``hackamore train`` until the clock ends it."""
    with tempfile.TemporaryDirectory() as output:
        settings = {"run": {"steps": 1000, "batch_size": 1, "log_every": 1, **told.get("run", {})}}
        settings |= {name: section for name, section in told.items() if name != "run"}
        train(folder / "base", folder / "pairs", "seg", Path(output), size=(size, size), probe={"every": 0}, **settings)


class Theirs:
    """What diffusers' training examples hold in memory, and one step of each."""

    def __init__(self, folder: Path, size: int) -> None:
        from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel

        base = folder / "base"
        self.scheduler = DDPMScheduler.from_pretrained(base, subfolder="scheduler")
        self.text_encoder = CLIPTextModel.from_pretrained(base, subfolder="text_encoder").requires_grad_(False)
        self.vae = AutoencoderKL.from_pretrained(base, subfolder="vae").requires_grad_(False)
        self.unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
        self.size, self.ids = size, torch.zeros(1, self.text_encoder.config.max_position_embeddings, dtype=torch.long)

    def drawn(self) -> tuple[torch.Tensor, ...]:
        """Noisy latents, timesteps, text and noise of a picture."""
        picture = torch.rand(1, 3, self.size, self.size) * 2 - 1
        latents = self.vae.encode(picture).latent_dist.sample() * self.vae.config.scaling_factor
        noise = torch.randn_like(latents)
        t = torch.randint(0, self.scheduler.config.num_train_timesteps, (1,))
        text = self.text_encoder(self.ids, return_dict=False)[0]
        return self.scheduler.add_noise(latents, noise, t), t, text, noise

    def control(self) -> None:
        """The step of ``train_controlnet.py``."""
        from diffusers import ControlNetModel

        self.unet.requires_grad_(False)
        net = ControlNetModel.from_unet(self.unet).train()
        optimiser = torch.optim.AdamW(net.parameters(), lr=1e-5, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
        while True:
            noisy, t, text, noise = self.drawn()
            hint = torch.rand(1, 3, self.size, self.size)
            skips, mid = net(noisy, t, encoder_hidden_states=text, controlnet_cond=hint, return_dict=False)
            made = self.unet(
                noisy, t, encoder_hidden_states=text, down_block_additional_residuals=skips,
                mid_block_additional_residual=mid, return_dict=False,
            )[0]  # fmt: skip
            _move(F.mse_loss(made, noise), net, optimiser)

    def finetune(self) -> None:
        """The step of ``train_text_to_image.py``."""
        self.unet.train()
        optimiser = torch.optim.AdamW(self.unet.parameters(), lr=1e-5, weight_decay=1e-2)
        while True:
            noisy, t, text, noise = self.drawn()
            made = self.unet(noisy, t, encoder_hidden_states=text, return_dict=False)[0]
            _move(F.mse_loss(made, noise), self.unet, optimiser)


def _move(loss: torch.Tensor, net: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def child(told: argparse.Namespace) -> None:
    """One side; the clock prints what it measured and ends the process."""
    torch.set_num_threads(told.threads)
    Clock(told.steps, told.profile)
    if told.side in OURS:
        ours(told.folder, told.size, OURS[told.side])
    else:
        side = Theirs(told.folder, told.size)
        (side.control if told.side == "diffusers" else side.finetune)()


def measure(side: str, told: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A side in a process of its own."""
    words = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--steps", str(told.steps)]
    words += ["--size", str(told.size), "--threads", str(told.threads), *(["--profile"] if told.profile else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(told.threads), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    if told.profile:
        print(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def words(side: str, found: dict[str, Any]) -> str:
    """What was measured of a side, and its ratios to the full fine-tune where that was measured too."""
    whole, told = found.get("finetune"), []
    for key, unit in (("step", "s"), ("cpu", "processor s"), ("peak", "GiB")):
        ratio = f" ({found[side][key] / whole[key]:.3f} of the fine-tune)" if whole else ""
        told.append(f"{found[side][key]:.2f} {unit}{ratio}")
    return f"{side}: {', '.join(told)}"


def main() -> None:
    """Write the models where they are not yet, then measure each side in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=["finetune", "diffusers", *OURS])
    parser.add_argument("--steps", type=int, default=3, help="measured ones; one more goes before them")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", type=Path, help="keeps the base (3.4 GB) there; a temporary folder when absent")
    parser.add_argument("--out", type=Path, help="JSON of what was measured; other sides in it are kept")
    parser.add_argument("--profile", action="store_true", help="print where the time of the last step goes")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.side:
        told.steps += 1
        child(told)
        return
    machine = f"{platform.machine()}, {told.threads} threads, torch {torch.__version__}, {told.size}², batch 1"
    found: dict[str, Any] = read(told.out).get("sides", {}) if told.out else {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = told.folder or Path(temporary)
        if not (folder / "base" / "unet").exists():
            write_models(folder, told.size)
        for side in told.sides:
            found[side] = measure(side, told, folder)
            print(words(side, found), flush=True)
            if told.out is not None:
                merge(told.out, {"machine": machine, "sides": found})


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
