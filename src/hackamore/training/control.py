"""The ControlNet objective: the base is locked, the copy learns to denoise with the hint in view (paper §3.3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hackamore.bases.base import Text
from hackamore.bases.weighting import literal
from hackamore.controls.branch import Branch
from hackamore.core.image import from_hint
from hackamore.evaluation.sheets import write_sheet
from hackamore.generate import generate
from hackamore.sampling.schedulers import make_scheduler
from hackamore.training.draws import Draws
from hackamore.training.trainer import Task

Hints = Callable[[NDArray[np.intp], Tensor], Tensor]
"""Positions in the data and uniform numbers N×2 (for random thresholds) → hints N×3×H×W in [0, 1]."""


class ControlTask(Task):
    """Latents, hints, captions → the branch's weights, through the locked base: ‖target − prediction‖².

    ``prompt_dropout``: share of captions replaced by the empty one, so that the hint has to say it.
    ``timesteps``: ``uniform``, or ``cubic``, t = T·(1 − u³), which sees more high-noise steps (T2I-Adapter §3.4).
    ``zero_scale``: factor on the learning rate of the zero convolutions and the hint encoder.
    ``eight_bits``: store large convolutions of the finished control in fp8.
    """

    def __init__(
        self,
        branch: Branch,
        latents: NDArray[np.float16],
        captions: list[str],
        hints: Hints,
        *,
        prompt_dropout: float = 0.3,
        timesteps: str = "cubic",
        zero_scale: float = 3.0,
        eight_bits: bool = False,
    ) -> None:
        super().__init__()
        self.eight_bits = eight_bits
        self.branch = branch.requires_grad_(True).train()
        base = self.base
        self.latents, self.hints = latents, hints
        self.prompt_dropout, self.timesteps, self.zero_scale = prompt_dropout, timesteps, zero_scale
        self.unique, inverse = np.unique(captions, return_inverse=True)
        self.caption_of = torch.from_numpy(inverse)
        chunks = [[literal(text) for text in self.unique[i : i + 256]] for i in range(0, len(self.unique), 256)]
        self.empty = base.encode_text([""]).tokens.half().cpu()
        length = self.empty.shape[1]  # longer captions are cut
        self.text = torch.cat([base.encode_text(chunk).tokens[:, :length].half().cpu() for chunk in chunks])
        self.scheduler = make_scheduler("ddim", base.scheduler_config)
        self.velocity = self.scheduler.config.prediction_type == "v_prediction"
        self.alphas = self.scheduler.alphas_cumprod.clone()

    @property
    def base(self) -> Any:
        """The locked base."""
        return self.branch.base

    def place(self, device: torch.device) -> None:
        """Move the branch and the locked base."""
        super().place(device)
        self.base.to(device)

    def groups(self) -> list[dict[str, Any]]:
        """The copy at the run's rate; zero convolutions and hint encoder at ``zero_scale`` times it."""
        copy = list(self.branch.trunk.parameters())
        new = [p for name, p in self.branch.named_parameters() if not name.startswith("trunk.")]
        return [{"params": copy}, {"params": new, "scale": self.zero_scale}]

    def batch(self, draws: Draws) -> dict[str, Tensor]:
        """Latents, noise, timesteps, text and hints of one step."""
        places = draws.indices(len(self.latents))
        latents = torch.from_numpy(np.asarray(self.latents[places.numpy()], np.float32))
        u = draws.uniform()
        share = 1 - u**3 if self.timesteps == "cubic" else u
        text = torch.where(draws.uniform(1, 1) < self.prompt_dropout, self.empty, self.text[self.caption_of[places]])
        return {
            "latents": latents,
            "noise": draws.normal(*latents.shape[1:]),
            "t": (share * len(self.alphas)).long().clamp(max=len(self.alphas) - 1),
            "text": text.float(),
            "hint": self.hints(places.numpy(), draws.uniform(2)),
        }

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of a batch: noise (DDPM eq. 14) or velocity (Salimans & Ho 2022, eq. 12), as the base predicts."""
        alpha = self.alphas.to(batch["t"].device)[batch["t"]][:, None, None, None]
        signal, noise = alpha.sqrt(), (1 - alpha).sqrt()
        noisy = signal * batch["latents"] + noise * batch["noise"]
        target = signal * batch["noise"] - noise * batch["latents"] if self.velocity else batch["noise"]
        text = Text(batch["text"])
        residuals = self.branch(noisy, batch["t"], text, batch["hint"])
        made = self.base.predict(noisy, batch["t"], text, residuals)
        return {"loss": F.mse_loss(made.float(), target)}

    def sample(self, path: Path) -> None:
        """Hints above what they make, for six examples of the data."""
        places = np.linspace(0, len(self.latents) - 1, 6).astype(np.intp)
        hints = self.hints(places, torch.full((len(places), 2), 0.5))
        names = [str(self.unique[self.caption_of[place]]) for place in places]
        size = (hints.shape[3], hints.shape[2])
        made = generate(self.base, names, controls=[self.branch.unit(hints)], size=size, steps=15, batch=len(names))
        pictures = from_hint(hints) + [image.pixels for image in made.images]
        write_sheet(path, pictures, [""] * len(names) + names, columns=len(names))

    def export(self, folder: Path) -> None:
        """The control in diffusers' layout, fp16, or fp8 where that was chosen."""
        from hackamore.controls.formats.diffusers import write_branch

        write_branch(self.branch, folder, torch.float16, eight_bits=self.eight_bits)
