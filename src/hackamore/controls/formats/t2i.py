"""T2I-Adapter files: TencentARC's layout and diffusers', full, light and XL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from hackamore.controls.adapter import Adapter, Place, places_of
from hackamore.controls.formats.diffusers import CONDITION, stored, write_folder
from hackamore.controls.formats.file import ControlFile
from hackamore.controls.formats.keys import check_keys
from hackamore.core.errors import HackamoreError, unknown_name
from hackamore.core.files import written_whole
from hackamore.core.weights import PICKLES, SAFE, save_tensors

Layout = Literal["diffusers", "official"]
PREFIX = "adapter."
"""Before every key in diffusers' layout."""
FAMILY = "hackamore.family"
"""Where a header says for which family the adapter was trained; published files do not, and SD1's fit SD2's shapes."""
STRIDES = (8, 16)
"""Pixels that a cell of the first feature spans in published adapters: SD's and XL's."""
XL = (False, False, True, False)
"""Which levels of an XL adapter begin by halving the size."""
PARTS = ("in_conv", "block1", "block2", "resnets", "body", "out_conv")
"""What the modules in a level are called, in either layout."""
Shapes = Mapping[str, tuple[int, ...]]


def read_t2i(file: ControlFile, base: Any) -> Adapter:
    """Read a T2I-Adapter for ``base``: full, light or XL, with 1 or 3 channels of hint, in either layout.

    Raises :class:`HackamoreError` when it is of another family or width, or when keys are missing or left over.
    """
    shapes = {key.removeprefix(PREFIX): shape for key, shape in file.shapes.items()}
    light = "conv_in.weight" not in shapes
    layout: Layout = "diffusers" if any(".resnets." in key for key in shapes) else "official"
    prefix = PREFIX if any(key.startswith(PREFIX) for key in file.shapes) else ""
    blocks, widths = _widths(shapes, layout, light)
    first = shapes.get("body.0.in_conv.weight" if light else "conv_in.weight", (0, 0))[1]
    places = places_of(base)
    channels, rest = divmod(first, places[0].stride ** 2)
    told = file.metadata.get(FAMILY, base.family)
    wide = len(places) == len(widths) and all(
        width in (0, place.width) for width, place in zip(widths, places, strict=True)
    )
    if rest or channels not in (1, 3) or not wide or told != base.family:
        raise HackamoreError(
            f"the control {file.name} does not fit the base {base.name}",
            received=f"a T2I-Adapter {_family(told if FAMILY in file.metadata else None, first, widths)}",
            expected=f"one for family {base.family} ({_described(places[0].stride, places)})",
        )
    with torch.device("meta"):
        adapter = Adapter(base, file.metadata.get(CONDITION), channels_in=channels, light=light, blocks=blocks)
    names = {name: prefix + their_name(name, adapter, layout) for name in adapter.state_dict()}
    check_keys(file.path, {names[name]: value for name, value in adapter.state_dict().items()}, file.shapes)
    tensors = file.tensors()
    adapter.load_state_dict(
        {name: tensors[key].to(base.device, base.dtype, copy=True) for name, key in names.items()}, assign=True
    )
    adapter.name, adapter.sha256 = file.name, file.sha256
    return adapter.requires_grad_(False).eval()


def write_adapter(
    adapter: Adapter,
    path: Path | str,
    layout: Layout = "diffusers",
    dtype: torch.dtype | None = None,
    *,
    eight_bits: bool = False,
    told: Mapping[str, str] | None = None,
) -> Path:
    """Write ``adapter``; returns the file of weights.

    ``diffusers``: a folder that ``T2IAdapter.from_pretrained`` loads. ``official``: one file in TencentARC's layout,
    ``.safetensors`` or a pickle (``.pth``), for their code, ComfyUI and A1111. ``told``: further lines of the header
    (of a pickle: none). Raises :class:`HackamoreError` for a
    layout that is neither, a suffix that is none, or an adapter that diffusers has no class for.
    """
    if layout not in ("diffusers", "official"):
        raise unknown_name("layout", str(layout), ["diffusers", "official"])
    path = Path(path)
    prefix = PREFIX if layout == "diffusers" else ""
    weights: dict[str, Tensor] = {
        prefix + their_name(name, adapter, layout): stored(value, dtype, eight_bits)
        for name, value in adapter.state_dict().items()
    }
    if layout == "diffusers":
        return write_folder(
            path, weights, config_of_adapter(adapter), adapter, {**(told or {}), FAMILY: adapter.base.family}
        )
    if path.suffix not in (*SAFE, *PICKLES):
        raise HackamoreError(f"{path} is no name for weights", expected=f"one that ends in {', '.join(SAFE + PICKLES)}")
    _save(weights, path, adapter, told)
    return path


def their_name(name: str, adapter: Adapter, layout: Layout) -> str:
    """Our parameter's name in a file of ``layout``, without diffusers' prefix.

    TencentARC counts a full adapter's residual blocks through all levels, and calls those of a light one's ``body``.
    """
    parts = name.split(".")
    if layout == "diffusers" or parts[0] != "body":
        return name
    if adapter.light:
        return name.replace(".resnets.", ".body.")
    level, block = int(parts[1]), int(parts[3]) if parts[2] == "resnets" else 0
    rest = parts[4:] if parts[2] == "resnets" else parts[2:]
    return ".".join(["body", str(level * adapter.blocks + block), *rest])


def _save(weights: dict[str, Tensor], path: Path, adapter: Adapter, further: Mapping[str, str] | None) -> None:
    told = {"format": "pt", **(further or {}), FAMILY: adapter.base.family}
    told |= {CONDITION: adapter.condition} if adapter.condition else {}
    if path.suffix in SAFE:
        save_tensors(weights, path, told)
        return
    with written_whole(path) as file:
        torch.save(weights, file)


def config_of_adapter(adapter: Adapter) -> dict[str, Any]:
    """What diffusers' ``T2IAdapter`` is made with; its classes halve the size at set levels only.

    Raises :class:`HackamoreError` for an adapter that it has no class for.
    """
    widths, every = [place.width for place in adapter.places], all(adapter.downs[1:])
    if adapter.light:
        kind = "light_adapter" if every and widths[-1:] == widths[-2:-1] else None
    else:
        kind = "full_adapter" if every else "full_adapter_xl" if adapter.downs == XL else None
    if kind is None:
        raise HackamoreError(
            "diffusers has no class for this adapter",
            received=f"{'light' if adapter.light else 'full'}, {_described(adapter.stride, adapter.places)}",
            expected="levels as those of Stable Diffusion, or of SDXL and full",
            remedy="the official layout",
        )
    return {
        "_class_name": "T2IAdapter",
        "adapter_type": kind,
        "channels": widths[:-1] if adapter.light else widths,
        "downscale_factor": adapter.stride,
        "in_channels": adapter.channels_in,
        "num_res_blocks": adapter.blocks,
    }


def _widths(shapes: Shapes, layout: Layout, light: bool) -> tuple[int, list[int]]:
    """Residual blocks a level, and the channels of each feature (0: its tensor is missing), told from shapes."""
    inside = [key.split(".") for key in shapes if key.startswith("body.")]
    numbers = {int(parts[1]) for parts in inside if len(parts) > 3 and parts[2] in PARTS and parts[1].isdecimal()}
    last = {"diffusers": "body.{}.resnets.0.block1.weight", "official": "body.{}.block1.weight"}[layout]
    last = "body.{}.out_conv.weight" if light else last
    found = [shapes.get(last.format(number), (0,))[0] for number in sorted(numbers)]
    if layout == "official" and not light:  # a level begins where the width changes, and all are as long as the first
        blocks = _first_level(shapes, len(found))
        return blocks, found[::blocks]
    inner = "resnets" if layout == "diffusers" else "body"
    return sum(f"body.0.{inner}.{block}.block1.weight" in shapes for block in range(99)) or 1, found


def _first_level(shapes: Shapes, total: int) -> int:
    """How many residual blocks the first level has: up to the first one that changes the width; else two."""
    changed = (number for number in range(1, total) if f"body.{number}.in_conv.weight" in shapes)
    return next(changed, 2)


def _family(told: str | None, first: int, widths: list[int]) -> str:
    """The family of a file with ``first`` channels behind its unshuffling and features of ``widths``, in words."""
    stride = next((stride for stride in STRIDES if first in (stride**2, 3 * stride**2)), 0)
    if told is None:
        told = {8: "sd1", 16: "sdxl"}.get(stride, "unknown")
    return f"of family {told} ({_described(stride, [Place(width, stride) for width in widths])})"


def _described(stride: int, places: Any) -> str:
    return f"features of {', '.join(str(place.width) for place in places)} channels, {stride} pixels a cell"
