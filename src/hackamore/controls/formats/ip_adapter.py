"""IP-Adapter files: ``image_proj.…`` and ``ip_adapter.1.to_k_ip.weight`` …, as .safetensors or .bin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hackamore.bases.unet import FAMILIES
from hackamore.controls.formats.file import ControlFile
from hackamore.controls.formats.keys import check_keys, listed
from hackamore.controls.ip_adapter import IPAdapter
from hackamore.core.errors import HackamoreError

LAYERS, PROJECTION, TRAINED = "ip_adapter.", "image_proj.", "image_proj_model."
"""Beginnings of the keys; the last is what the training script's module is called in files converted by hand."""
Shapes = Mapping[str, tuple[int, ...]]


def read_ip_adapter(file: ControlFile, base: Any, encoder: Path | str | None = None) -> IPAdapter:
    """Read an IP-Adapter (plain, full or plus) for ``base``, by diffusers' own conversion of its projection.

    ``encoder``: the image encoder's folder, when it is not ``image_encoder`` beside the file, one folder up, or beside
    the base. Raises :class:`HackamoreError` for the FaceID variants, another family, and missing or left over keys.
    """
    shapes = {_named(key): shape for key, shape in file.shapes.items()}
    kind = kind_of(shapes)
    if kind is None or any("lora" in key for key in shapes):
        raise _unsupported(file, shapes)
    own = {key: shape for key, shape in shapes.items() if key.startswith(LAYERS)}
    text = next((shape[-1] for key, shape in own.items() if key.endswith("_ip.weight")), 0)
    if not text:
        check_keys(file.path, {f"{LAYERS}1.to_k_ip.weight": ()}, own)
    if text != base.sites.text_width or not hasattr(base, "unet"):
        raise HackamoreError(
            f"the control {file.name} does not fit the base {base.name}",
            received=f"a control of family {FAMILIES.get(text, 'unknown')} (text width {text})",
            expected=f"family {base.family} (text width {base.sites.text_width})",
        )
    folders = _folders(file, base) if encoder is None else (Path(encoder),)
    tensors = {_named(key): value for key, value in file.tensors().items()}
    inside = {key.removeprefix(PROJECTION): value for key, value in tensors.items() if key.startswith(PROJECTION)}
    control = IPAdapter(base, _projection(file, base, inside), _width(shapes, kind), kind != "plain", folders)
    layers = [layer for pair in zip(control.to_k, control.to_v, strict=True) for layer in pair]
    names = [f"{LAYERS}{2 * k + 1}.to_{part}_ip.weight" for k in range(len(control.to_k)) for part in "kv"]
    expected: dict[str, Any] = {name: layer.weight for name, layer in zip(names, layers, strict=True)}
    check_keys(file.path, expected, {k: v for k, v in shapes.items() if not k.startswith(PROJECTION)})
    for name, parameter in expected.items():
        parameter.data.copy_(tensors[name])
    control.name, control.sha256 = file.name, dict(file.sha256)
    return control.requires_grad_(False).eval()


def kind_of(shapes: Shapes) -> str | None:
    """``plain``, ``full`` or ``plus`` by the projection's tensors; None for any other."""
    inside = {key.removeprefix(PROJECTION) for key in shapes if key.startswith(PROJECTION)}
    if "proj.weight" in inside:
        return "plain"
    if "proj.3.weight" in inside:
        return "full"
    return "plus" if {"latents", "proj_in.weight"} <= inside else None


def _named(key: str) -> str:
    return PROJECTION + key.removeprefix(TRAINED) if key.startswith(TRAINED) else key


def _unsupported(file: ControlFile, shapes: Shapes) -> HackamoreError:
    """The error for a FaceID, which its own tensors tell, or for a projection of another kind."""
    inside = sorted(key.removeprefix(PROJECTION) for key in shapes if key.startswith(PROJECTION))
    face = "proj.0.weight" in inside or any("lora" in key or "perceiver_resampler." in key for key in shapes)
    return HackamoreError(
        f"{file.path} is an IP-Adapter{' FaceID' if face else ' of an unknown kind'}, which is not supported",
        received="an adapter that reads a face recogniser's numbers" if face else f"a projection of {listed(inside)}",
        expected="an IP-Adapter that reads an image encoder: plain, full or plus",
    )


def _folders(file: ControlFile, base: Any) -> tuple[Path, ...]:
    """Where the image encoder may lie: beside the file as its publishers have it, or beside the base."""
    near = file.weights.resolve().parent
    unet = Path(base.unet.config.get("_name_or_path") or "unet")  # diffusers keeps where it read the network
    beside = (unet.parent,) if unet.name == "unet" and unet.is_dir() else ()
    return tuple(folder / "image_encoder" for folder in (near, near.parent, near.parent / "models", *beside))


def _width(shapes: Shapes, kind: str) -> int:
    """How many numbers the image encoder says, of a picture or of each of its tokens."""
    name = {"plain": "proj.weight", "full": "proj.0.weight", "plus": "proj_in.weight"}[kind]
    return shapes[PROJECTION + name][-1]


def _projection(file: ControlFile, base: Any, tensors: dict[str, Any]) -> Any:
    try:
        return base.unet._convert_ip_adapter_image_proj_to_diffusers(tensors, low_cpu_mem_usage=False)
    except (KeyError, IndexError, RuntimeError) as error:
        raise HackamoreError(
            f"{file.path} has a projection that cannot be read",
            received=str(error).splitlines()[-1].strip()[:200],
            expected="the tensors of an IP-Adapter: plain, full or plus",
        ) from error
