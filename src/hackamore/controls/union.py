"""Union ControlNet: one trainable copy for many kinds of hint, one or several at once (xinsir, 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hackamore.bases.base import Sites, Text
from hackamore.bases.forward import embed, run_encoder
from hackamore.controls.branch import Branch, new_control
from hackamore.controls.union_types import PUBLISHED, type_named
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Size
from hackamore.core.residuals import Residuals

EMBEDDED = 256
"""How many numbers tell whether there is a hint of a type, where the base does not tell its sizes by some."""
HEADS = 8
"""Attention heads of the published transformer; they matter to the file alone (see :class:`TokenLayer`)."""


class TokenLayer(nn.Module):
    """One layer of the published transformer, as far as it speaks: value, and perceptron, each added to its input.

    The published network attends over the rows of its batch (its attention takes the first axis for the sequence).
    The rows of one picture are alike, and attention over equal rows is their value. Computed so, a picture does not
    depend on those that are sampled beside it. Queries and keys are kept for the file alone.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, token: Tensor) -> Tensor:
        """Tokens N×width → the same."""
        width = token.shape[-1]
        weight, bias = self.attn.in_proj_weight[2 * width :], self.attn.in_proj_bias[2 * width :]
        token = token + self.attn.out_proj(F.linear(self.ln_1(token), weight, bias))
        inner = self.mlp["c_fc"](self.ln_2(token))
        added: Tensor = self.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner))
        return token + added


class TypeEmbedding(nn.Module):
    """Which types of hint are there → what is added to the embedded timestep."""

    def __init__(self, types: int, width: int, numbers: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.linear_1 = nn.Linear(types * numbers, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, present: Tensor, config: Any) -> Tensor:
        """``present`` N×types of 0 and 1, told as timesteps 0 and 1 by the base's sinusoids → N×width."""
        from diffusers.models.embeddings import get_timestep_embedding

        told = {"flip_sin_to_cos": config.flip_sin_to_cos, "downscale_freq_shift": config.freq_shift}
        waves = get_timestep_embedding(present.flatten(), self.numbers, **told).reshape(len(present), -1)
        embedded: Tensor = self.linear_2(F.silu(self.linear_1(waves.to(self.linear_1.weight.dtype))))
        return embedded


class Fuser(nn.Module):
    """What a union has beyond a ControlNet. Names of modules and parameters are those of published files."""

    def __init__(
        self, types: int, width: int, time_width: int, *, layers: int = 1, heads: int = HEADS, numbers: int = EMBEDDED
    ) -> None:
        super().__init__()
        self.heads = heads
        self.task_embedding = nn.Parameter(width**0.5 * torch.randn(types, width))
        self.transformer_layes = nn.ModuleList(TokenLayer(width, heads) for _ in range(layers))
        self.spatial_ch_projs = nn.Linear(width, width)
        self.control_add_embedding = TypeEmbedding(types, time_width, numbers)
        for layer in (self.spatial_ch_projs, self.control_add_embedding.linear_2):  # a copy begins as the base is
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def shift(self, token: Tensor) -> Tensor:
        """A hint's token N×width → what is added to each of its features, N×width×1×1."""
        for layer in self.transformer_layes:
            token = layer(token)
        shift: Tensor = self.spatial_ch_projs(token)
        return shift[:, :, None, None]


class Union(nn.Module):
    """A ControlNet for several ``types`` of hint, told with each hint, made structurally from a U-Net base.

    Units of one union run it once a step: their hints are encoded each for itself, told apart by a token, and added.
    Fresh from a base it changes nothing, bit for bit: all that leaves it passes zero convolutions.
    ``branch`` is its ControlNet, ``fuser`` what it has beyond.
    """

    options = ("type", "hidden")
    pools = False

    def __init__(self, branch: Branch, types: Sequence[str] = PUBLISHED, fuser: Fuser | None = None) -> None:
        super().__init__()
        self.branch, self.types = branch, tuple(types)
        self.fuser = fuser or fuser_for(branch, len(self.types))
        self.condition, self.name = branch.condition, branch.name
        self.sha256: dict[str, str] = {}
        self.sites: Sites = branch.sites

    @property
    def base(self) -> Any:
        """The base it was made for."""
        return self.branch.base

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of its weights."""
        return self.branch.dtype

    @property
    def outputs(self) -> int:
        """How many layer weights it has."""
        return self.branch.outputs

    def check(self, size: Size, type: str | int | None = None, hidden: Tensor | None = None) -> None:  # noqa: A002
        """Raise :class:`HackamoreError` for a ``type`` that it does not know."""
        self.number(type)

    def prepare(
        self,
        hint: Tensor,
        type: str | int | Tensor | None = None,  # noqa: A002 – the name that users write
        hidden: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Encode the hint, N×3×H×W in [0, 1], and make its token: once per generation.

        ``type``: which kind of hint it is, a name or number of :attr:`types` (in training: a number for each row).
        ``hidden``, 1×1×H×W: 1 where the picture is hidden (``inpaint``); there the hint is black, as published
        unions were trained. Raises :class:`HackamoreError` for an unknown type.
        """
        numbers = type if isinstance(type, Tensor) else torch.tensor([self.number(type)])
        features = self.branch.prepare(hint if hidden is None else hint * (hidden <= 0.5))
        numbers = numbers.to(features.device)
        token = features.mean((2, 3)) + self.fuser.task_embedding[numbers]
        return {"type": numbers, "features": features, "token": token}

    def residuals(self, x: Tensor, t: Tensor, text: Text, prepared: dict[str, Tensor]) -> Residuals:
        """Run the copy on the noisy latents and one hint, or several as :meth:`joined` gave them."""
        heard = prepared if "added" in prepared else self.joined([prepared], [1.0])
        if heard["added"].shape[-2:] != x.shape[-2:]:
            raise HackamoreError(
                "the hint and the picture differ in size",
                received=f"a hint of {heard['added'].shape[-1] * 8}×{heard['added'].shape[-2] * 8}",
                expected=f"{x.shape[-1] * 8}×{x.shape[-2] * 8}",
            )
        trunk, text = self.branch.trunk, text.to(self.dtype)
        inside = x.to(self.dtype)
        embedded = embed(trunk, inside, t, text) + heard["told"]
        skips, mid = run_encoder(trunk, inside, embedded, text, heard["added"])
        return self.branch.spoken(skips, mid).to(x.dtype)

    def joined(self, prepared: Sequence[dict[str, Tensor]], strengths: Sequence[float]) -> dict[str, Tensor]:
        """Several hints as one: each one's features, token and shift are times its strength.

        What leaves the zero convolutions then is not scaled again (diffusers' ``ControlNetUnionModel``). So two hints
        of which one has strength 0 are not the same as the other alone: that one is scaled as it leaves.
        """
        features = prepared[0]["features"]
        added, present = torch.zeros_like(features), features.new_zeros(len(features), len(self.types))
        for hint, strength in zip(prepared, strengths, strict=True):
            shift = self.fuser.shift(hint["token"] * strength)
            added = added + (hint["features"] * strength + shift * strength)
            present = present.scatter(1, hint["type"].expand(len(present))[:, None], 1.0)
        return {"added": added, "told": self.fuser.control_add_embedding(present, self.branch.trunk.config)}

    def forward(self, x: Tensor, t: Tensor, text: Text, hint: Tensor, kind: Any = None) -> Residuals:
        """Both in one, for training; ``kind``: the type of every hint, or a number for each row."""
        return self.residuals(x, t, text, self.prepare(hint, kind))

    def unit(self, hint: Any, type: str | int | None = None, **settings: Any) -> Unit:  # noqa: A002
        """Bind the control to a hint of a ``type``; other settings as in :class:`Unit`.

        Raises :class:`HackamoreError` for a type that the control does not know, naming those that it does.
        """
        self.number(type)
        return Unit(self, hint, type=type, **settings)

    def number(self, kind: str | int | None) -> int:
        """The number of the type called ``kind`` (see :func:`hackamore.controls.union_types.type_named`)."""
        return type_named(kind, self.types, self.name)


def fuser_for(branch: Branch, types: int) -> Fuser:
    """A fresh :class:`Fuser` beside ``branch`` for so many types."""
    numbers = branch.trunk.config.addition_time_embed_dim or EMBEDDED  # diffusers has one setting for both
    time = branch.trunk.time_embedding.linear_2.out_features
    return Fuser(types, branch.sites.skips[0], time, numbers=numbers)


def new_union(base: Any, types: Sequence[str] = PUBLISHED, condition: str | None = None) -> Union:
    """A fresh union control for ``base`` and hints of ``types``: it changes nothing until it is trained."""
    if len(set(types)) < len(types) or not types or any(not name or "," in name for name in types):
        raise HackamoreError(
            "a union needs a name for each of its types", received=", ".join(types), expected="names that differ"
        )
    branch = new_control(base, condition)
    return Union(branch, types).to(base.device, base.dtype)
