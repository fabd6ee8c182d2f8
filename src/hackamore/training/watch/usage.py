"""How a finished control is used: lines of Python for the model card, for this library and for diffusers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hackamore.annotators.catalog import ANNOTATORS
from hackamore.data.evaluation import GIVEN
from hackamore.training.watch.private import hub_name

PROMPT = "what the picture is to show"
_PIPELINES = {
    "ControlNetModel": ("StableDiffusionControlNetPipeline", "controlnet", "image"),
    "T2IAdapter": ("StableDiffusionAdapterPipeline", "adapter", "image"),
    "ControlNetXSAdapter": ("StableDiffusionControlNetXSPipeline", "controlnet", "image"),
    "SD3ControlNetModel": ("StableDiffusion3ControlNetPipeline", "controlnet", "control_image"),
    "FluxControlNetModel": ("FluxControlNetPipeline", "controlnet", "control_image"),
}
"""diffusers' class of a control → its pipeline, and what that calls the control and the hint."""


def with_hackamore(control: str, base: str, kinds: Sequence[str]) -> str:
    """Python that makes a picture with this library; ``control`` is a folder or a hub name.

    The hint is made from ``photo.jpg`` where its kind can be, else it is read from ``hint.png``.
    """
    kind = kinds[0] if kinds else ""
    made = kind in ANNOTATORS and kind not in GIVEN
    hint = (
        f'hk.annotate("{kind}", "photo.jpg", size=base.size)' if made else 'hk.load_picture("hint.png", size=base.size)'
    )
    typed = f', type="{kind}"' if len(kinds) > 1 else ""
    hub = hub_name(control)
    lines = ["from huggingface_hub import snapshot_download", ""] if hub else []
    where = f'snapshot_download("{control}")' if hub else f'"{control}"'
    lines += [
        "import hackamore as hk",
        "",
        f'base = hk.load_base("{base}")',
        f"control = hk.load_control({where}, base)",
        f"hint = {hint}",
        f'result = hk.generate(base, "{PROMPT}", controls=[control.unit(hint{typed})], seed=7)',
        'result.images[0].save("picture.png")',
    ]
    return "\n".join(lines)


def with_diffusers(control: str, base: str, folder: Path) -> str | None:
    """Python that makes a picture with diffusers from the control in ``folder``, None where diffusers cannot.

    That is where it has no class, and on Meadow for all but ControlNets: its XS and adapters have the widths of
    published bases in mind.
    """
    config = config_of(folder)
    name = str(config.get("_class_name", ""))
    found = pipeline_of(config)
    if found is None or (base == "meadow" and name != "ControlNetModel"):
        return None
    pipeline, role, image = found
    unlocked = (folder / "unet" / "config.json").exists()
    # in a local folder diffusers looks for weights beside the sub-folder first, and finds the control's
    inner = f'"{control}", subfolder="unet"' if hub_name(control) else f'"{control}/unet"'
    where = 'str(files("hackamore.bases") / "meadow")' if base == "meadow" else f'"{base}"'
    lines = ["from importlib.resources import files", ""] if base == "meadow" else []
    lines += [
        "import torch",
        f"from diffusers import {', '.join(sorted((name, pipeline, *(['UNet2DConditionModel'] * unlocked))))}",
        "from PIL import Image",
        "",
        "kind = torch.float16 if torch.cuda.is_available() else torch.float32",
        f'control = {name}.from_pretrained("{control}", torch_dtype=kind)',
        *([f"unet = UNet2DConditionModel.from_pretrained({inner}, torch_dtype=kind)"] * unlocked),
        f"pipe = {pipeline}.from_pretrained({where}, {role}=control{', unet=unet' * unlocked}, torch_dtype=kind)",
        'pipe.to("cuda" if torch.cuda.is_available() else "cpu")',
        f'picture = pipe("{PROMPT}", {image}=Image.open("hint.png")).images[0]',
        'picture.save("picture.png")',
    ]
    return "\n".join(lines)


def pipeline_of(config: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """diffusers' pipeline for a control with this ``config.json``, and what it calls control and hint.

    None where diffusers cannot use it: XS adapters of bases that are not SD's in shape, unions on bases before SDXL,
    and layouts that are this library's alone.
    """
    found = _PIPELINES.get(str(config.get("_class_name", "")))
    xl = (
        config.get("cross_attention_dim") == 2048
        or config.get("adapter_type") == "full_adapter_xl"
        or config.get("downscale_factor") == 16
    )
    if found is None or not xl:
        return found
    return found[0].replace("StableDiffusion", "StableDiffusionXL", 1), *found[1:]


def config_of(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a finished control, empty where it has none."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
