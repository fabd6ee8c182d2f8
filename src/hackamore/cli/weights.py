"""What weights are, in words: a control of any format, a base, or what else people save; only headers are read."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from hackamore.cli.uses import GENERATE, family_on_base, use

if TYPE_CHECKING:
    from hackamore.controls.formats.file import ControlFile
    from hackamore.controls.formats.table import Format

Told = dict[str, object]
HIDDEN = ("format", "hackamore.config", "hackamore.condition")
"""Metadata that is told otherwise, or that nobody reads."""
CONTEXTS = ("attn2.to_k.weight", "attn2.to_k.down", "to_k_ip.weight")
"""Weights whose last side is the width of the text that a U-Net control attends to."""


def control(path: Path) -> Told:
    """What a file or folder of weights is: kind, family, condition, sizes, types, hashes, and what to type to use it.

    A format that is only known by sight is described too. Raises :class:`HackamoreError` for an unknown one.
    """
    from hackamore.controls.formats.file import open_control
    from hackamore.controls.formats.keys import strangeness_told
    from hackamore.controls.formats.table import format_of

    file = open_control(path)
    entry = format_of(file)
    if entry.kind == "base" and len(file.files) == 1:
        from hackamore.bases.single import describe_file

        return describe_file(file.weights)
    told: Told = {"kind": entry.name}
    family = family_on_base(file, entry)
    with strangeness_told(path):
        if entry.reader is not None:
            family = _family(file, entry)
            types = _types(file, entry)
            condition = {} if types else {"condition": _condition(file)}  # of a union each type is one
            told |= {"family": family} | condition | _widths(file, entry) | types
        elif family is not None:
            told |= {"family": family}
    told["parameters"] = f"{file.parameters:,}"
    told["dtype"] = " and ".join(sorted(set(file.dtypes.values())))
    told |= {f"sha256 {name}" if len(file.sha256) > 1 else "sha256": value for name, value in file.sha256.items()}
    told |= {f"metadata {name}": _short(value) for name, value in sorted(file.metadata.items()) if name not in HIDDEN}
    return told | {"use": use(path, file, entry, family)}


def base_folder(path: Path) -> Told:
    """What a base's folder in diffusers' layout is."""
    from hackamore.bases.folder import PARTS
    from hackamore.bases.unet import FAMILIES
    from hackamore.controls.formats.file import open_control, read_config
    from hackamore.core.files import sha256

    part = "unet" if (path / "unet").is_dir() else "transformer"
    config, scheduler = read_config(path / part / "config.json"), path / "scheduler" / "scheduler_config.json"
    network = open_control(path / part)
    text = config.get("cross_attention_dim", config.get("joint_attention_dim", 0))
    names = {"SD3Transformer2DModel": "sd3", "FluxTransformer2DModel": "flux"}
    family = FAMILIES.get(text) if part == "unet" else names.get(str(config.get("_class_name")))
    told: Told = {"kind": "a base", "family": family or f"unknown ({config.get('_class_name', 'no config.json')})"}
    side = config.get("sample_size")
    levels = read_config(path / "vae" / "config.json").get("block_out_channels", [0] * 4)
    if isinstance(side, int):
        told["size"] = "×".join([str(side * 2 ** (len(levels) - 1))] * 2)
    elif isinstance(side, list) and len(side) == 2:
        told["size"] = "×".join(str(length * 2 ** (len(levels) - 1)) for length in reversed(side))
    if part == "unet":
        told["widths"] = ", ".join(map(str, config.get("block_out_channels", [])))
    told |= {"text width": text, "prediction": _prediction(read_config(scheduler), part)}
    told |= {"parameters": f"{network.parameters:,} ({'U-Net' if part == 'unet' else part})"}
    told["dtype"] = " and ".join(sorted(set(network.dtypes.values())))
    parts = sorted({part, "vae"} | {folder.name for folder in path.glob("text_encoder*")})
    files = [file for part in parts for file in sorted((path / part).glob("*.safetensors"))]
    told |= {f"sha256 {file.relative_to(path)}": sha256(file) for file in files if ".fp16." not in file.name}
    needed = PARTS if part == "unet" else (part, "vae", "scheduler")
    if absent := [name for name in needed if not (path / name).is_dir()]:
        return told | {"kind": "part of a base", "use": f"none: {path} lacks {', '.join(absent)}"}
    return told | {"use": f"{GENERATE} {quote(str(path))}"}


def _prediction(scheduler: dict[str, Any], part: str) -> object:
    return scheduler.get("prediction_type", "epsilon") if part == "unet" else "flow"


def _family(file: ControlFile, entry: Format) -> str:
    """The family that a control belongs to, as far as its keys tell."""
    from hackamore.bases.unet import FAMILIES
    from hackamore.controls.formats.trunk import family_of
    from hackamore.controls.formats.unet import names_of

    named = {"SD3 ControlNet": "sd3", "FLUX ControlNet": "flux"}
    if entry.kind in named:
        return named[entry.kind]
    if told := file.metadata.get("hackamore.family"):
        return told
    if entry.kind == "ControlNet":
        return family_of({name: file.shapes[key] for name, key in names_of(file).items()})
    if entry.kind == "T2I-Adapter":
        firsts = [
            shape for key, shape in file.shapes.items() if key.endswith(("conv_in.weight", "body.0.in_conv.weight"))
        ]
        return "sdxl" if firsts[0][1] in (256, 768) else "sd1 or sd2"
    if entry.kind == "LLLite":
        return "sd1 or sd2" if any("_input_blocks_1_1_" in key for key in file.shapes) else "sdxl"
    text = next((shape[-1] for key, shape in file.shapes.items() if key.endswith(CONTEXTS)), 0)
    if not text and any("add_embedding" in key or "label_emb" in key for key in file.shapes):
        return "sdxl"
    return FAMILIES.get(text, f"unknown (text width {text})")


def _condition(file: ControlFile) -> str:
    """The kind of hint: as the header says, else as a well-known name suggests."""
    from hackamore.controls.formats.diffusers import CONDITION
    from hackamore.controls.formats.guess import condition_by_name

    guess = condition_by_name(file.name)
    return file.metadata.get(CONDITION) or (f"{guess} (by its name)" if guess else "not told")


def _widths(file: ControlFile, entry: Format) -> Told:
    """Widths of a U-Net control's levels and of its text."""
    from hackamore.controls.formats.trunk import text_width
    from hackamore.controls.formats.unet import names_of, pools_of

    if entry.kind not in ("ControlNet", "Control-LoRA", "union"):
        return {}
    shapes = {name: file.shapes[key] for name, key in names_of(file).items()}
    widths: list[int] = []
    while (bias := shapes.get(f"down_blocks.{len(widths)}.resnets.0.conv1.bias")) is not None:
        widths.append(bias[0])
    told: Told = {"widths": ", ".join(map(str, widths)) or "not told"}
    told |= {"text width": width} if (width := text_width(shapes)) else {}
    return told | ({"averages its residuals": "yes (shuffle)"} if pools_of(file, None) else {})


def _types(file: ControlFile, entry: Format) -> Told:
    """The types of hint that a union knows, one of which is its KIND."""
    from hackamore.controls.blocks import TYPES
    from hackamore.controls.formats.union import types_of

    known: tuple[str, ...] = types_of(file) if entry.kind == "union" else ()
    if (modes := file.shapes.get("controlnet_mode_embedder.weight")) is not None:
        known = TYPES[: modes[0]]
    return {"types": ", ".join(known)} if known else {}


def _short(value: str) -> str:
    words = " ".join(value.split())
    return words if len(words) <= 120 else words[:119] + "…"
