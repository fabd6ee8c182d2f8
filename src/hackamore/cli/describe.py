"""What a file or a folder is, in words."""

from __future__ import annotations

from pathlib import Path

from hackamore.core.errors import HackamoreError


def describe(path: Path) -> dict[str, object]:
    """Name → value of what ``path`` is: a picture of ours, a control folder, or a base folder."""
    if not path.exists():
        raise HackamoreError(f"no such file: {path}")
    if path.is_dir() and (path / "unet").is_dir():
        return _base(path)
    if path.is_dir():
        return _control(path)
    if path.suffix in (".safetensors", ".pth", ".ckpt", ".bin", ".pt"):
        raise HackamoreError(f"{path} is a single weights file", expected="a folder in diffusers' layout, or a picture")
    from hackamore.core.recipe import read_recipe

    recipe = read_recipe(path)
    told: dict[str, object] = {"kind": "a picture with its recipe"}
    told |= recipe.model_dump(exclude={"units", "machine", "base_sha256", "version"})
    told["size"] = f"{recipe.size[0]}×{recipe.size[1]}"
    for number, unit in enumerate(recipe.units):
        told[f"control {number}"] = ", ".join(
            f"{key} {value}"
            for key, value in unit.model_dump(exclude={"hint", "mask", "sha256", "fidelity"}).items()
            if value is not None
        )
        if unit.fidelity:
            told[f"fidelity {number}"] = ", ".join(f"{name} {figure:g}" for name, figure in unit.fidelity.items())
    told["made by"] = f"hackamore {recipe.machine.hackamore}, torch {recipe.machine.torch}, {recipe.machine.backend}"
    told["again"] = f"hackamore replay {path}"
    return told


def _base(path: Path) -> dict[str, object]:
    from hackamore.bases.catalog import load_base

    base = load_base(path, device="cpu")
    return {
        "kind": "a base",
        "family": base.family,
        "size": f"{base.size[0]}×{base.size[1]}",
        "widths": ", ".join(str(width) for width in base.unet.config.block_out_channels),
        "text width": base.sites.text_width,
        "prediction": base.scheduler_config.get("prediction_type", "epsilon"),
        "parameters": f"{sum(p.numel() for p in base.unet.parameters()):,} (U-Net)",
        **{f"sha256 {name}": digest for name, digest in base.sha256.items()},
        "use": f"hackamore generate PROMPT --base {path}",
    }


def _control(path: Path) -> dict[str, object]:
    from hackamore.bases.unet import FAMILIES
    from hackamore.controls.formats.diffusers import CONDITION, WEIGHTS, read_metadata, read_weights
    from hackamore.core.files import sha256

    if not (path / WEIGHTS).exists():
        raise HackamoreError(f"{path} is neither a base nor a control", expected=f"a folder with unet/ or {WEIGHTS}")
    weights = read_weights(path / WEIGHTS)
    if "controlnet_cond_embedding.conv_in.weight" not in weights:
        raise HackamoreError(
            f"{path} is neither a base nor a control that is known", received=next(iter(weights), "nothing")
        )
    text = next((w.shape[-1] for key, w in weights.items() if key.endswith("attn2.to_k.weight")), 0)
    condition = read_metadata(path / WEIGHTS).get(CONDITION)
    return {
        "kind": "a ControlNet in diffusers' layout",
        "family": FAMILIES.get(text, f"unet-{text}"),
        "condition": condition or "not told",
        "first width": weights["conv_in.weight"].shape[0],
        "text width": text,
        "parameters": f"{sum(w.numel() for w in weights.values()):,}",
        "dtype": " and ".join(sorted({str(w.dtype).removeprefix("torch.") for w in weights.values()})),
        "sha256": sha256(path / WEIGHTS),
        "use": f"hackamore generate PROMPT --control {condition or 'KIND'}=IMAGE,model={path}",
    }
