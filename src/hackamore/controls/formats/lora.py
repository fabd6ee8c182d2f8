"""Control-LoRA files for training: read with their factors as they are, and written as Stability's are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.controls.formats.diffusers import CONDITION
from hackamore.controls.formats.file import ControlFile
from hackamore.controls.formats.names import their_name, to_cldm
from hackamore.controls.formats.trunk import hint_widths
from hackamore.controls.formats.unet import base_weights, names_of, read_control_lora
from hackamore.controls.formats.write import write_safetensors
from hackamore.controls.lora import ControlLora

MARK = "lora_controlnet"
"""The empty tensor by which such a file is told."""


@torch.no_grad()
def read_factors(file: ControlFile, base: Any) -> ControlLora:
    """The Control-LoRA in ``file`` with its low-rank layers apart, so that they can be trained further.

    Raises what :func:`read_control_lora` raises, which makes one network of them and the base.
    """
    merged = read_control_lora(file, base)
    names = names_of(file)
    downs = {name.removesuffix(".down"): key for name, key in names.items() if name.endswith(".down")}
    ranks = {name: file.shapes[key][0] for name, key in downs.items()}
    whole = [name for name in base_weights(base) if name in names]
    widths = hint_widths({name: file.shapes[key] for name, key in names.items()})[0]
    control = ControlLora(base, merged.condition, ranks, widths, whole)
    tensors = file.tensors(*names.values())
    for name, mine in control.trunk_tensors().items():
        mine.copy_(tensors[names[name]].reshape(mine.shape))
    for part in ("hint_encoder", "zero_skips", "zero_mid"):
        getattr(control, part).load_state_dict(getattr(merged, part).state_dict())
    control.name, control.sha256, control.pools = merged.name, merged.sha256, merged.pools
    return control.requires_grad_(False).eval()


def write_control_lora(
    control: ControlLora, path: Path, dtype: torch.dtype | None = None, told: Mapping[str, str] | None = None
) -> Path:
    """Write ``control`` as one file in Stability's layout, which ComfyUI and A1111 read too; returns ``path``.

    What the trunk has of the base is not in it. ``told``: further lines of the header.
    """
    values: dict[str, Tensor] = control.trunk_tensors()
    values |= {
        their_name(name): parameter
        for name, parameter in control.named_parameters()
        if name.startswith(("hint_encoder.", "zero_"))
    }
    keys = to_cldm(values)
    metadata = {"format": "pt", **(told or {})} | ({CONDITION: control.condition} if control.condition else {})
    write_safetensors({MARK: torch.tensor([])} | {keys[name]: v for name, v in values.items()}, path, metadata, dtype)
    return path
