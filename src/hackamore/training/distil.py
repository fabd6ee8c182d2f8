"""A base in few steps and without guidance: a LoRA learns to go in one step where the base goes in several.

Progressive distillation (Salimans & Ho 2022, section 3) in one stage, on the base's own guided paths from pure noise
instead of noised data: what the student meets while it samples is what it was taught on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hackamore.core.image import from_hint
from hackamore.evaluation.sheets import write_sheet
from hackamore.sampling.guidance import guide
from hackamore.sampling.loop import Step, noise_like, sample
from hackamore.sampling.schedulers import make_scheduler
from hackamore.training.base import PROBES
from hackamore.training.draws import Draws
from hackamore.training.trainer import Task

TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "net.0.proj", "net.2", "conv1", "conv2",
           "conv_shortcut", "time_emb_proj", "linear_1", "linear_2", "conv_in", "conv_out")  # fmt: skip
"""Layers of the U-Net that get a low-rank part."""
CHUNK = 256
"""Paths that are computed and kept at a time."""


def _scheduler(base: Any, steps: int) -> Any:
    return make_scheduler("ddim", base.scheduler_config, steps, base.device, base.timing(steps, base.size))


def told(base: Any, captions: Sequence[str]) -> Tensor:
    """Captions as the text encoder reads them, N×L×D; what does not fit in its window is cut off."""
    window = base.encode_text([""]).tokens.shape[1]
    tokens: Tensor = base.encode_text(list(captions)).tokens
    return tokens[:, :window]


def guided_paths(
    base: Any, captions: Sequence[str], seeds: Sequence[int], few: int, many: int, guidance: float
) -> NDArray[np.float16]:
    """What the base's guided sampling in ``many`` steps passes through at each of ``few`` equal parts.

    N×(few + 1)×C×h×w, first pure noise, last clean latents. ``many`` is a multiple of ``few``.
    """
    shape = (base.latent_channels, *(side // base.scale_factor for side in reversed(base.size)))
    noise, _ = noise_like(shape, seeds)
    x = noise.to(base.device)
    both = torch.cat([told(base, [""] * len(captions)), told(base, captions)])
    scheduler = _scheduler(base, many)
    kept = [x]

    def denoise(x: Tensor, step: Step) -> Tensor:
        made = base.network(torch.cat([x, x]), step.t, encoder_hidden_states=both).sample
        return guide(made.float(), guidance)

    def after(step: Step, x: Tensor, _: Tensor | None) -> None:
        if (step.index + 1) % (many // few) == 0:
            kept.append(x)

    with torch.inference_mode():
        sample(denoise, x, scheduler, scheduler.timesteps, after=after)
    return torch.stack(kept, dim=1).cpu().numpy().astype(np.float16)


class DistilTask(Task):
    """Velocity that leads from one point of a guided path to the next by one DDIM step; mean squared error."""

    def __init__(
        self, base: Any, paths: NDArray[np.float16] | Sequence[NDArray[np.float16]], captions: Sequence[str], rank: int
    ) -> None:
        from peft import LoraConfig

        super().__init__()
        self.chunks = [paths] if isinstance(paths, np.ndarray) else list(paths)
        self.few = self.chunks[0].shape[1] - 1
        self.base = (base,)  # held aside: no part of what is trained or kept
        self.unet = base.network.float()
        self.unet.requires_grad_(False)
        self.unet.add_adapter(
            LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS), init_lora_weights="gaussian"), "live"
        )
        self.low_rank = [p for p in self.unet.parameters() if p.requires_grad]
        with torch.inference_mode():
            texts = [told(base, captions[k : k + 64]) for k in range(0, len(captions), 64)]
        self.text = torch.cat(texts).half().clone()
        self.scheduler = _scheduler(base, self.few)
        times = self.scheduler.timesteps.tolist()
        alphas = [float(self.scheduler.alphas_cumprod[t]) for t in times] + [1.0]
        self.times, self.alphas = torch.tensor(times), torch.tensor(alphas)

    def groups(self) -> list[dict[str, Any]]:
        """The low-rank parts."""
        return [{"params": self.low_rank}]

    def batch(self, draws: Draws) -> dict[str, Tensor]:
        """Points of paths, where each leads, the text and the timestep."""
        places = draws.indices(sum(len(chunk) for chunk in self.chunks)).tolist()
        part = (draws.uniform() * self.few).long()
        size = len(self.chunks[0])
        rows = [self.chunks[p // size][p % size] for p in places]
        x = torch.from_numpy(np.stack([row[k] for row, k in zip(rows, part.tolist(), strict=True)])).float()
        to = torch.from_numpy(np.stack([row[k + 1] for row, k in zip(rows, part.tolist(), strict=True)])).float()
        return {"x": x, "to": to, "text": self.text[places].float(), "part": part}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of a batch: the error of the clean latents and of the velocity, which one step turns into both."""
        x, to, part = batch["x"], batch["to"], batch["part"].cpu()
        here, there = (self.alphas[k][:, None, None, None].to(x.device) for k in (part, part + 1))
        keep = (here * there).sqrt() + ((1 - here) * (1 - there)).sqrt()
        turn = ((1 - there) * here).sqrt() - (there * (1 - here)).sqrt()
        wanted = (to - keep * x) / turn
        made = self.unet(x, self.times[part].to(x.device), encoder_hidden_states=batch["text"]).sample.float()
        error = (made - wanted).square().mean((1, 2, 3))
        parts = {
            f"part {k}": error[part == k].mean() if bool((part == k).any()) else error.mean() for k in (0, self.few - 1)
        }
        return {"loss": error.mean(), **parts}

    def sample(self, path: Path) -> None:
        """The probe captions in few steps, without guidance."""
        base = self.base[0]
        x, _ = noise_like(self.chunks[0].shape[2:], range(len(PROBES)))
        text = told(base, PROBES)

        def denoise(x: Tensor, step: Step) -> Tensor:
            return self.unet(x, step.t, encoder_hidden_states=text).sample.float()  # type: ignore[no-any-return]

        x = sample(denoise, x.to(base.device), self.scheduler, self.scheduler.timesteps)
        write_sheet(path, from_hint(base.decode(x) / 2 + 0.5), PROBES)

    def export(self, folder: Path) -> None:
        """``pytorch_lora_weights.safetensors`` in diffusers' layout, fp16."""
        from diffusers import StableDiffusionPipeline
        from peft import get_peft_model_state_dict

        layers = {k: v.half() for k, v in get_peft_model_state_dict(self.unet, adapter_name="live").items()}
        StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)
