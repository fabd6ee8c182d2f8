"""A base from nothing: text encoder and U-Net trained together on captions and fixed latents (velocity prediction)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from hackamore.core.image import from_hint
from hackamore.evaluation.sheets import write_sheet
from hackamore.sampling.guidance import guide
from hackamore.sampling.loop import Step, noise_like, sample
from hackamore.training.autoencoder import Codec
from hackamore.training.draws import Draws
from hackamore.training.patches import Patches
from hackamore.training.trainer import Task

PROBES = (
    "a snowy mountain with a lake at noon, clear sky, winter",
    "desert dunes at sunset, clear sky",
    "islands in the sea at noon, cloudy sky",
    "a mountain range with a forest and pine trees in the afternoon, summer",
    "a volcano with a lake at sunset",
    "a wide plain with trees at noon, spring",
    "a red rock canyon in the afternoon, clear sky",
    "mountains at night, clear sky",
    "a meadow with a lake at sunrise, autumn",
    "rolling hills with an autumn forest at noon",
    "pine trees in falling snow, winter, overcast",
    "mountains with a lake and pine trees at sunset, summer",
)

MODEL_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
}
"""What makes a folder a StableDiffusionPipeline to diffusers."""


def new_unet(channels: tuple[int, ...] = (64, 128, 192), text_width: int = 128) -> UNet2DConditionModel:
    """An untrained U-Net in Stable Diffusion's architecture at Meadow's width."""
    attended = len(channels) - 1
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * attended,
        up_block_types=("CrossAttnUpBlock2D",) * attended + ("UpBlock2D",),
        norm_num_groups=16,
        attention_head_dim=4,
        cross_attention_dim=text_width,
    )


def new_text_encoder(tokenizer: CLIPTokenizer, width: int = 128, layers: int = 2) -> CLIPTextModel:
    """An untrained CLIP text encoder for ``tokenizer``."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_scheduler() -> DDIMScheduler:
    """Velocity prediction with zero terminal signal-to-noise ratio, and the trailing spacing that it needs."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=0,
    )


class BaseTask(Task):
    """Text-to-latents: mean squared error of the velocity, captions dropped at ``dropout``."""

    def __init__(
        self,
        latents: NDArray[np.float16],
        captions: Sequence[str],
        tokenizer: CLIPTokenizer,
        codec: Patches | Codec,
        channels: tuple[int, ...] = (64, 128, 192),
        dropout: float = 0.1,
        vae: Path | None = None,
        init: Path | None = None,
    ) -> None:
        super().__init__()
        self.vae = vae
        self.latents, self.tokenizer, self.dropout = latents, tokenizer, dropout
        self.codec = codec
        self.tokens = self._tokens(captions)
        self.unet = new_unet(channels)
        self.text_encoder = new_text_encoder(tokenizer)
        if init is not None:
            self._go_on_from(init)
        self.scheduler = new_scheduler()
        self.alphas = self.scheduler.alphas_cumprod.clone()

    def _tokens(self, captions: Sequence[str]) -> Tensor:
        ids = self.tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=self.tokenizer.model_max_length
        ).input_ids
        return torch.tensor(ids)

    @torch.no_grad()
    def _go_on_from(self, folder: Path) -> None:
        """The weights of another base of this shape; of its words those that the tokenizer still has."""
        self.unet.load_state_dict(UNet2DConditionModel.from_pretrained(folder / "unet").state_dict())
        theirs = CLIPTextModel.from_pretrained(folder / "text_encoder").float().state_dict()
        known = CLIPTokenizer.from_pretrained(folder / "tokenizer").get_vocab()
        mine = self.text_encoder.state_dict()
        for name, weight in theirs.items():
            if name.endswith("token_embedding.weight"):
                for token, row in self.tokenizer.get_vocab().items():
                    if token in known:
                        mine[name][row] = weight[known[token]]
            elif name.endswith("position_embedding.weight"):
                count = min(len(weight), len(mine[name]))
                mine[name][:count] = weight[:count]
            elif name in mine and mine[name].shape == weight.shape:
                mine[name].copy_(weight)

    def groups(self) -> list[dict[str, Any]]:
        """All weights, one rate."""
        return [{"params": [*self.unet.parameters(), *self.text_encoder.parameters()]}]

    def batch(self, draws: Draws) -> dict[str, Tensor]:
        """Latents, noise, timesteps and tokens (the empty caption's where dropped)."""
        places = draws.indices(len(self.latents))
        latents = torch.from_numpy(np.asarray(self.latents[places.numpy()], np.float32))
        noise = draws.normal(*latents.shape[1:])
        t = (draws.uniform() * 1000).long()
        tokens = torch.where(draws.uniform(1) < self.dropout, self._tokens([""]), self.tokens[places])
        return {"latents": latents, "noise": noise, "t": t, "tokens": tokens}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of a batch: ‖v − v̂‖², v = √ᾱ ε − √(1−ᾱ) x₀ (Salimans & Ho 2022, eq. 12)."""
        alpha = self.alphas.to(batch["t"].device)[batch["t"]][:, None, None, None]
        signal, noise = alpha.sqrt(), (1 - alpha).sqrt()
        noisy = signal * batch["latents"] + noise * batch["noise"]
        velocity = signal * batch["noise"] - noise * batch["latents"]
        text = self.text_encoder(batch["tokens"]).last_hidden_state
        made = self.unet(noisy, batch["t"], encoder_hidden_states=text).sample
        return {"loss": F.mse_loss(made.float(), velocity)}

    def sample(self, path: Path) -> None:
        """The probe captions at 20 steps and guidance 3, decoded."""
        device = self.unet.device
        self.scheduler.set_timesteps(20, device=device)
        x, _ = noise_like(self.latents.shape[1:], range(len(PROBES)))
        tokens = torch.cat([self._tokens([""] * len(PROBES)), self._tokens(PROBES)]).to(device)
        text = self.text_encoder(tokens).last_hidden_state

        def denoise(x: Tensor, step: Step) -> Tensor:
            return guide(self.unet(torch.cat([x, x]), step.t, encoder_hidden_states=text).sample.float(), 3.0)

        x = sample(denoise, x.to(device), self.scheduler, self.scheduler.timesteps)
        write_sheet(path, from_hint(self.codec.decode(x) / 2 + 0.5), PROBES)

    def export(self, folder: Path) -> None:
        """A folder in diffusers' layout, fp16, with the autoencoder where one is given."""
        import copy
        import shutil

        if self.vae is not None:
            shutil.copytree(self.vae, folder / "vae", dirs_exist_ok=True)
        for name in ("unet", "text_encoder"):
            copy.deepcopy(getattr(self, name)).to(torch.float16).save_pretrained(folder / name)
        self.tokenizer.save_pretrained(folder / "tokenizer")
        self.scheduler.save_pretrained(folder / "scheduler")
        (folder / "model_index.json").write_text(json.dumps(MODEL_INDEX, indent=2), encoding="utf-8")
