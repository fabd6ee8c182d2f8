"""SD3, SD3.5 and FLUX.1: a diffusion transformer, an autoencoder and up to three text encoders."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from hackamore.backends.backend import EAGER, Backend
from hackamore.bases.base import Sites, Text
from hackamore.bases.decoding import decoded
from hackamore.bases.tokens import PATCH, pack, places_of, unpack
from hackamore.bases.transformer_text import Encoder, flux_text, sd3_text
from hackamore.bases.view import view_of
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Size, check_size
from hackamore.core.residuals import Residuals

DYNAMIC_SHIFT = {"sd3": 1.16, "flux": 1.15}
"""The largest shift where a scheduler's configuration names none."""

Same = TypeVar("Same", bound="TransformerBase")


class TransformerBase:
    """What SD3 and FLUX have in common; see :class:`hackamore.bases.base.Base`.

    ``bare`` is the transformer as published, where :attr:`transformer` has LoRA layers or hooks inside; it shares its
    weights. ``loras``: the scales of its LoRA files, by their adapters' names, in their order.
    """

    family = ""
    distilled = False
    backend: Backend = EAGER
    encoders: dict[str, Encoder]
    """The text encoders it has, by diffusers' names: ``text_encoder``, ``text_encoder_2``, ``text_encoder_3``."""
    absent: tuple[str, ...] = ()
    """The text encoders it could have and has not."""
    options: dict[str, Any]
    loras: dict[str, float]
    device: torch.device
    """Where it computes."""

    def __init__(
        self,
        name: str,
        transformer: Any,
        vae: Any,
        encoders: dict[str, Encoder],
        scheduler_config: dict[str, Any],
        *,
        scheduler: str = "euler",
        guidance: float = 1.0,
        hashes: dict[str, str] | None = None,
    ) -> None:
        self.name, self.transformer, self.vae, self.encoders = name, transformer, vae, encoders
        self.scheduler_config, self.scheduler, self.guidance = scheduler_config, scheduler, guidance
        self.sha256, self.options, self.loras = hashes or {}, {}, {}
        self.bare, self.device = transformer, transformer.device
        for network in self.parts().values():
            network.requires_grad_(False).eval()
        self.latent_channels: int = vae.config.latent_channels
        self.scale_factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.multiple = self.scale_factor * PATCH
        self.sites = sites_of(transformer)
        self.size: Size = (1024, 1024)

    @property
    def network(self) -> Any:
        """The denoiser."""
        return self.transformer

    def parts(self) -> dict[str, Any]:
        """The networks by diffusers' names, in the order in which a generation runs them."""
        texts = {name: encoder.network for name, encoder in self.encoders.items()}
        return texts | {"transformer": self.transformer, "vae": self.vae}

    @property
    def dtype(self) -> torch.dtype:
        """The transformer's floating-point type."""
        dtype: torch.dtype = next(self.bare.parameters()).dtype
        return dtype

    @property
    def latent_shift(self) -> float:
        """What the scale that the network was trained on takes away from the autoencoder's latents, scaled."""
        return float(self.vae.config.shift_factor or 0.0) * float(self.vae.config.scaling_factor)

    def to(self: Same, device: torch.device) -> Same:
        """Move every network to ``device``, and every view of it; with LoRA files, not what it was made from."""
        for network in (*self.parts().values(), self.bare):
            network.to(device)
        self.device = device
        return self

    def view(self: Same) -> Same:
        """The same base; its transformer is a module tree of its own that shares all weights."""
        base = copy.copy(self)
        base.transformer = view_of(self.transformer)
        return base

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """The mode of the autoencoder's posterior, shifted and scaled."""
        moments = self.vae.encode(pictures.to(self.device, self.vae.dtype)).latent_dist
        shift = self.vae.config.shift_factor or 0.0
        latents: Tensor = (moments.mode() - shift) * self.vae.config.scaling_factor
        return latents.to(self.dtype)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Unscale, shift back and decode."""
        return decoded(self.vae, latents)

    def words_lost(self, prompt: str) -> str:
        """What the encoder that reads most (T5 where there is one) does not see."""
        longest = max(self.encoders.values(), key=lambda encoder: encoder.length)
        return longest.lost(prompt)

    def shift_of(self, size: Size) -> float:
        """``mu``: how far the noise levels shift for a picture of ``size``, linear in its tokens.

        Between ``base_shift`` at ``base_image_seq_len`` tokens and ``max_shift`` at ``max_image_seq_len``.
        """
        told = self.scheduler_config
        fewest, most = told.get("base_image_seq_len", 256), told.get("max_image_seq_len", 4096)
        low, high = told.get("base_shift", 0.5), told.get("max_shift", DYNAMIC_SHIFT[self.family])
        slope = (high - low) / (most - fewest)
        tokens = (size[0] // self.multiple) * (size[1] // self.multiple)
        return float(tokens * slope + (low - slope * fewest))

    def _told(self, residuals: Residuals | None) -> tuple[list[Tensor] | None, list[Tensor] | None]:
        """The residuals as the networks take them; one for each block, or none at all."""
        if residuals is None:
            return None, None
        counts = (len(residuals.blocks), self.sites.blocks), (len(residuals.singles), self.sites.singles)
        wrong = residuals.skips or residuals.encoder or residuals.mid is not None
        if wrong or any(told not in (0, known) for told, known in counts):
            raise HackamoreError(
                "the control does not fit the base",
                received=f"{len(residuals)} residuals",
                expected=f"{self.sites.blocks} of joint blocks and {self.sites.singles} of single-stream blocks",
            )
        return list(residuals.blocks) or None, list(residuals.singles) or None


class SD3Base(TransformerBase):
    """Stable Diffusion 3 and 3.5 (Esser et al. 2024): joint blocks, flow matching, guidance by two passes.

    ``encoders``: ``text_encoder`` (CLIP-L), ``text_encoder_2`` (CLIP-G), ``text_encoder_3`` (T5), any of which may be
    absent; at least one must be there.
    """

    family = "sd3"

    def __init__(
        self,
        name: str,
        transformer: Any,
        vae: Any,
        encoders: dict[str, Encoder],
        scheduler_config: dict[str, Any],
        *,
        guidance: float = 7.0,
        t5_length: int = 256,
        **settings: Any,
    ) -> None:
        known = ("text_encoder", "text_encoder_2", "text_encoder_3")
        if not encoders:
            raise HackamoreError(f"{name} has no text encoder", expected=f"at least one of {', '.join(known)}")
        super().__init__(name, transformer, vae, encoders, scheduler_config, guidance=guidance, **settings)
        self.t5_length = t5_length
        self.absent = tuple(part for part in known if part not in encoders)
        sample = transformer.config.sample_size * self.scale_factor
        self.size = (sample, sample)

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str], size: Size | None = None, guidance: float | None = None) -> Text:
        """Prompts → both CLIPs' states and T5's, N×(77 + 256)×D, and their ``pooled`` projections."""
        config = self.transformer.config
        return sd3_text(
            prompts,
            *(self.encoders.get(part) for part in ("text_encoder", "text_encoder_2", "text_encoder_3")),
            width=config.joint_attention_dim,
            pooled_width=config.pooled_projection_dim,
            t5_length=self.t5_length,
            like=torch.empty(0, dtype=self.dtype, device=self.device),
        )

    encode_negative = encode_text

    def timing(self, steps: int, size: Size) -> dict[str, Any]:
        """The shift of the noise levels, where the scheduler's configuration makes it depend on the size."""
        check_size(size, self.multiple)
        largest = self.transformer.config.pos_embed_max_size * self.multiple
        if max(size) > largest:
            raise HackamoreError(
                "the size does not fit the base",
                received=f"{size[0]}×{size[1]}",
                expected=f"at most {largest} pixels a side, for which {self.name} has positions",
            )
        return {"mu": self.shift_of(size)} if self.scheduler_config.get("use_dynamic_shifting") else {}

    def predict(self, x: Tensor, t: Tensor, text: Text, residuals: Residuals | None = None) -> Tensor:
        """One forward pass; residual i is added to the image tokens after joint block i (not after the last)."""
        blocks, _ = self._told(residuals)
        made: Tensor = self.transformer(
            hidden_states=x,
            timestep=t.expand(len(x)),
            encoder_hidden_states=text.tokens,
            pooled_projections=text.added["pooled"],
            block_controlnet_hidden_states=blocks,
            return_dict=False,
        )[0]
        return made


class FluxBase(TransformerBase):
    """FLUX.1: joint, then single-stream blocks, told its guidance (dev) or trained to need none (schnell).

    ``encoders``: ``text_encoder`` (CLIP-L) and ``text_encoder_2`` (T5).
    """

    family = "flux"
    distilled = True

    def __init__(
        self,
        name: str,
        transformer: Any,
        vae: Any,
        encoders: dict[str, Encoder],
        scheduler_config: dict[str, Any],
        *,
        guidance: float | None = None,
        **settings: Any,
    ) -> None:
        self.told_guidance = bool(transformer.config.guidance_embeds)
        usual = 3.5 if self.told_guidance else 1.0
        guidance = usual if guidance is None else guidance
        super().__init__(name, transformer, vae, encoders, scheduler_config, guidance=guidance, **settings)

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str], size: Size | None = None, guidance: float | None = None) -> Text:
        """Prompts → T5's states N×512×D, CLIP's ``pooled`` output and, for dev, the ``guidance``.

        Raises :class:`HackamoreError` for a guidance other than 1 (or 0) where the network takes none (schnell).
        """
        guidance = self.guidance if guidance is None else guidance
        if not self.told_guidance and guidance not in (0, 1):
            raise HackamoreError(
                f"{self.name} was distilled to run without guidance", received=f"guidance {guidance:g}", expected=1
            )
        return flux_text(
            prompts,
            self.encoders["text_encoder"],
            self.encoders["text_encoder_2"],
            guidance=float(guidance) if self.told_guidance else None,
            like=torch.empty(0, dtype=self.dtype, device=self.device),
        )

    encode_negative = encode_text

    def timing(self, steps: int, size: Size) -> dict[str, Any]:
        """Evenly spaced noise levels from 1 to 1/steps, and their shift for a picture of ``size``."""
        check_size(size, self.multiple)
        mu = {"mu": self.shift_of(size)}
        if self.scheduler_config.get("use_flow_sigmas"):
            return mu
        return mu | {"sigmas": np.linspace(1.0, 1 / steps, steps).tolist()}

    def predict(self, x: Tensor, t: Tensor, text: Text, residuals: Residuals | None = None) -> Tensor:
        """One forward pass over packed tokens; residuals are added after each joint and each single-stream block."""
        blocks, singles = self._told(residuals)
        made: Tensor = self.transformer(
            hidden_states=pack(x),
            timestep=t.expand(len(x)).to(x.dtype) / 1000,
            guidance=text.added.get("guidance"),
            pooled_projections=text.added["pooled"],
            encoder_hidden_states=text.tokens,
            controlnet_block_samples=blocks,
            controlnet_single_block_samples=singles,
            txt_ids=x.new_zeros(text.tokens.shape[1], 3),
            img_ids=places_of(x),
            return_dict=False,
        )[0]
        return unpack(made, x.shape[-2], x.shape[-1])


def sites_of(transformer: Any) -> Sites:
    """Width, joint and single-stream blocks of an ``SD3Transformer2DModel`` or ``FluxTransformer2DModel``."""
    return Sites(
        text_width=transformer.config.joint_attention_dim,
        width=transformer.inner_dim,
        blocks=len(transformer.transformer_blocks),
        singles=len(getattr(transformer, "single_transformer_blocks", ())),
    )
