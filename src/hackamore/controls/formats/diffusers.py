"""diffusers' ControlNet folder: ``config.json`` and ``diffusion_pytorch_model.safetensors``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.bases.unet import FAMILIES
from hackamore.controls.branch import Branch
from hackamore.core.errors import HackamoreError
from hackamore.core.files import sha256, written_whole

WEIGHTS = "diffusion_pytorch_model.safetensors"
CONDITION = "hackamore.condition"
"""Where the weights file's header says which kind of hint the control was trained on."""
LARGE = 5_000
"""Convolutions of more weights are worth storing in eight bits."""
MARK = "controlnet_cond_embedding.conv_in.weight"

_THEIRS = {
    "trunk.": "",
    "hint_encoder.": "controlnet_cond_embedding.",
    "zero_skips.": "controlnet_down_blocks.",
    "zero_mid.": "controlnet_mid_block.",
}

_COPIED = (
    "act_fn", "addition_embed_type", "addition_embed_type_num_heads", "addition_time_embed_dim", "attention_head_dim",
    "block_out_channels", "class_embed_type", "cross_attention_dim", "down_block_types", "downsample_padding",
    "encoder_hid_dim", "encoder_hid_dim_type", "flip_sin_to_cos", "freq_shift", "in_channels", "layers_per_block",
    "mid_block_scale_factor", "mid_block_type", "norm_eps", "norm_num_groups", "num_attention_heads",
    "num_class_embeds", "only_cross_attention", "projection_class_embeddings_input_dim", "resnet_time_scale_shift",
    "transformer_layers_per_block", "upcast_attention", "use_linear_projection",
)  # fmt: skip


def their_name(name: str) -> str:
    """Our parameter's name in diffusers' file."""
    prefix = next(p for p in _THEIRS if name.startswith(p))
    return _THEIRS[prefix] + name.removeprefix(prefix)


def read_branch(folder: Path, base: Any) -> Branch:
    """Read a ControlNet folder for ``base``.

    Raises :class:`HackamoreError` when the file is damaged, belongs to another family or width (naming both), or when
    keys are missing or left over (naming them).
    """
    weights = read_weights(folder / WEIGHTS)
    if MARK not in weights:
        raise HackamoreError(
            f"{folder} is not a diffusers ControlNet", received=next(iter(weights), "no keys"), expected=MARK
        )
    _check_family(folder, weights, base)
    blocks = sum(
        1 for key in weights if key.startswith("controlnet_cond_embedding.blocks.") and key.endswith(".weight")
    )
    ends = [weights.get(f"controlnet_cond_embedding.blocks.{i}.weight") for i in range(1, blocks, 2)]
    widths = (weights[MARK].shape[0], *(end.shape[0] for end in ends if end is not None))
    branch = Branch(base, widths=widths)
    mine = {their_name(name): parameter for name, parameter in branch.named_parameters()}
    check_keys(folder, mine, weights)
    with torch.no_grad():
        for name, parameter in mine.items():
            parameter.copy_(weights[name])
    _check_config(folder / "config.json")
    branch.requires_grad_(False).eval()
    branch.sha256 = {WEIGHTS: sha256(folder / WEIGHTS)}
    branch.condition = read_metadata(folder / WEIGHTS).get(CONDITION)
    branch.name = folder.resolve().name
    return branch


def write_branch(branch: Branch, folder: Path, dtype: torch.dtype | None = None, *, eight_bits: bool = False) -> Path:
    """Write ``branch`` so that ``ControlNetModel.from_pretrained(folder)`` loads it; returns the weights file.

    ``eight_bits`` stores large convolutions in fp8 (e4m3), which halves them; every reader takes them as they are.
    """
    from safetensors.torch import save_file

    unet = branch.base.unet.config
    config = {"_class_name": "ControlNetModel"} | {name: unet[name] for name in _COPIED if name in unet}
    encoder = branch.hint_encoder
    config["conditioning_embedding_out_channels"] = [
        encoder.conv_in.out_channels,
        *(block.out_channels for block in list(encoder.blocks)[1::2]),
    ]
    config["conditioning_channels"] = encoder.conv_in.in_channels
    config["controlnet_conditioning_channel_order"] = "rgb"
    config["global_pool_conditions"] = False

    def stored(weight: Tensor) -> torch.dtype:
        large = eight_bits and weight.ndim == 4 and weight.numel() > LARGE
        return torch.float8_e4m3fn if large else dtype or weight.dtype

    weights = {
        their_name(name): parameter.detach().to("cpu", stored(parameter)).contiguous()
        for name, parameter in branch.named_parameters()
    }
    with written_whole(folder / WEIGHTS) as path:
        save_file(
            weights, path, metadata={"format": "pt"} | ({CONDITION: branch.condition} if branch.condition else {})
        )
    with written_whole(folder / "config.json") as path:
        path.write_text(json.dumps(config, indent=2, default=list), encoding="utf-8")
    return folder / WEIGHTS


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a ``.safetensors`` file; nothing in it is ever run."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.exists():
        raise HackamoreError(f"no such file: {path}", expected="weights as .safetensors")
    try:
        weights: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise HackamoreError(
            f"{path} is damaged or not a safetensors file",
            received=str(error)[:200],
            expected="a whole .safetensors file",
        ) from error
    return weights


def read_metadata(path: Path) -> dict[str, str]:
    """The header's metadata of a ``.safetensors`` file."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def check_keys(source: Path, expected: dict[str, Any], found: dict[str, Tensor]) -> None:
    """Raise an error that names missing, unexpected or wrongly shaped tensors."""
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    shapes = [
        f"{key} {tuple(found[key].shape)} for {tuple(expected[key].shape)}"
        for key in expected.keys() & found.keys()
        if found[key].shape != expected[key].shape
    ]
    for words, names in (("lacks", missing), ("has unexpected", extra), ("has wrong shapes:", sorted(shapes))):
        if names:
            raise HackamoreError(
                f"{source} {words} {len(names)} tensors: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}",
                expected="exactly the tensors of a ControlNet for this base",
            )


def _check_config(path: Path) -> None:
    """Refuse by name what a configuration asks for and this reader does not do."""
    if not path.exists():
        return
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HackamoreError(f"{path} is not JSON", received=str(error)) from error
    if told.get("global_pool_conditions"):
        raise HackamoreError(
            f"{path.parent} pools its residuals globally (a shuffle control), which is not supported yet"
        )
    if told.get("controlnet_conditioning_channel_order", "rgb") != "rgb":
        raise HackamoreError(f"{path.parent} takes its hint in another channel order", expected="rgb")


def _check_family(folder: Path, weights: dict[str, Tensor], base: Any) -> None:
    text = next((w.shape[-1] for key, w in weights.items() if key.endswith("attn2.to_k.weight")), None)
    first = weights["conv_in.weight"].shape[0] if "conv_in.weight" in weights else None
    if (text is not None and text != base.sites.text_width) or (first is not None and first != base.sites.skips[0]):
        family = FAMILIES.get(text or 0, "unknown")
        raise HackamoreError(
            f"the control {folder.name} does not fit the base {base.name}",
            received=f"a control of family {family} (width {first}, text width {text})",
            expected=f"family {base.family} (width {base.sites.skips[0]}, text width {base.sites.text_width})",
        )
