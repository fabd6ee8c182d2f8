"""ControlNets from one layout to the other, without their base; and what a file's tensors tell of its configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.controls.formats.diffusers import WEIGHTS
from hackamore.controls.formats.file import CONFIG, ControlFile, open_control
from hackamore.controls.formats.keys import check_keys, strangeness_told
from hackamore.controls.formats.marks import PREFIX
from hackamore.controls.formats.names import to_cldm
from hackamore.controls.formats.table import check_numbers, format_of
from hackamore.controls.formats.trunk import HINT, Shapes, depths, family_of, hint_widths, text_width
from hackamore.controls.formats.unet import names_of, pools_of
from hackamore.controls.formats.write import write_safetensors
from hackamore.core.errors import HackamoreError, unknown_name
from hackamore.core.files import written_whole

LAYOUTS = ("cldm", "diffusers")
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
ARCHITECTURES = {"sd1": "stable-diffusion-v1", "sd2": "stable-diffusion-v2", "sdxl": "stable-diffusion-xl-v1-base"}
"""Family → how ModelSpec calls it."""
GROUPS = 32
HEAD = 64
"""Channels of each attention head in Stable Diffusion 2 and XL; in 1 there are 8 heads of whatever width."""


def convert(
    source: Path | str, target: Path | str, to: str, *, dtype: str | None = None, overwrite: bool = False
) -> Path:
    """Write the ControlNet ``source`` in layout ``to``: ``cldm`` (one ``.safetensors`` file) or ``diffusers``.

    ``target``: for diffusers a folder, or a file ending in ``.safetensors``. ``dtype``: fp32, fp16, bf16; as they are
    when absent. Returns the file of weights. Raises :class:`HackamoreError` for a control of another kind, keys that
    are missing or left over, and a target that exists; then nothing is written.
    """
    if to not in LAYOUTS:
        raise unknown_name("layout", to, list(LAYOUTS))
    file = control_net(Path(source))
    names = names_of(file)
    config = config_of(file)
    tensors = file.tensors(*names.values())
    values = {name: tensors[key] for name, key in names.items()}
    return write_control(
        values, Path(target), to, config, file.metadata, title=file.title, dtype=dtype, overwrite=overwrite
    )


def control_net(path: Path) -> ControlFile:
    """Open ``path`` as a ControlNet for a U-Net that stands for itself; another kind is an error that names it."""
    file = open_control(path)
    entry = format_of(file)
    if entry.kind != "ControlNet":
        raise HackamoreError(f"{path} is {entry.name}", expected="a ControlNet in the original or in diffusers' layout")
    if "difference" in file.shapes:
        raise HackamoreError(
            f"{path} is {entry.name}, so it means nothing without one", expected="a ControlNet with its own weights"
        )
    check_numbers(file)
    return file


def check_target(target: Path, layout: str, overwrite: bool) -> Path:
    """The file of weights that a control at ``target`` gets; raises :class:`HackamoreError` where it cannot be."""
    single = target.suffix == ".safetensors"
    if layout == "cldm" and not single:
        raise HackamoreError(f"{target} cannot hold the original layout", expected="a name ending in .safetensors")
    weights = target if single else target / WEIGHTS
    for path in (weights, *(() if single else (target / "config.json",))):
        if path.exists() and not overwrite:
            raise HackamoreError(f"{path} exists already", remedy="another name, or --overwrite")
    return weights


def write_control(
    values: Mapping[str, Tensor],
    target: Path,
    layout: str,
    config: Mapping[str, Any],
    metadata: Mapping[str, str],
    *,
    title: str,
    dtype: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a ControlNet's ``values`` (by diffusers' names) in ``layout``; the same content gives the same bytes.

    The header says what ModelSpec 1.0.1 asks for, beside what ``metadata`` said before; where there is no config.json,
    it holds the configuration too. Returns the file of weights.
    """
    if dtype is not None and dtype not in DTYPES:
        raise unknown_name("dtype", dtype, list(DTYPES))
    weights = check_target(target, layout, overwrite)
    single = weights == target
    shapes = {name: tuple(value.shape) for name, value in values.items()}
    told = dict(metadata) | {"format": "pt"} | _spec(family_of(shapes), layout, metadata.get("modelspec.title", title))
    settings = json.dumps(dict(config), indent=2, sort_keys=True, default=list)
    told |= {CONFIG: json.dumps(json.loads(settings), sort_keys=True)} if single else {}
    if not single:
        told.pop(CONFIG, None)
    keys = {name: PREFIX + key for name, key in to_cldm(values).items()} if layout == "cldm" else {}
    write_safetensors(
        {keys.get(name, name): value for name, value in values.items()},
        weights,
        told,
        None if dtype is None else DTYPES[dtype],
    )
    if not single:
        with written_whole(target / "config.json") as path:
            path.write_text(settings + "\n", encoding="utf-8")
    return weights


def config_of(file: ControlFile) -> dict[str, Any]:
    """The configuration of diffusers' ``ControlNetModel`` for ``file``: its own, or what shapes and family tell.

    Raises :class:`HackamoreError` when the tensors are not exactly those of that configuration, or do not tell it.
    """
    from diffusers import ControlNetModel

    names = names_of(file)
    shapes = {name: file.shapes[key] for name, key in names.items()}
    with strangeness_told(file.path):
        config = {name: value for name, value in file.config.items() if not name.startswith("_")} or _told(file, shapes)
    config["global_pool_conditions"] = pools_of(file, None)
    try:
        with torch.device("meta"):
            network = ControlNetModel(**config)
    except Exception as error:  # whatever a strange configuration makes diffusers raise
        raise HackamoreError(
            f"the configuration of {file.path} is not that of a ControlNet", received=str(error)[:200]
        ) from error
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    back = {name: names.get(name, name) for name in expected}
    check_keys(file.path, {back[n]: s for n, s in expected.items()}, {names[n]: s for n, s in shapes.items()})
    return {"_class_name": "ControlNetModel", **config}


def _told(file: ControlFile, shapes: Shapes) -> dict[str, Any]:
    """The configuration that shapes tell, with the published families' rule for what no shape tells: the heads."""
    family = family_of(shapes)
    widths, layers = _levels(shapes)
    linear = family != "sd1"
    if family not in ARCHITECTURES or not widths or any(width % (HEAD if linear else GROUPS) for width in widths):
        raise HackamoreError(
            f"the tensors of {file.path} do not tell how many attention heads it has",
            received=f"family {family}, widths {', '.join(map(str, widths))}",
            expected="a folder with config.json, or a published family",
        )
    down, mid = depths(shapes, len(widths))
    added = shapes.get("add_embedding.linear_1.weight")
    deep = [max(count, 1) for count in [*down[:-1], mid or down[-1]]]
    config: dict[str, Any] = {
        "block_out_channels": widths,
        "layers_per_block": layers,
        "down_block_types": ["CrossAttnDownBlock2D" if count else "DownBlock2D" for count in down],
        "mid_block_type": "UNetMidBlock2DCrossAttn" if mid else "UNetMidBlock2D",
        "transformer_layers_per_block": deep if max(deep) > 1 else 1,
        "cross_attention_dim": text_width(shapes) or 2048,
        "attention_head_dim": [width // HEAD for width in widths] if linear else 8,
        "use_linear_projection": linear,
        "upcast_attention": family == "sd2",
        "conditioning_embedding_out_channels": list(hint_widths(shapes)[0]),
        "conditioning_channels": shapes[f"{HINT}conv_in.weight"][1],
    }
    if added is not None:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": added[1],
        }
    return config


def _levels(shapes: Shapes) -> tuple[list[int], int]:
    """The width of each level, and how many layers a level has."""
    widths: list[int] = []
    while (shape := shapes.get(f"down_blocks.{len(widths)}.resnets.0.conv1.weight")) is not None:
        widths.append(shape[0])
    start = "down_blocks.0.resnets."
    return widths, len({key.split(".")[3] for key in shapes if key.startswith(start)})


def _spec(family: str, layout: str, title: str) -> dict[str, str]:
    """What ModelSpec asks every file to say of itself."""
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{ARCHITECTURES.get(family, family)}/controlnet",
        "modelspec.implementation": layout,
        "modelspec.title": title,
    }
