"""A walk through a U-Net: what its parts are called in Stable Diffusion's original code, and where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Part:
    """A residual block, transformer or sampler of a ``UNet2DConditionModel``.

    ``path``: its name in the U-Net. ``original``: its name in the original code (LDM), ``input_blocks.4.1`` and the
    like. ``site``: the skip that it makes or takes, counted from the input; the mid block's is the number of skips.
    ``level``: how often the latents were halved.
    """

    path: str
    original: str
    site: int
    level: int
    attends: bool


def walk(unet: Any) -> Iterator[Part]:
    """The parts of a U-Net in the order in which they run, ``conv_in`` and ``conv_out`` aside."""
    site = 1
    for level, block in enumerate(unet.down_blocks):
        attends = hasattr(block, "attentions")
        for k in range(len(block.resnets)):
            yield from _pair(f"down_blocks.{level}", k, f"input_blocks.{site}", site, level, attends)
            site += 1
        if block.downsamplers is not None:
            yield Part(f"down_blocks.{level}.downsamplers.0", f"input_blocks.{site}.0", site, level, False)
            site += 1
    level = len(unet.down_blocks) - 1
    for k in range(len(unet.mid_block.resnets)):
        yield Part(f"mid_block.resnets.{k}", f"middle_block.{2 * k}", site, level, False)
        if k < len(getattr(unet.mid_block, "attentions", ())):
            yield Part(f"mid_block.attentions.{k}", f"middle_block.{2 * k + 1}", site, level, True)
    for number, block in enumerate(unet.up_blocks):
        attends = hasattr(block, "attentions")
        for k in range(len(block.resnets)):
            site -= 1
            name = f"output_blocks.{sum(len(before.resnets) for before in unet.up_blocks[:number]) + k}"
            yield from _pair(f"up_blocks.{number}", k, name, site, level - number, attends)
        if block.upsamplers is not None:
            yield Part(f"up_blocks.{number}.upsamplers.0", f"{name}.{1 + attends}", site, level - number, False)


def _pair(block: str, k: int, original: str, site: int, level: int, attends: bool) -> Iterator[Part]:
    yield Part(f"{block}.resnets.{k}", f"{original}.0", site, level, False)
    if attends:
        yield Part(f"{block}.attentions.{k}", f"{original}.1", site, level, True)


@dataclass(frozen=True)
class Attention:
    """One attention inside a transformer: its ``path`` in the U-Net, whether it is ``own`` (self-attention) or reads
    the text, and the ``site`` of its transformer.
    """

    path: str
    own: bool
    site: int


def attentions(unet: Any) -> list[Attention]:
    """Every attention of a U-Net, in the order in which diffusers counts its attention processors."""
    sites = {part.path: part.site for part in walk(unet) if part.attends}
    found = []
    for name in unet.attn_processors:
        path = str(name).removesuffix(".processor")
        transformer = path.split(".transformer_blocks.")[0]
        found.append(Attention(path, path.endswith(".attn1"), sites[transformer]))
    return found


INSIDE_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip


def original_names(unet: Any) -> dict[str, Part]:
    """Original name → its :class:`Part`, for every module inside a residual block or transformer.

    In the parts given, ``path`` is the module's own; inside a transformer both names are the same.
    """
    found = {}
    for part in walk(unet):
        module: nn.Module = unet.get_submodule(part.path)
        for name, _ in module.named_modules():
            if name and (part.attends or name in INSIDE_RESNET):
                original = f"{part.original}.{name if part.attends else INSIDE_RESNET[name]}"
                found[original] = Part(f"{part.path}.{name}", original, part.site, part.level, part.attends)
    return found
