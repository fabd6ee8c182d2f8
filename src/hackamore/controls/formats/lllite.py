"""ControlLLLite files: one safetensors file, keys ``lllite_unet_…``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hackamore.controls.formats.file import ControlFile
from hackamore.controls.formats.keys import check_keys
from hackamore.controls.formats.t2i import FAMILY
from hackamore.controls.lllite import PREFIX, LLLite, Shape
from hackamore.core.errors import HackamoreError
from hackamore.core.weights import save_tensors

CONDITION = "hackamore.condition"
ARCHITECTURE = {"sdxl": "stable-diffusion-xl-v1-base", "sd1": "stable-diffusion-v1", "sd2": "stable-diffusion-v2"}
ARCHITECTURES = {"stable-diffusion-xl": "sdxl", "stable-diffusion-v1": "sd1", "stable-diffusion-v2": "sd2"}
"""How ModelSpec's architectures begin → the family."""


def read_lllite(file: ControlFile, base: Any) -> LLLite:
    """Read a ControlLLLite for ``base``, whatever layers it acts on.

    SD 1 and SD 2 have the same layers, so that a file of one fits the other, unless its header tells its family. Raises
    :class:`HackamoreError` for another family, layers that are not the base's, and keys that are missing or left over.
    """
    others = sorted(key for key in file.shapes if not key.startswith(PREFIX))
    if others or not file.shapes:
        raise HackamoreError(
            f"{file.path} is not an LLLite of a U-Net", received=others[0] if others else "no keys", expected=PREFIX
        )
    if not hasattr(base, "unet"):
        raise HackamoreError(
            f"the control {file.name} does not fit the base {base.name}",
            received="an LLLite of a U-Net",
            expected=f"a control of family {base.family}",
        )
    told = told_family(file.metadata) or base.family
    if told != base.family:
        raise HackamoreError(
            f"the control {file.name} does not fit the base {base.name}",
            received=f"an LLLite of family {told}, as its header says",
            expected=f"a control of family {base.family}",
        )
    control = LLLite(base, shapes_of(file.shapes), file.metadata.get(CONDITION))
    check_keys(file.path, control.parts.state_dict(), file.shapes)
    control.parts.load_state_dict(file.tensors())
    control.name, control.sha256 = file.name, file.sha256
    return control.requires_grad_(False).eval()


def told_family(metadata: Mapping[str, str]) -> str | None:
    """The family that a header tells, ours or ModelSpec's; None where it tells none that is known."""
    spec = metadata.get("modelspec.architecture", "")
    named = (family for start, family in ARCHITECTURES.items() if spec.startswith(start))
    return metadata.get(FAMILY) or next(named, None)


def shapes_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Shape]:
    """Layer → :class:`Shape` of its part, told by the shapes of its tensors.

    Three convolutions in the hint encoder are depth 3; of two, the second is 4×4 at depth 2 and 2×2 at depth 1. Raises
    :class:`HackamoreError` for tensors that are neither layers nor convolutions.
    """
    parts: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for key, shape in shapes.items():
        name, _, weight = key.partition(".")
        parts[name][weight] = shape
    told = {}
    for name, part in parts.items():
        down, first = part.get("down.0.weight", (0, 0)), part.get("conditioning1.0.weight", (0,))
        second = part.get("conditioning1.2.weight", (0,))
        depth = 3 if "conditioning1.4.weight" in part else 2 if second[-1] == 4 else 1
        if len(down) not in (2, 4) or len(first) not in (1, 4):
            raise HackamoreError(f"{name} is no part of an LLLite", received=f"shapes {down} and {first}")
        told[name] = Shape(down[1], depth, first[0] * 2, down[0], len(down) == 4)
    return told


def write_lllite(control: LLLite, path: Path, family: str, dtype: torch.dtype | None = None) -> Path:
    """Write ``control`` as kohya's scripts do; ``family`` is its base's. Returns ``path``."""
    weights = {
        key: value.detach().to("cpu", dtype or value.dtype).contiguous()
        for key, value in control.parts.state_dict().items()
    }
    told = {"format": "pt", FAMILY: family} | ({CONDITION: control.condition} if control.condition else {})
    if family in ARCHITECTURE:
        told["modelspec.architecture"] = f"{ARCHITECTURE[family]}/control-net-lllite"
    save_tensors(weights, path, told)
    return path
