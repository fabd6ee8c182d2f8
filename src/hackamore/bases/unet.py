"""Stable Diffusion 1.x, 2.x and XL: a U-Net, an autoencoder and one or two CLIP text encoders."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hackamore.backends.backend import EAGER, Backend
from hackamore.bases.base import Sites, Text
from hackamore.bases.decoding import decoded
from hackamore.bases.forward import run_shallow, run_whole
from hackamore.bases.text import Encoder, read_with
from hackamore.bases.view import view_of
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Size
from hackamore.core.residuals import Residuals

FAMILIES = {128: "meadow", 768: "sd1", 1024: "sd2", 2048: "sdxl"}
"""Width of the text that a U-Net attends to → family."""
TASTES = {"sdxl": ("euler", 5.0)}
"""Family → scheduler and guidance that it likes."""


class UNetBase:
    """A frozen latent diffusion model with a ``UNet2DConditionModel``; see :class:`hackamore.bases.base.Base`.

    SDXL has a second text encoder and tokenizer; with ``zeros_for_empty`` its empty negative prompt is all zeros.
    ``clip_skip`` leaves out so many of the last layers of the text encoders (1: all but the last).
    ``bare`` is the U-Net as published, where :attr:`unet` has LoRA layers or hooks inside; it shares its weights.
    ``loras``: the scales of its LoRA files, by their adapters' names, in their order.
    """

    distilled = False
    backend: Backend = EAGER
    multiple = 8

    def __init__(
        self,
        name: str,
        unet: Any,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        scheduler_config: dict[str, Any],
        *,
        text_encoder_2: Any = None,
        tokenizer_2: Any = None,
        zeros_for_empty: bool = False,
        scheduler: str | None = None,
        guidance: float | None = None,
        hashes: dict[str, str] | None = None,
    ) -> None:
        self.name, self.unet, self.vae = name, unet, vae
        self.bare = unet
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.text_encoder_2, self.tokenizer_2 = text_encoder_2, tokenizer_2
        self.zeros_for_empty, self.clip_skip = zeros_for_empty, 0
        self.scheduler_config, self.sha256 = scheduler_config, hashes or {}
        self.options: dict[str, Any] = {}
        self.loras: dict[str, float] = {}
        for network in self.parts().values():
            network.requires_grad_(False).eval()
        width = unet.config.cross_attention_dim
        self.family = FAMILIES.get(width, f"unet-{width}")
        taste = TASTES.get(self.family, ("ddim", 7.5))
        self.scheduler, self.guidance = scheduler or taste[0], taste[1] if guidance is None else guidance
        self.latent_channels = unet.config.in_channels
        self.scale_factor = 2 ** (len(vae.config.block_out_channels) - 1)
        sample = unet.config.sample_size or 64
        height, width = (sample, sample) if isinstance(sample, int) else sample
        self.size = (width * self.scale_factor, height * self.scale_factor)
        self.sites = sites_of(unet)
        self.device = unet.device

    @property
    def dtype(self) -> torch.dtype:
        """The U-Net's floating-point type."""
        dtype: torch.dtype = next(self.bare.parameters()).dtype
        return dtype

    @property
    def network(self) -> Any:
        """The U-Net."""
        return self.unet

    def parts(self) -> dict[str, Any]:
        """The networks by name, in the order in which a generation runs them."""
        parts = {name: getattr(self, name) for name in ("text_encoder", "text_encoder_2", "unet", "vae")}
        return {name: part for name, part in parts.items() if part is not None}

    def to(self, device: torch.device) -> UNetBase:
        """Move every network to ``device``, and with it every view of it; it computes there from now on.

        What it was made from is not moved with a base that has LoRA files or waits elsewhere (``offload``).
        """
        for network in (*self.parts().values(), self.bare):
            network.to(device)
        self.device = device
        return self

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str], size: Size | None = None, guidance: float | None = None) -> Text:
        """Prompts → hidden states N×L×D: the last ones, or for SDXL those before the last layer of both encoders.

        Prompts beyond the encoder's length are read in chunks; word weights as in
        :mod:`hackamore.bases.weighting`. SDXL is also told ``text_embeds`` and ``time_ids`` (height, width, cropped at
        0, 0, then height, width again).
        """
        return self._encode(prompts, size, self.clip_skip)

    @torch.no_grad()
    def encode_negative(self, prompts: Sequence[str], size: Size | None = None, guidance: float | None = None) -> Text:
        """As diffusers does it: no layers left out, and zeros for empty prompts of SDXL where its folder says so."""
        text = self._encode(prompts, size, 0)
        if not self.zeros_for_empty or any(prompts):
            return text
        zeros = torch.zeros_like(text.tokens)
        return Text(zeros, text.added | {"text_embeds": torch.zeros_like(text.added["text_embeds"])}, zeros[:1])

    def encoders(self, skip: int = 0) -> tuple[Encoder, ...]:
        """The text encoders with their tokenizers."""
        two = self.text_encoder_2 is not None
        pairs = [(self.tokenizer, self.text_encoder), (self.tokenizer_2, self.text_encoder_2)][: 1 + two]
        return tuple(Encoder(*pair, self.device, early=two, skip=skip) for pair in pairs)

    def _encode(self, prompts: Sequence[str], size: Size | None, skip: int) -> Text:
        tokens, pooled, empty = read_with(self.encoders(skip), prompts)
        if pooled is None:
            return Text(tokens, {}, empty)
        width, height = size or self.size
        ids = torch.tensor([[height, width, 0, 0, height, width]] * len(prompts), dtype=tokens.dtype)
        return Text(tokens, {"text_embeds": pooled, "time_ids": ids.to(tokens.device)}, empty)

    def timing(self, steps: int, size: Size) -> dict[str, Any]:
        """Nothing beyond the number of steps."""
        return {}

    def view(self) -> UNetBase:
        """The same base; its U-Net is a module tree of its own that shares all weights."""
        base = copy.copy(self)
        base.unet = view_of(self.unet)
        return base

    def words_lost(self, prompt: str) -> str:
        """Nothing: prompts beyond the encoder's length are read in chunks."""
        return ""

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """The mode of the autoencoder's posterior, scaled."""
        moments = self.vae.encode(pictures.to(self.device, self.vae.dtype)).latent_dist
        shift = getattr(self.vae.config, "shift_factor", None) or 0.0
        latents: Tensor = (moments.mode() - shift) * self.vae.config.scaling_factor
        return latents.to(self.dtype)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Unscale and decode."""
        return decoded(self.vae, latents)

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

    def predict_deep(
        self, x: Tensor, t: Tensor, text: Text, residuals: Residuals | None, layers: int
    ) -> tuple[Tensor, Tensor]:
        """The prediction, and the deep features under the last ``layers`` layers of the decoder."""
        made: tuple[Tensor, Tensor] = run_whole(self.unet, x, t, text, residuals, layers)
        return made

    def predict_shallow(
        self, x: Tensor, t: Tensor, text: Text, residuals: Residuals | None, deep: Tensor, layers: int
    ) -> Tensor:
        """The prediction on top of the ``deep`` features of an earlier step."""
        return run_shallow(self.unet, x, t, text, residuals, deep, layers)


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


DECODER = ("up_blocks", "conv_norm_out", "conv_act", "conv_out")
"""The parts of a ``UNet2DConditionModel`` that an encoder has not."""


def encoder_of(unet: Any, *, lent: bool = False) -> Any:
    """A copy, weights and all, of a U-Net without its decoder: embeddings, ``conv_in``, down and mid blocks.

    ``lent``: a view of it instead, of modules of its own over the very same weights.
    """
    trunk = copy.copy(unet)
    trunk._modules = {name: part for name, part in unet._modules.items() if name not in DECODER}
    return view_of(trunk) if lent else copy.deepcopy(trunk)


def unlocked(base: UNetBase) -> UNetBase:
    """The same base with a decoder and output of its own that can be trained; ``base`` stays as it is.

    Raises :class:`HackamoreError` for a base with LoRA files on it, or one of less than full precision.
    """
    if base.loras or base.dtype != torch.float32:
        raise HackamoreError(
            "the decoder of this base cannot be trained",
            received=f"{len(base.loras)} LoRA files on it, {str(base.dtype).removeprefix('torch.')}",
            expected="a base without LoRA files, in fp32",
        )
    own = base.view()
    parts = own.unet._modules
    for name in DECODER:
        parts[name] = None if parts.get(name) is None else copy.deepcopy(parts[name]).requires_grad_(True)
    own.bare = own.unet
    return own
