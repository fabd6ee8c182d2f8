"""ControlNet-XS: a small network that talks with the base both ways, block by block (Zavadski et al. 2023, §3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import gcd
from typing import Any

from torch import Tensor, nn

from hackamore.bases.base import Sites
from hackamore.controls.branch import HINT_WIDTHS
from hackamore.controls.control import Voice
from hackamore.controls.exchange import Exchange
from hackamore.controls.hint import HintEncoder
from hackamore.controls.unit import Unit
from hackamore.controls.zero import ZeroConv2d
from hackamore.core.errors import HackamoreError

WHOLE_HINT_WIDTHS = (16, 32, 96, 256)


@dataclass(frozen=True)
class Shape:
    """What a ControlNet-XS does not take from its base.

    ``widths`` of its levels and attention ``heads`` in each; ``hint_widths`` of its hint encoder; whether it has a time
    embedding of its own, and how much that one counts (``time_mix``: a^0.3 of it and 1 − a^0.3 of the base's);
    ``groups``: most groups of a normalisation; ``order`` of the hint's colours, ``rgb`` or ``bgr``.
    """

    widths: tuple[int, ...]
    heads: tuple[int, ...]
    hint_widths: tuple[int, ...] = WHOLE_HINT_WIDTHS
    own_time: bool = False
    time_mix: float = 1.0
    groups: int = 32
    order: str = "rgb"


class XS(nn.Module):
    """A ControlNet-XS for a U-Net base.

    Fresh it changes nothing, bit for bit: all that the base hears passes a :class:`ZeroConv2d`, and a time embedding of
    its own starts as the base's. Parameters are named as in diffusers' ``ControlNetXSAdapter``. It has as many outputs
    as the base has skips, and one for the mid block: what it says in the encoder and, again, in the decoder beside the
    same skip shares one layer weight.
    """

    def __init__(self, base: Any, shape: Shape, condition: str | None = None) -> None:
        super().__init__()
        from diffusers.models.embeddings import TimestepEmbedding

        _check_shape(base, shape)
        self.shape, self.condition = shape, condition
        self.name = condition or "controlnet-xs"
        self.sha256: dict[str, str] = {}
        self.sites: Sites = base.sites
        unet = base.bare
        self.controlnet_cond_embedding = HintEncoder(shape.widths[0], shape.hint_widths)
        if shape.own_time:
            theirs = unet.time_embedding
            self.time_embedding = TimestepEmbedding(theirs.linear_1.in_features, theirs.linear_1.out_features)
            self.time_embedding.load_state_dict(theirs.state_dict())
        self.conv_in = nn.Conv2d(unet.conv_in.in_channels, shape.widths[0], 3, padding=1)
        self.control_to_base_for_conv_in = ZeroConv2d(shape.widths[0], unet.conv_in.out_channels)
        before = (shape.widths[0], *shape.widths)
        self.down_blocks = nn.ModuleList(
            _Level(unet, block, before[k], shape.widths[k], shape.heads[k], shape.groups)
            for k, block in enumerate(unet.down_blocks)
        )
        self.mid_block = _Mid(unet, shape.widths[-1], shape.heads[-1])
        skips = [shape.widths[0]]
        for block, width in zip(unet.down_blocks, shape.widths, strict=True):
            skips += [width] * (len(block.resnets) + (block.downsamplers is not None))
        self.up_connections = nn.ModuleList()
        for hidden in _decoder_widths(unet):
            self.up_connections.append(_Decoder([(skips.pop(), width) for width in hidden]))
        self.to(base.device, base.dtype)

    @property
    def outputs(self) -> int:
        """How many layer weights it has: as a ControlNet for the same base."""
        return len(self.sites.skips) + 1

    def prepare(self, hint: Tensor) -> Tensor:
        """Encode the hint, N×3×H×W in [0, 1]: once per generation."""
        weight = self.conv_in.weight
        hint = hint.flip(1) if self.shape.order == "bgr" else hint
        features: Tensor = self.controlnet_cond_embedding(hint.to(weight.device, weight.dtype))
        return features

    def attach(self, base: Any, voice: Voice) -> Any:
        """A view of ``base`` in which this network runs beside the U-Net whenever ``voice`` is not silent."""
        base = base.view()
        unet, talk = base.unet, Exchange(voice, len(base.sites.skips))
        unet.conv_in.register_forward_hook(partial(talk.begin, self.conv_in, self.control_to_base_for_conv_in))
        if self.shape.own_time:
            mix = self.shape.time_mix**0.3
            unet.time_embedding.register_forward_hook(partial(talk.tell_time, self.time_embedding, mix))
        site, encoder, decoder = 1, list[Any](self.down_blocks), list[Any](self.up_connections)
        for level, block in zip(encoder, unet.down_blocks, strict=True):
            site = level.join(block, talk, site)
        self.mid_block.join(unet.mid_block, talk)
        for level, block in zip(decoder, unet.up_blocks, strict=True):
            site = level.join(block, talk, site)
        return base

    def unit(self, hint: Any, **settings: Any) -> Unit:
        """Bind the control to a hint; scale, window, schedule and mask as in :class:`Unit`."""
        return Unit(self, hint, **settings)


def new_xs(base: Any, condition: str | None = None, *, size_ratio: float = 0.1, own_time: bool = False) -> XS:
    """A fresh ControlNet-XS for ``base`` with levels ``size_ratio`` times as wide; it changes nothing until trained.

    Raises :class:`HackamoreError` for a base without a U-Net and for a ratio that leaves a level no width.
    """
    if not hasattr(base, "unet"):
        raise HackamoreError(
            "no ControlNet-XS can be made for this base", received=base.family, expected="a U-Net base"
        )
    heads = heads_of(base)
    widths = tuple(
        int(width * size_ratio) // count * count if 0 < size_ratio <= 1 else 0
        for width, count in zip(base.sites.encoder, heads, strict=True)
    )
    hint_widths = HINT_WIDTHS.get(base.sites.skips[0], WHOLE_HINT_WIDTHS)
    groups = base.unet.config.norm_num_groups
    return XS(base, Shape(widths, heads, hint_widths, own_time, groups=groups), condition)


def heads_of(base: Any) -> tuple[int, ...]:
    """Attention heads of each level of a U-Net base (what diffusers' configurations call ``attention_head_dim``)."""
    told = base.unet.config.attention_head_dim
    return tuple(told) if isinstance(told, (list, tuple)) else (told,) * len(base.sites.encoder)


class _Level(nn.Module):
    """The control's side of one encoder level."""

    def __init__(self, unet: Any, block: Any, before: int, width: int, heads: int, groups: int) -> None:
        super().__init__()
        from diffusers.models.resnet import Downsample2D, ResnetBlock2D

        theirs = block.resnets
        inputs = [before, *[width] * (len(theirs) - 1)]
        # as diffusers runs it, the first normalisation bounds the groups of the level's others
        groups = _most_groups(inputs[0] + theirs[0].in_channels, groups)
        self.base_to_ctrl = nn.ModuleList(ZeroConv2d(part.in_channels, part.in_channels) for part in theirs)
        self.resnets = nn.ModuleList(
            ResnetBlock2D(
                in_channels=own + part.in_channels,
                out_channels=width,
                temb_channels=part.time_emb_proj.in_features,
                groups=_most_groups(own + part.in_channels, groups),
                groups_out=_most_groups(width, groups),
                eps=1e-5,
            )
            for own, part in zip(inputs, theirs, strict=True)
        )
        if hasattr(block, "attentions"):
            self.attentions = nn.ModuleList(
                _attention(unet, part, width, heads, _most_groups(width, groups)) for part in block.attentions
            )
        self.ctrl_to_base = nn.ModuleList(ZeroConv2d(width, part.out_channels) for part in theirs)
        if block.downsamplers is not None:
            wide = theirs[-1].out_channels
            self.base_to_ctrl.append(ZeroConv2d(wide, wide))
            self.downsamplers = Downsample2D(width + wide, use_conv=True, out_channels=width, name="op")
            self.ctrl_to_base.append(ZeroConv2d(width, wide))

    def join(self, block: Any, talk: Exchange, site: int) -> int:
        """Hang the exchanges on the base's level ``block``; returns the number of the next skip."""
        own = getattr(self, "attentions", None)
        for k, resnet in enumerate(block.resnets):
            resnet.register_forward_pre_hook(partial(talk.listen, self.base_to_ctrl[k]))
            last = resnet if own is None else block.attentions[k]
            parts = [self.resnets[k]] if own is None else [self.resnets[k], own[k]]
            last.register_forward_hook(partial(talk.answer, parts, self.ctrl_to_base[k], site), with_kwargs=True)
            site += 1
        if block.downsamplers is not None:
            part = block.downsamplers[0]
            part.register_forward_pre_hook(partial(talk.listen, self.base_to_ctrl[-1]))
            answer = partial(talk.answer, [self.downsamplers], self.ctrl_to_base[-1], site)
            part.register_forward_hook(answer, with_kwargs=True)
            site += 1
        return site


class _Mid(nn.Module):
    """The control's side of the mid block."""

    def __init__(self, unet: Any, width: int, heads: int) -> None:
        super().__init__()
        from diffusers.models.unets.unet_2d_blocks import UNetMidBlock2DCrossAttn

        first, attention = unet.mid_block.resnets[0], unet.mid_block.attentions[0]
        wide = first.in_channels
        self.base_to_ctrl = ZeroConv2d(wide, wide)
        self.midblock = UNetMidBlock2DCrossAttn(
            in_channels=width + wide,
            out_channels=width,
            temb_channels=first.time_emb_proj.in_features,
            transformer_layers_per_block=len(attention.transformer_blocks),
            resnet_groups=_most_groups(gcd(width, width + wide), 32),
            cross_attention_dim=unet.config.cross_attention_dim,
            num_attention_heads=heads,
            use_linear_projection=unet.config.use_linear_projection,
            upcast_attention=unet.config.upcast_attention,
        )
        self.ctrl_to_base = ZeroConv2d(width, wide)

    def join(self, block: Any, talk: Exchange) -> None:
        """Hang the exchange on the base's mid ``block``."""
        block.register_forward_pre_hook(partial(talk.listen, self.base_to_ctrl))
        block.register_forward_hook(partial(talk.answer_mid, self.midblock, self.ctrl_to_base), with_kwargs=True)


class _Decoder(nn.Module):
    """What the control says in one decoder level, from what it knew in the encoder."""

    def __init__(self, widths: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.ctrl_to_base = nn.ModuleList(ZeroConv2d(own, theirs) for own, theirs in widths)

    def join(self, block: Any, talk: Exchange, site: int) -> int:
        """Hang the exchanges on the base's level ``block``, from skip ``site`` − 1 down; returns the next ``site``."""
        for zero, resnet in zip(self.ctrl_to_base, block.resnets, strict=True):
            site -= 1
            resnet.register_forward_pre_hook(partial(talk.remind, zero, site))
        return site


def _attention(unet: Any, theirs: Any, width: int, heads: int, groups: int) -> nn.Module:
    from diffusers.models.transformers.transformer_2d import Transformer2DModel

    made: nn.Module = Transformer2DModel(
        heads,
        width // heads,
        in_channels=width,
        num_layers=len(theirs.transformer_blocks),
        cross_attention_dim=unet.config.cross_attention_dim,
        use_linear_projection=unet.config.use_linear_projection,
        upcast_attention=unet.config.upcast_attention,
        norm_num_groups=groups,
    )
    return made


def _decoder_widths(unet: Any) -> list[list[int]]:
    """How wide the features are that enter each layer of each decoder level, without the skip beside them."""
    last = unet.mid_block.resnets[-1].out_channels
    widths = []
    for block in unet.up_blocks:
        ends = [last, *(part.out_channels for part in block.resnets)]
        widths.append([before for before, _ in pairwise(ends)])
        last = ends[-1]
    return widths


def _most_groups(channels: int, most: int) -> int:
    """The largest divisor of ``channels`` that is no greater than ``most``."""
    return max(groups for groups in range(1, min(channels, most) + 1) if channels % groups == 0)


def _check_shape(base: Any, shape: Shape) -> None:
    levels = len(base.sites.encoder)
    if len(shape.widths) != levels or len(shape.heads) != levels:
        raise HackamoreError(
            "the ControlNet-XS does not fit the base", received=f"{len(shape.widths)} levels", expected=levels
        )
    wrong = [width for width, count in zip(shape.widths, shape.heads, strict=True) if width < 1 or width % count]
    if wrong:
        raise HackamoreError(
            "the widths of the ControlNet-XS cannot be shared among its attention heads",
            received=f"widths {shape.widths}, heads {shape.heads}",
            expected="in each level a positive multiple of the heads",
            remedy="another size_ratio, above 0 and at most 1",
        )
