"""The files of a finished control: every layout that its kind is known in, with a header that says what it is."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from hackamore.controls.adapter import Adapter
from hackamore.controls.branch import Branch
from hackamore.controls.formats.convert import write_control
from hackamore.controls.formats.diffusers import CONDITION, config_of, stored, write_branch
from hackamore.controls.formats.lora import write_control_lora
from hackamore.controls.formats.names import their_name
from hackamore.controls.formats.t2i import FAMILY, config_of_adapter, write_adapter
from hackamore.controls.formats.transformer import write_blocks
from hackamore.controls.formats.union import write_union
from hackamore.controls.formats.write import write_safetensors
from hackamore.controls.formats.xs import write_xs
from hackamore.controls.lora import ControlLora
from hackamore.controls.union import Union
from hackamore.controls.xs import XS
from hackamore.core.errors import HackamoreError
from hackamore.core.files import written_whole
from hackamore.training.forms.trained import Trained

FORM, KINDS, BASE, VERSION = "hackamore.form", "hackamore.kinds", "hackamore.base", "hackamore.version"
"""Lines of the header: form, kinds of hint, hash of the base's network, version that trained it."""


def write_form(form: Trained, folder: Path, eight_bits: bool = False) -> list[Path]:
    """Write the network of ``form`` (and the base's changed U-Net) to ``folder``; see :meth:`Trained.write`."""
    network, told = form.network, header(form)
    single = folder / f"{form.kinds[0] if len(form.kinds) == 1 else form.form}.safetensors"
    half: dict[str, Any] = {"dtype": torch.float16, "told": told}
    both: dict[str, Any] = half | {"eight_bits": eight_bits}
    if isinstance(network, ControlLora):
        written = [write_control_lora(network, single, **half)]
    elif isinstance(network, Branch):
        written = [write_branch(network, folder, **both), _original(network, single, told, eight_bits)]
    elif isinstance(network, Adapter):
        written = [*_theirs(network, folder, both), write_adapter(network, single, "official", **both)]
    elif isinstance(network, Union):
        written = [write_union(network, folder, **both)]  # what is published lies in this very layout
    elif isinstance(network, XS):
        written = [write_xs(network, form.base, folder, **both)]
    else:
        written = [write_blocks(network, folder, **both)]
    return [*written, write_unet(form.base.unet, folder / "unet")] if form.settings.unlocked else written


def written_bytes(form: Trained) -> int:
    """Bytes of what :func:`write_form` writes, about; in fp8 it is less."""
    network = form.network
    lora = isinstance(network, ControlLora)  # whose other weights are the base's
    numbers: int = sum(weight.numel() for weight in network.parameters() if weight.requires_grad or not lora)
    layouts = 2 if isinstance(network, (Branch, Adapter)) and not lora else 1
    unet: int = sum(weight.numel() for weight in form.base.unet.parameters()) if form.settings.unlocked else 0
    return 2 * (layouts * numbers + unet)


def header(form: Trained) -> dict[str, str]:
    """What the header of every file says."""
    return {
        FORM: form.form,
        KINDS: ",".join(form.kinds),
        FAMILY: form.base.family,
        BASE: base_hash(form.base),
        VERSION: version("hackamore"),
    }


def base_hash(base: Any) -> str:
    """The SHA-256 of the base's network: of its one file, or of the lines ``name hash`` of several; empty if unknown.

    A base in a single file is known by that file.
    """
    own = {name: told for name, told in base.sha256.items() if name.startswith(("unet/", "transformer/"))}
    own = own or {name: told for name, told in base.sha256.items() if "/" not in name}
    lines = "".join(f"{name} {told}\n" for name, told in sorted(own.items()))
    return next(iter(own.values())) if len(own) == 1 else hashlib.sha256(lines.encode()).hexdigest() if own else ""


def write_unet(unet: Any, folder: Path) -> Path:
    """Write a U-Net so that ``UNet2DConditionModel.from_pretrained(folder)`` loads it, fp16; its file of weights."""
    path = folder / "diffusion_pytorch_model.safetensors"
    config = {name: value for name, value in unet.config.items() if not name.startswith("_")}
    write_safetensors(unet.state_dict(), path, {"format": "pt"}, torch.float16)
    with written_whole(folder / "config.json") as temporary:
        told = {"_class_name": "UNet2DConditionModel"} | config
        temporary.write_text(json.dumps(told, indent=2, default=list), encoding="utf-8")
    return path


def _original(branch: Branch, path: Path, told: dict[str, str], eight_bits: bool) -> Path:
    """The ControlNet as one file in the original layout."""
    values = {their_name(name): stored(value, torch.float16, eight_bits) for name, value in branch.named_parameters()}
    told = told | ({CONDITION: branch.condition} if branch.condition else {})
    config = {"_class_name": "ControlNetModel"} | config_of(branch)
    return write_control(values, path, "cldm", config, told, title=path.stem, overwrite=True)


def _theirs(adapter: Adapter, folder: Path, told: dict[str, Any]) -> list[Path]:
    """The adapter in diffusers' layout, where diffusers has a class for it (it has none for light ones of SDXL)."""
    try:
        config_of_adapter(adapter)
    except HackamoreError:
        return []
    return [write_adapter(adapter, folder, "diffusers", **told)]
