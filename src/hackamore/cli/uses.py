"""What to type to use weights, and the family of those that go on a base."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hackamore.controls.formats.file import ControlFile
    from hackamore.controls.formats.table import Format

GENERATE = "hackamore generate PROMPT --base"
OPTIONS = {"LoRA": "--lora", "autoencoder": "--vae", "textual inversion": "--embedding"}
"""Kind → the option of ``hackamore generate`` that takes what goes on a base."""
TRANSFORMERS = (
    ("flux", ("double_blocks", "single_blocks", "single_transformer_blocks")),
    ("sd3", ("joint_blocks", "joint_transformer_blocks")),
)
"""Family → parts of the keys of a LoRA for its transformer."""
WIDTHS = {3072: "flux", 1536: "sd3", 2432: "sd3"}
"""Width of a transformer → its family, where a LoRA names blocks that both have."""
SECOND = ("lora_te1_", "lora_te2_", "text_encoder_2.")
"""Beginnings of keys of a LoRA for one of two text encoders."""


def use(path: Path, file: ControlFile, entry: Format, family: str | None) -> str:
    """The command line that uses ``file``, or why there is none; with names that a shell must not read in quotes."""
    from hackamore.controls.formats.diffusers import CONDITION
    from hackamore.controls.formats.guess import condition_by_name

    base = "meadow" if family == "meadow" else "BASE"
    if entry.reader is not None:
        kind = file.metadata.get(CONDITION) or condition_by_name(file.name) or "KIND"
        kind = "KIND" if entry.kind == "union" else kind  # one of its types
        kind = "ip-adapter" if entry.kind == "IP-Adapter" else kind
        text = f"{kind}=IMAGE,model={path}"
        if "," in str(path):
            text = json.dumps({"kind": kind, "image": "IMAGE", "model": str(path)}, ensure_ascii=False)
        return f"{GENERATE} {base} --control {quote(text)}"
    if entry.kind in OPTIONS:
        return f"{GENERATE} {base} {OPTIONS[entry.kind]} {quote(str(path))}"
    return f"none: {entry.name}, {entry.note}"


def family_on_base(file: ControlFile, entry: Format) -> str | None:
    """The family of bases that a LoRA or a textual inversion is for; None for others, and where nothing tells it."""
    shapes = {key: shape for key, shape in file.shapes.items() if shape}
    if entry.kind == "textual inversion":
        from hackamore.bases.unet import FAMILIES

        return "sdxl" if "clip_g" in shapes else next((FAMILIES.get(shape[-1]) for shape in shapes.values()), None)
    return _family_of_lora(shapes) if entry.kind == "LoRA" else None


def _family_of_lora(shapes: dict[str, tuple[int, ...]]) -> str | None:
    """By the width of the text that its cross-attentions read, its transformer's blocks, or its text encoders."""
    from hackamore.bases.unet import FAMILIES

    halves = {key: shape for key, shape in shapes.items() if any(word in key for word in ("down.", "lora_A."))}
    firsts = {key: shape[1] for key, shape in halves.items() if len(shape) > 1}
    text = next((width for key, width in firsts.items() if _reads_text(key)), None)
    if text is not None:
        return FAMILIES.get(text)
    for family, words in TRANSFORMERS:
        if any(word in key for key in shapes for word in words):
            return family
    if any(key.startswith("transformer.transformer_blocks.") for key in firsts):
        return next((WIDTHS[width] for width in firsts.values() if width in WIDTHS), None)
    if any(key.startswith(SECOND) for key in shapes):
        return "sdxl"
    return next((FAMILIES.get(width) for key, width in firsts.items() if "q_proj" in key), None)


def _reads_text(key: str) -> bool:
    """Whether a LoRA's layer is a key or value of a cross-attention."""
    return "attn2" in key and any(word in key for word in ("to_k", "to_v"))
