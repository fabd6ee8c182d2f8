"""ControlLLLite (kohya): small networks that shift what the base's layers receive, by hint and features together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hackamore.bases.base import Sites
from hackamore.bases.walk import Part, original_names
from hackamore.controls.control import Voice
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Size

PREFIX = "lllite_unet_"
SHIFTED = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn2.to_q")
"""The layers of a transformer that a fresh LLLite acts on."""
DEEPEST = 3
"""A hint can be encoded to 1/8, 1/16 or 1/32 of its size: depth 1, 2 or 3."""


@dataclass(frozen=True)
class Shape:
    """The size of one part: ``channels`` it shifts, ``depth`` of its hint encoder, ``hint_width`` that comes out of
    it, ``width`` in between; ``convolves`` where it acts on maps, not on tokens.
    """

    channels: int
    depth: int
    hint_width: int = 32
    width: int = 64
    convolves: bool = False


class LLLitePart(nn.Module):
    """What acts on one layer of the base. Parameters are named as in kohya's files; fresh, it says nothing."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        half, whole = shape.hint_width // 2, shape.hint_width
        steps: list[nn.Module] = [nn.Conv2d(3, half, 4, stride=4), nn.ReLU()]
        if shape.depth == 3:
            steps += [nn.Conv2d(half, half, 4, stride=4), nn.ReLU()]
        stride = 4 if shape.depth == 2 else 2
        self.conditioning1 = nn.Sequential(*steps, nn.Conv2d(half, whole, stride, stride=stride))

        def layer(inside: int, outside: int) -> nn.Module:
            return nn.Conv2d(inside, outside, 1) if shape.convolves else nn.Linear(inside, outside)

        self.down = nn.Sequential(layer(shape.channels, shape.width), nn.ReLU())
        self.mid = nn.Sequential(layer(shape.width + whole, shape.width), nn.ReLU())
        self.up = nn.Sequential(layer(shape.width, shape.channels))
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)

    def encode(self, hint: Tensor) -> Tensor:
        """A hint N×3×H×W in [−1, 1] → features N×C×h×w, or as tokens N×(h·w)×C."""
        features: Tensor = self.conditioning1(hint)
        return features if self.shape.convolves else features.flatten(2).transpose(1, 2)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """What is added to ``x``, the layer's input."""
        shift: Tensor = self.up(self.mid(torch.cat([features, self.down(x)], 1 if self.shape.convolves else -1)))
        return shift


class LLLite(nn.Module):
    """A ControlLLLite for a U-Net base; ``shapes`` tells its parts by kohya's names of the base's layers.

    It has as many outputs for layer weights as the base has skips, and one for the mid block: the parts beside one skip
    share one. Raises :class:`HackamoreError` for a layer that the base has not, or has in another width or size.
    """

    def __init__(self, base: Any, shapes: Mapping[str, Shape], condition: str | None = None) -> None:
        super().__init__()
        self.condition = condition
        self.name = condition or "lllite"
        self.sha256: dict[str, str] = {}
        self.sites: Sites = base.sites
        known = places(base.bare)
        for name, shape in shapes.items():
            _check_place(name, shape, known.get(name), base)
        self.places = {name: known[name] for name in shapes}
        self.parts = nn.ModuleDict({name: LLLitePart(shape) for name, shape in shapes.items()})
        self.to(base.device, base.dtype)

    @property
    def outputs(self) -> int:
        """How many layer weights it has: as a ControlNet for the same base."""
        return len(self.sites.skips) + 1

    def check(self, size: Size) -> None:
        """Raise :class:`HackamoreError` for a size that its deepest part cannot take."""
        multiple = 8 * 2 ** max(place.level for place in self.places.values())
        if size[0] % multiple or size[1] % multiple:
            raise HackamoreError(
                f"the control {self.name} cannot take a hint of this size",
                received=f"{size[0]}×{size[1]}",
                expected=f"width and height that are multiples of {multiple}",
            )

    def prepare(self, hint: Tensor) -> dict[str, Tensor]:
        """Encode the hint, N×3×H×W in [0, 1], for each part: once per generation. Their networks know [−1, 1]."""
        weight = next(self.parameters())
        self.check((hint.shape[-1], hint.shape[-2]))
        signed = hint.to(weight.device, weight.dtype) * 2 - 1
        parts: dict[str, Any] = dict(self.parts.items())
        return {name: part.encode(signed) for name, part in parts.items()}

    def attach(self, base: Any, voice: Voice) -> Any:
        """A view of ``base`` whose layers receive what this adds whenever ``voice`` is not silent."""
        base = base.view()
        for name, part in self.parts.items():
            place = self.places[name]
            layer = base.unet.get_submodule(place.path)
            layer.register_forward_pre_hook(partial(_shift, part, voice, name, place.site, len(base.sites.skips) + 1))
        return base

    def unit(self, hint: Any, **settings: Any) -> Unit:
        """Bind the control to a hint; scale, window, schedule and mask as in :class:`Unit`."""
        return Unit(self, hint, **settings)


def new_lllite(base: Any, condition: str | None = None, *, hint_width: int = 32, width: int = 64) -> LLLite:
    """A fresh LLLite on the attentions of the base's encoder and mid block; it changes nothing until it is trained.

    Parts smaller than 1/32 of the picture (the mid block of SD 1 and 2) are left out: no hint encoder reaches them.
    """
    if not hasattr(base, "unet"):
        raise HackamoreError("no LLLite can be made for this base", received=base.family, expected="a U-Net base")
    shapes = {}
    for original, place in original_names(base.bare).items():
        encoder = original.startswith(("input_blocks.", "middle_block."))
        if encoder and place.level < DEEPEST and original.endswith(SHIFTED):
            channels = base.bare.get_submodule(place.path).in_features
            shapes[_written(original)] = Shape(channels, place.level + 1, hint_width, width)
    return LLLite(base, shapes, condition)


def places(unet: Any) -> dict[str, Part]:
    """Names of layers as files write them, in the original code's numbering or in diffusers', → where they are."""
    parts = original_names(unet).values()
    return {_written(name): part for part in parts for name in (part.original, part.path)}


def _written(name: str) -> str:
    return PREFIX + name.replace(".", "_")


def _shift(
    part: nn.Module, voice: Voice, name: str, site: int, outputs: int, _: nn.Module, args: tuple[Tensor, ...]
) -> Any:
    """Before a layer of the base: shift what it receives."""
    if voice.strength == 0:
        return None
    x, *rest = args
    return (x + voice.say(part(x, voice.prepared[name]), site, outputs), *rest)


def _check_place(name: str, shape: Shape, place: Part | None, base: Any) -> None:
    if place is None:
        wrong = f"the layer {name.removeprefix(PREFIX)}, which this base has not"
    else:
        layer = base.bare.get_submodule(place.path)
        wide = getattr(layer, "in_features", getattr(layer, "in_channels", 0))
        if (wide, place.level + 1) == (shape.channels, shape.depth):
            return
        wrong = (
            f"{name.removeprefix(PREFIX)} with {shape.channels} channels at 1/{4 * 2**shape.depth} "
            f"of the picture, where the base has {wide} at 1/{8 * 2**place.level}"
        )
    raise HackamoreError(
        f"the LLLite does not fit the base {base.name}", received=wrong, expected=f"an LLLite of family {base.family}"
    )
