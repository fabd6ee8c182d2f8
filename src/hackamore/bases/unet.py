"""Stable Diffusion 1.x and 2.x: a U-Net, an autoencoder and one CLIP text encoder, from a diffusers folder."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.bases.base import Sites, Text
from hackamore.bases.view import view_of
from hackamore.core.errors import HackamoreError
from hackamore.core.files import sha256
from hackamore.core.image import Size
from hackamore.core.residuals import Residuals

FAMILIES = {128: "meadow", 768: "sd1", 1024: "sd2", 2048: "sdxl"}
"""Width of the text that a U-Net attends to → family."""


class UNetBase:
    """A frozen latent diffusion model with a ``UNet2DConditionModel``; see :class:`hackamore.bases.base.Base`."""

    distilled = False

    def __init__(
        self,
        name: str,
        unet: Any,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        scheduler_config: dict[str, Any],
        *,
        scheduler: str = "ddim",
        guidance: float = 7.5,
        hashes: dict[str, str] | None = None,
    ) -> None:
        self.name, self.unet, self.vae = name, unet, vae
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.scheduler_config, self.scheduler, self.guidance = scheduler_config, scheduler, guidance
        self.sha256 = hashes or {}
        for network in (unet, vae, text_encoder):
            network.requires_grad_(False).eval()
        width = unet.config.cross_attention_dim
        self.family = FAMILIES.get(width, f"unet-{width}")
        self.latent_channels = unet.config.in_channels
        self.scale_factor = 2 ** (len(vae.config.block_out_channels) - 1)
        sample = unet.config.sample_size or 64
        height, width = (sample, sample) if isinstance(sample, int) else sample
        self.size = (width * self.scale_factor, height * self.scale_factor)
        self.sites = sites_of(unet)

    @property
    def device(self) -> torch.device:
        """Where the U-Net is."""
        device: torch.device = next(self.unet.parameters()).device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The U-Net's floating-point type."""
        dtype: torch.dtype = next(self.unet.parameters()).dtype
        return dtype

    def to(self, device: torch.device) -> UNetBase:
        """Move every network to ``device``."""
        for network in (self.unet, self.vae, self.text_encoder):
            network.to(device)
        return self

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str], size: Size | None = None, guidance: float | None = None) -> Text:
        """Prompts → last hidden states N×L×D, padded and cut to the encoder's length."""
        length = self.tokenizer.model_max_length
        ids = self.tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).input_ids
        return Text(self.text_encoder(ids.to(self.device)).last_hidden_state)

    def timing(self, steps: int, size: Size) -> dict[str, Any]:
        """Nothing beyond the number of steps."""
        return {}

    def view(self) -> UNetBase:
        """The same base; its U-Net is a module tree of its own that shares all weights."""
        base = copy.copy(self)
        base.unet = view_of(self.unet)
        return base

    def words_lost(self, prompt: str) -> str:
        """What the encoder's length cuts off, read back from the tokens."""
        ids = self.tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
        return str(self.tokenizer.decode(ids[self.tokenizer.model_max_length - 2 :]))

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """The mode of the autoencoder's posterior, scaled."""
        moments = self.vae.encode(pictures.to(self.device, self.dtype)).latent_dist
        shift = getattr(self.vae.config, "shift_factor", None) or 0.0
        latents: Tensor = (moments.mode() - shift) * self.vae.config.scaling_factor
        return latents

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Unscale and decode."""
        shift = getattr(self.vae.config, "shift_factor", None) or 0.0
        pictures: Tensor = self.vae.decode(latents.to(self.dtype) / self.vae.config.scaling_factor + shift).sample
        return pictures

    def predict(self, x: Tensor, t: Tensor, text: Text, residuals: Residuals | None = None) -> Tensor:
        """One forward pass; residuals are added to the skips that enter the decoder and after the mid block."""
        told: dict[str, Any] = {}
        if residuals is not None:
            if residuals.skips or residuals.mid is not None:
                silent = torch.zeros((), dtype=x.dtype, device=x.device)
                skips = residuals.skips or (silent,) * len(self.sites.skips)
                if len(skips) != len(self.sites.skips):
                    raise HackamoreError(
                        "the control does not fit the base",
                        received=f"{len(skips)} residuals",
                        expected=len(self.sites.skips),
                    )
                told["down_block_additional_residuals"] = skips
                told["mid_block_additional_residual"] = silent if residuals.mid is None else residuals.mid
            if residuals.encoder:
                told["down_intrablock_additional_residuals"] = list(residuals.encoder)
        made: Tensor = self.unet(
            x, t, encoder_hidden_states=text.tokens, added_cond_kwargs=text.added or None, **told
        ).sample
        return made


def sites_of(unet: Any) -> Sites:
    """The skip connections of a ``UNet2DConditionModel``, told from its structure."""
    skips = [unet.conv_in.out_channels]
    for block in unet.down_blocks:
        skips += [resnet.conv2.out_channels for resnet in block.resnets]
        if block.downsamplers is not None:
            skips.append(block.resnets[-1].conv2.out_channels)
    levels = tuple(block.resnets[-1].conv2.out_channels for block in unet.down_blocks)
    mid = unet.mid_block.resnets[-1].conv2.out_channels
    return Sites(tuple(skips), mid, unet.config.cross_attention_dim, levels)


def encoder_of(unet: Any) -> Any:
    """A copy, weights and all, of a U-Net without its decoder: embeddings, ``conv_in``, down and mid blocks."""
    decoder = ("up_blocks", "conv_norm_out", "conv_act", "conv_out")
    trunk = copy.copy(unet)
    trunk._modules = {name: part for name, part in unet._modules.items() if name not in decoder}
    return copy.deepcopy(trunk)


def run_encoder(
    trunk: Any, x: Tensor, t: Tensor, text: Text, hint: Tensor | None = None
) -> tuple[list[Tensor], Tensor]:
    """Run a U-Net's encoder, ``hint`` (shaped like ``conv_in``'s output) added after ``conv_in``: its skips and mid."""
    embedded = trunk.time_embedding(trunk.get_time_embed(sample=x, timestep=t))
    if text.added:
        more = trunk.get_aug_embed(embedded, text.tokens, text.added)
        embedded = embedded if more is None else embedded + more
    x = trunk.conv_in(x)
    if hint is not None:
        x = x + hint
    skips = [x]
    for block in trunk.down_blocks:
        attends = {"encoder_hidden_states": text.tokens} if getattr(block, "has_cross_attention", False) else {}
        x, states = block(hidden_states=x, temb=embedded, **attends)
        skips += states
    attends = {"encoder_hidden_states": text.tokens} if getattr(trunk.mid_block, "has_cross_attention", False) else {}
    return skips, trunk.mid_block(x, embedded, **attends)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without transformers' progress bars, which come back afterwards if they were on."""
    from transformers.utils import logging as their

    shown = their.is_progress_bar_enabled()
    their.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            their.enable_progress_bar()


def load_folder(folder: Path, name: str, device: torch.device, dtype: torch.dtype, **settings: Any) -> UNetBase:
    """Read a diffusers folder (``unet``, ``vae``, ``text_encoder``, ``tokenizer``, ``scheduler``).

    Raises :class:`HackamoreError` naming the part that is missing or does not load.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    parts = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    absent = [part for part in (*parts, "tokenizer", "scheduler") if not (folder / part).is_dir()]
    if absent:
        raise HackamoreError(
            f"{folder} is not a Stable Diffusion folder",
            received="no " + ", ".join(absent),
            expected="the folders unet, vae, text_encoder, tokenizer and scheduler (diffusers' layout)",
        )

    def read(part: str, kind: Any, **told: Any) -> Any:
        try:
            with _no_bars():
                return kind.from_pretrained(folder / part, local_files_only=True, **told)
        except Exception as error:
            raise HackamoreError(
                f"the {part} of {folder} cannot be loaded",
                received=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
                expected="whole files in diffusers' layout, weights as .safetensors",
            ) from error

    loaded = {part: read(part, kind, torch_dtype=dtype, use_safetensors=True) for part, kind in parts.items()}
    _check_parts(folder, **loaded)
    try:
        scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HackamoreError(f"the scheduler of {folder} cannot be loaded", received=str(error)) from error
    files = [
        file for part in parts for file in sorted((folder / part).glob("*.safetensors")) if ".fp16." not in file.name
    ]
    hashes = {str(file.relative_to(folder)): sha256(file) for file in files}
    tokenizer = read("tokenizer", CLIPTokenizer)
    base = UNetBase(name, **loaded, tokenizer=tokenizer, scheduler_config=scheduler, hashes=hashes, **settings)
    return base.to(device)


def _check_parts(folder: Path, unet: Any, vae: Any, text_encoder: Any) -> None:
    """Refuse by name what is laid out like Stable Diffusion 1 or 2 and is not."""
    latent, text = vae.config.latent_channels, text_encoder.config.hidden_size
    wrong = (
        f"a U-Net of {unet.config.in_channels} input channels, latents of {latent} (an inpainting or editing model)"
        if unet.config.in_channels != latent
        else f"a U-Net that attends to width {unet.config.cross_attention_dim} beside a text encoder of width {text}"
        if unet.config.cross_attention_dim != text
        else "a U-Net with added conditions (SDXL)"
        if unet.config.addition_embed_type is not None
        else "a U-Net without a mid block"
        if unet.mid_block is None
        else None
    )
    if wrong:
        raise HackamoreError(
            f"{folder} is of a kind that is not supported yet", received=wrong, expected="SD 1.x or 2.x"
        )
