"""ControlNets for diffusion transformers: a few of the base's blocks, run on latents to which the hint was added."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hackamore.bases.base import Sites, Text
from hackamore.bases.tokens import PATCH, pack, places_of
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError, unknown_name
from hackamore.core.image import Size
from hackamore.core.residuals import Residuals, Rule

TYPES = ("canny", "tile", "depth", "blur", "pose", "gray", "lq")
"""The conditions of FLUX's union control, in the order of their numbers (``lq``: low quality)."""

COPIED = (
    "pos_embed", "x_embedder", "time_text_embed", "context_embedder", "transformer_blocks", "single_transformer_blocks",
)  # fmt: skip
"""The parts that begin as the base's."""

GUIDANCE = 3.5
"""What a control that is told its guidance hears beside a base that has none (schnell), as where it was trained."""


class BlockControl(nn.Module, ABC):
    """What the transformers' controls have in common; ``net`` is diffusers' network for the family.

    It computes in its own floating-point type, whatever the latents come in, and answers in theirs. ``recomputes``: in
    training its blocks run again in the backward pass, in place of keeping what they made.
    """

    options: tuple[str, ...] = ()
    pools = False

    def __init__(self, base: Any, net: Any, name: str = "control", condition: str | None = None) -> None:
        super().__init__()
        self.name, self.condition = name, condition
        self.sha256: dict[str, str] = {}
        self._bases = (base,)
        self.sites: Sites = base.sites
        self.net = net
        self.recomputes = False
        self.to(base.device, base.dtype)

    @property
    def base(self) -> Any:
        """The base it was made for; no part of the module tree, so that no optimiser or checkpoint sees it."""
        return self._bases[0]

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        device: torch.device = self.net.controlnet_blocks[0].weight.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of its weights."""
        dtype: torch.dtype = self.net.controlnet_blocks[0].weight.dtype
        return dtype

    def residuals(self, x: Tensor, t: Tensor, text: Text, prepared: Any) -> Residuals:
        """Run its blocks on the noisy latents and the encoded hint: a residual for each block."""
        return self._residuals(x.to(self.dtype), t, text.to(self.dtype), prepared).to(x.dtype)

    @abstractmethod
    def _residuals(self, x: Tensor, t: Tensor, text: Text, prepared: Any) -> Residuals: ...

    def _run(self, block: nn.Module, *args: Any, **told: Any) -> Any:
        """Run a block, its activations kept or not."""
        if self.recomputes and torch.is_grad_enabled():
            return checkpoint(block, *args, use_reentrant=False, **told)
        return block(*args, **told)

    @abstractmethod
    def prepare(self, hint: Tensor) -> Any:
        """Encode the hint, N×3×H×W in [0, 1]: once per generation."""

    def forward(self, x: Tensor, t: Tensor, text: Text, hint: Tensor) -> Residuals:
        """Both in one, for training."""
        return self.residuals(x, t, text, self.prepare(hint))

    def unit(self, hint: Any, **settings: Any) -> Unit:
        """Bind the control to a hint; scale, window, schedule and mask as in :class:`Unit`."""
        return Unit(self, hint, **settings)

    @property
    def outputs(self) -> int:
        """How many layer weights it has: one a block of its own."""
        return len(self.net.controlnet_blocks) + len(getattr(self.net, "controlnet_single_blocks", ()))

    def check(self, size: Size, type: str | int | None = None, hidden: Tensor | None = None) -> None:  # noqa: A002
        """Raise :class:`HackamoreError` where it is not told what it has to know."""
        if "hidden" in self.options and hidden is None:
            raise HackamoreError(f"{self.name} fills what is hidden, and is not told what is", expected="hidden=MASK")

    def _with_gaps(self, pictures: Tensor, hidden: Tensor | None) -> Tensor:
        """Latents of pictures whose hidden parts became −1, and one channel more: 1 where nothing is hidden."""
        self.check((0, 0), hidden=hidden)
        assert hidden is not None
        covered = hidden.to(pictures.device) > 0.5
        latents: Tensor = self.base.encode(torch.where(covered, -1.0, pictures))
        kept = 1 - F.interpolate(covered.to(latents), latents.shape[-2:])
        rows = max(len(latents), len(kept))
        return torch.cat([latents.expand(rows, -1, -1, -1), kept.expand(rows, -1, -1, -1)], dim=1)

    def _check_size(self, tokens: Tensor, x: Tensor) -> None:
        expected = (x.shape[-2] // PATCH) * (x.shape[-1] // PATCH)
        if tokens.shape[1] != expected:
            side = self.base.multiple
            raise HackamoreError(
                "the hint and the picture differ in size",
                received=f"a hint of {tokens.shape[1]} tokens",
                expected=f"{expected}, of a picture of {x.shape[-1] // PATCH * side}×{x.shape[-2] // PATCH * side}",
            )


class SD3Control(BlockControl):
    """A ControlNet for SD3 or SD3.5: joint blocks, or blocks that read no text (Stability's for SD3.5 large).

    ``pixels``: what the network was trained to see in place of the hint: it ``as it is``; ``edges``, the hint from 0.5
    to 128 (Stability's canny); or ``inverted`` (Stability's depth, near is dark). ``mutes``: it hears no pooled text,
    and its hint's latents are not shifted (InstantX). ``hides``: an inpainting control, which is told what is hidden.
    """

    def __init__(self, base: Any, net: Any, *, pixels: str = "as it is", **settings: Any) -> None:
        super().__init__(base, net, **settings)
        self.pixels = pixels
        self.mutes = bool(net.config.force_zeros_for_pooled_projection)
        self.hides = net.config.extra_conditioning_channels == 1
        self.options = ("hidden",) if self.hides else ()
        self.lend(base)

    def lend(self, base: Any) -> None:
        """Take the embedding of latents from ``base`` where the network has none, in the type that it has now."""
        self._embeds = (self.net.pos_embed or self._lent(base),)

    def _lent(self, base: Any) -> nn.Module:
        """The base's embedding of latents, which such a control shares; no part of the module tree.

        A copy on the control's own device where the base's weights are elsewhere, or may be moved between two steps:
        where its network is another than its bare one (LoRA files, offloading, a view).
        """
        embed: nn.Module = base.bare.pos_embed
        first = next(embed.parameters())
        settled = base.network is base.bare and (first.device, first.dtype) == (self.device, self.dtype)
        return embed if settled else copy.deepcopy(embed).to(self.device, self.dtype)

    def prepare(self, hint: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Hint → latents → tokens N×L×C.

        ``hidden``, 1×1×H×W: for inpainting controls, 1 where the picture is hidden; there the hint becomes −1.
        """
        seen = {"as it is": hint * 2 - 1, "edges": hint * 127.5 + 0.5, "inverted": 1 - hint * 2}[self.pixels]
        if self.hides:
            latents = self._with_gaps(seen, hidden)
        else:
            latents = self.base.encode(seen)
            latents = latents + self.base.latent_shift if self.mutes else latents
        tokens: Tensor = self.net.pos_embed_input(latents.to(self.device, self.dtype))
        return tokens

    def _residuals(self, x: Tensor, t: Tensor, text: Text, prepared: Tensor) -> Residuals:
        """A residual for each of its blocks; fewer than the base's serve even shares of them."""
        self._check_size(prepared, x)
        net = self.net
        states = self._embeds[0](x) + prepared
        pooled = text.added["pooled"]
        pooled = torch.zeros_like(pooled) if self.mutes else pooled
        told = net.time_text_embed(t.expand(len(x)), pooled)
        words = None if net.context_embedder is None else net.context_embedder(text.tokens)
        made = []
        for block, zero in zip(net.transformer_blocks, net.controlnet_blocks, strict=True):
            if words is None:
                states = self._run(block, states, told)
            else:
                words, states = self._run(block, hidden_states=states, encoder_hidden_states=words, temb=told)
            made.append(zero(states))
        return Residuals(blocks=tuple(made), rule="share")


class FluxControl(BlockControl):
    """A ControlNet for FLUX.1 in InstantX's form: latents of the hint as tokens; joint and single-stream blocks.

    A union control knows several conditions; each of its units says by ``type`` (a name of :data:`TYPES` or a number)
    which of them its hint is.
    """

    def __init__(self, base: Any, net: Any, **settings: Any) -> None:
        super().__init__(base, net, **settings)
        self.sees_pixels = net.input_hint_block is not None
        self.hides = not self.sees_pixels and net.controlnet_x_embedder.in_features > net.x_embedder.in_features
        self.options = ("type",) * bool(net.union) + ("hidden",) * self.hides

    def prepare(
        self,
        hint: Tensor,
        type: str | int | None = None,  # noqa: A002  (the option's name)
        hidden: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Hint → ``tokens`` N×L×C and, for a union, the ``type``'s own token 1×1×C; ``hidden`` as for SD3."""
        seen = hint * 2 - 1
        if self.sees_pixels:
            seen = pack(self.net.input_hint_block(seen.to(self.device, self.dtype)))
        else:
            latents = self._with_gaps(seen, hidden) if self.hides else self.base.encode(seen)
            seen = pack(latents.to(self.device, self.dtype))
        made = {"tokens": self.net.controlnet_x_embedder(seen)}
        if self.net.union:
            number = self._number(type)
            made["type"] = self.net.controlnet_mode_embedder.weight[None, number : number + 1]
        return made

    def check(self, size: Size, type: str | int | None = None, hidden: Tensor | None = None) -> None:  # noqa: A002
        """Raise :class:`HackamoreError` for a ``type`` that it does not have, too."""
        super().check(size, type, hidden)
        if "type" in self.options:
            self._number(type)

    def _number(self, told: str | int | None) -> int:
        """The number of a condition; raises :class:`HackamoreError` for one that the control does not have."""
        count = self.net.controlnet_mode_embedder.num_embeddings
        known = TYPES[:count]
        if told is None:
            raise HackamoreError(
                f"{self.name} knows several conditions, and is not told which the hint is",
                expected=f"type={'|'.join(known)}, or a number below {count}",
            )
        if isinstance(told, str) and told in known:
            return known.index(told)
        if isinstance(told, str) and not told.isdecimal():
            raise unknown_name("type", told, list(known))
        if not 0 <= int(told) < count:
            raise HackamoreError(
                f"the type of {self.name} is out of range", received=told, expected=f"0 to {count - 1}"
            )
        return int(told)

    def _residuals(self, x: Tensor, t: Tensor, text: Text, prepared: dict[str, Tensor]) -> Residuals:
        """A residual for each of its joint and single-stream blocks; fewer than the base's serve runs of them.

        XLabs' controls, which see pixels, take turns instead.
        """
        self._check_size(prepared["tokens"], x)
        net = self.net
        states = net.x_embedder(pack(x)) + prepared["tokens"]
        words = net.context_embedder(text.tokens)
        if net.union:
            words = torch.cat([prepared["type"].to(words), words], dim=1)
        told = self._told(x, t, text)
        places = net.pos_embed(torch.cat([x.new_zeros(words.shape[1], 3).float(), places_of(x)]))
        shared = {"temb": told, "image_rotary_emb": places}
        blocks, singles = [], []
        for block, zero in zip(net.transformer_blocks, net.controlnet_blocks, strict=True):
            words, states = self._run(block, hidden_states=states, encoder_hidden_states=words, **shared)
            blocks.append(zero(states))
        for block, zero in zip(net.single_transformer_blocks, net.controlnet_single_blocks, strict=True):
            words, states = self._run(block, hidden_states=states, encoder_hidden_states=words, **shared)
            singles.append(zero(states))
        rule: Rule = "turn" if self.sees_pixels else "run"
        return Residuals(blocks=tuple(blocks), singles=tuple(singles), rule=rule)

    def _told(self, x: Tensor, t: Tensor, text: Text) -> Tensor:
        """Time, pooled text and, where the network reads it, guidance, as one vector a row, N×C."""
        net, pooled = self.net, text.added["pooled"]
        time = t.expand(len(x)).to(x.dtype) / 1000 * 1000
        if not net.config.guidance_embeds:
            return net.time_text_embed(time, pooled)  # type: ignore[no-any-return]
        guidance = text.added.get("guidance")
        guidance = torch.full((len(x),), GUIDANCE, device=x.device) if guidance is None else guidance
        return net.time_text_embed(time, guidance.to(x.dtype) * 1000, pooled)  # type: ignore[no-any-return]


def new_blocks(
    base: Any, condition: str | None = None, layers: int | None = None, singles: int | None = None
) -> BlockControl:
    """A fresh ControlNet for a transformer base: copies of its first blocks, silent until it is trained.

    ``layers`` joint blocks (half of the base's for SD3, 4 for FLUX) and, for FLUX, ``singles`` single-stream blocks
    (10). Raises :class:`HackamoreError` for other bases and for more blocks than can be copied.
    """
    if not hasattr(base, "transformer"):
        raise HackamoreError("no blocks can be copied from this base", received=base.family, expected="SD3 or FLUX")
    flux = base.family == "flux"
    most = base.sites.blocks if flux else base.sites.blocks - 1  # SD3's last block drops the text
    layers = (min(4, most) if flux else max(1, base.sites.blocks // 2)) if layers is None else layers
    singles = min(10, base.sites.singles) if singles is None else singles
    if not (1 <= layers <= most and 0 <= singles <= base.sites.singles):
        raise HackamoreError(
            "the base has not so many blocks to copy",
            received=f"{layers} and {singles}",
            expected=f"1 to {most} joint blocks, 0 to {base.sites.singles} single-stream blocks",
        )
    net = _fresh_flux(base, layers, singles) if flux else _fresh_sd3(base, layers)
    kind = FluxControl if flux else SD3Control
    control = kind(base, net, name=condition or "control", condition=condition)
    return control.requires_grad_(True).train()


def _fresh_sd3(base: Any, layers: int) -> Any:
    from diffusers import SD3ControlNetModel

    names = (
        "sample_size", "patch_size", "in_channels", "attention_head_dim", "num_attention_heads", "joint_attention_dim",
        "caption_projection_dim", "pooled_projection_dim", "out_channels", "pos_embed_max_size", "qk_norm",
    )  # fmt: skip
    config = base.bare.config
    dual = tuple(i for i in (config.get("dual_attention_layers") or ()) if i < layers)
    told = {name: config[name] for name in names if name in config}
    net = SD3ControlNetModel(
        **told, num_layers=layers, dual_attention_layers=dual, force_zeros_for_pooled_projection=False
    )
    return _copied(net, base.bare)


def _fresh_flux(base: Any, layers: int, singles: int) -> Any:
    from diffusers import FluxControlNetModel

    names = (
        "patch_size", "in_channels", "attention_head_dim", "num_attention_heads", "joint_attention_dim",
        "pooled_projection_dim", "guidance_embeds", "axes_dims_rope",
    )  # fmt: skip
    told = {name: base.bare.config[name] for name in names}
    net = FluxControlNetModel(**told, num_layers=layers, num_single_layers=singles)
    return _copied(net, base.bare)


def _copied(net: Any, transformer: Any) -> Any:
    """``net`` with the base's weights in the parts that it shares with it."""
    theirs = transformer.state_dict()
    mine = {key for key in net.state_dict() if key.split(".")[0] in COPIED}
    net.load_state_dict({key: theirs[key] for key in mine}, strict=False)
    return net
