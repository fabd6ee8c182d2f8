"""The shape of a control's trainable copy, told from the tensors of its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hackamore.bases.unet import DECODER, FAMILIES
from hackamore.core.errors import HackamoreError

Shapes = Mapping[str, tuple[int, ...]]
HINT = "controlnet_cond_embedding."


def text_width(shapes: Shapes) -> int | None:
    """Width of the text that a copy attends to; None where it does not attend. ``shapes`` by diffusers' names."""
    return next((shape[-1] for key, shape in shapes.items() if key.endswith("attn2.to_k.weight")), None)


def family_of(shapes: Shapes) -> str:
    """The family of a U-Net control, by the width of its text, or by the added conditions of SDXL."""
    text = text_width(shapes)
    if text is None:
        return "sdxl" if "add_embedding.linear_1.weight" in shapes else "unknown"
    return FAMILIES.get(text, f"unet-{text}")


def check_family(name: str, shapes: Shapes, base: Any) -> None:
    """Raise :class:`HackamoreError` naming both families where the control was made for another kind of base."""
    text, family = text_width(shapes), family_of(shapes)
    first = shapes.get("conv_in.weight", (None,))[0]
    fits = (
        hasattr(base, "unet")
        and text in (None, base.sites.text_width)
        and first in (None, base.sites.skips[0])
        and ("add_embedding.linear_1.weight" in shapes) == (base.unet.config.addition_embed_type is not None)
    )
    if not fits:
        mine = f"width {base.sites.skips[0]}, " if base.sites.skips else ""
        raise HackamoreError(
            f"the control {name} does not fit the base {base.name}",
            received=f"a control of family {family} (width {first}, text width {text or 'untold'})",
            expected=f"family {base.family} ({mine}text width {base.sites.text_width})",
        )


def check_settings(name: str, config: Mapping[str, Any], shapes: Shapes, base: Any) -> None:
    """Raise :class:`HackamoreError` where a control's own ``config`` says what no shape tells and the base has not.

    That is how many attention heads each level has in which the control attends, and what is told beside the text.
    """
    theirs = base.unet.config
    down, mid = depths(shapes, len(theirs.down_block_types))
    wanted, told = _heads(theirs, len(down)) or [], _heads(config, len(down))
    levels = [level for level, count in enumerate(down) if count or (mid and level == len(down) - 1)]
    if told is not None and [told[i : i + 1] for i in levels] != [wanted[i : i + 1] for i in levels]:
        raise HackamoreError(
            f"the control {name} does not fit the base {base.name}",
            received=f"attention heads of the levels: {', '.join(map(str, told))}",
            expected=", ".join(map(str, wanted)),
        )
    added = config.get("addition_embed_type", theirs.addition_embed_type)
    if added != theirs.addition_embed_type:
        raise HackamoreError(
            f"the control {name} does not fit the base {base.name}",
            received=f"a control that is told {added or 'nothing'} beside the text",
            expected=theirs.addition_embed_type or "nothing",
        )


def _heads(config: Mapping[str, Any], levels: int) -> list[Any] | None:
    """The attention heads of each level as diffusers takes them from a configuration; None where it says none."""
    told = config.get("num_attention_heads") or config.get("attention_head_dim")
    return None if told is None else list(told) if isinstance(told, list | tuple) else [told] * levels


def depths(shapes: Shapes, levels: int) -> tuple[list[int], int]:
    """How many transformer layers each of the ``levels`` has, 0 where it does not attend, and the mid block."""

    def count(start: str) -> int:
        found = {key[len(start) :].split(".")[0] for key in shapes if key.startswith(start)}
        return len(found)

    down = [count(f"down_blocks.{level}.attentions.0.transformer_blocks.") for level in range(levels)]
    return down, count("mid_block.attentions.0.transformer_blocks.")


def hint_widths(shapes: Shapes) -> tuple[tuple[int, ...], int]:
    """The widths of a hint encoder, and how many channels its hint has."""
    blocks = len({key.split(".")[2] for key in shapes if key.startswith(f"{HINT}blocks.")})
    first = shapes[f"{HINT}conv_in.weight"]
    ends = [shapes[f"{HINT}blocks.{i}.weight"][0] for i in range(1, blocks, 2) if f"{HINT}blocks.{i}.weight" in shapes]
    return (first[0], *ends), first[1]


def trunk_like(unet: Any, down: list[int], mid: int) -> Any:
    """An encoder built as ``unet``'s, of its own weights nothing, with so many transformer layers (see :func:`depths`).

    Published controls of SDXL come in three sizes: with all of the base's transformer layers, with few, with none.
    """
    from diffusers import UNet2DConditionModel

    told = {name: value for name, value in unet.config.items() if not name.startswith("_")}
    kinds = ("DownBlock2D", "CrossAttnDownBlock2D")
    told["down_block_types"] = tuple(
        kinds[count > 0] if kind in kinds else kind for kind, count in zip(told["down_block_types"], down, strict=True)
    )
    if told["mid_block_type"] in ("UNetMidBlock2D", "UNetMidBlock2DCrossAttn"):
        told["mid_block_type"] = "UNetMidBlock2DCrossAttn" if mid else "UNetMidBlock2D"
    told["transformer_layers_per_block"] = tuple(max(count, 1) for count in [*down[:-1], mid or down[-1]])
    told["up_block_types"] = ("UpBlock2D",) * len(down)  # made only to be left out
    trunk = UNet2DConditionModel(**told)
    for part in DECODER:
        trunk._modules.pop(part, None)
    return trunk
