"""Bases by name, loaded when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hackamore.backends.choose import choose
from hackamore.bases.embeddings import with_embeddings
from hackamore.bases.exchange import with_autoencoder, with_clip_skip
from hackamore.bases.lora import with_loras
from hackamore.bases.memory import OFFLOADS, compiled, offloaded, tiled
from hackamore.core.errors import HackamoreError, unknown_name

MOST_SKIPPED = 12
MEADOW = Path(__file__).parent / "meadow"


@dataclass(frozen=True)
class BaseSpec:
    """An embedded base: its folder and how it likes to be sampled."""

    folder: Path
    settings: dict[str, Any]


BASES: dict[str, BaseSpec] = {"meadow": BaseSpec(MEADOW, {"scheduler": "ddim", "guidance": 3.0})}


def best_device() -> torch.device:
    """CUDA where there is one, else MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def load_base(
    name: str | Path,
    *,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    vae: str | Path | None = None,
    loras: Sequence[tuple[str | Path, float]] = (),
    embeddings: Sequence[str | Path] = (),
    clip_skip: int = 0,
    offload: str | None = None,
    tiling: bool = False,
    slicing: bool = False,
    compile: bool = False,  # noqa: A002 (the word that users know)
    tokenizer: str | Path | None = None,
    parts: str | Path | Sequence[str | Path] = (),
    prediction: str | None = None,
    ema: bool = False,
    backend: str = "auto",
) -> Any:
    """A frozen base from a catalogue name (``meadow``), a folder in diffusers' layout, a file, or a hub name.

    ``device`` is chosen automatically (CUDA, MPS, CPU) when not given; ``dtype`` is fp16 on CUDA, else fp32.
    ``vae``: another autoencoder, a folder or file. ``loras``: (file, scale) pairs. ``embeddings``: textual-inversion
    files. ``clip_skip``: so many of the text encoder's last layers are left out, as diffusers counts them.
    ``offload``: ``model`` or ``sequential``, weights in main memory until they are used. ``tiling``, ``slicing``:
    decode in tiles, or picture by picture. ``compile``: ``torch.compile`` for the denoiser. ``backend``: what runs it
    and its controls in a generation, ``torch``, ``openvino`` or ``auto`` (:func:`hackamore.backends.choose.choose`).
    For a single file: ``tokenizer``, a folder or hub name; ``parts``, where the file's missing parts are;
    ``prediction``, ``epsilon`` or ``v_prediction``; ``ema``, the averaged weights.
    Raises :class:`HackamoreError` for an unknown name, what is not a base, a damaged file, or an option that does not
    fit the base.
    """
    place = _device(device)
    kind = _dtype(dtype, place)
    file_options = {"tokenizer": tokenizer, "parts": parts, "prediction": prediction, "ema": ema}
    _check(vae, loras, embeddings, clip_skip, offload)
    first = torch.device("cpu") if offload else place
    base = _load(name, first, kind, {key: value for key, value in file_options.items() if value})
    told = {"clip_skip": clip_skip, "offload": offload, "tiling": tiling, "slicing": slicing, "compile": compile}
    base.options = {key: _name_of(value) for key, value in (told | file_options).items() if value}
    if vae is not None:
        base = with_autoencoder(base, Path(vae))
        base.options["vae"] = Path(vae).name
    if embeddings:
        base = with_embeddings(base, embeddings)
        base.options["embeddings"] = [Path(file).name for file in embeddings]
    if loras:
        base = with_loras(base, loras)
        base.options["loras"] = [[Path(file).name, float(scale)] for file, scale in loras]
    if clip_skip:
        base = with_clip_skip(base, clip_skip)
    if tiling or slicing:
        base = tiled(base, tiling=tiling, slicing=slicing)
    if offload:
        base = offloaded(base, offload, place)
    base.backend = choose(backend, place, base.dtype, whole=not offload and not compile)
    return compiled(base) if compile else base


def _load(name: str | Path, device: torch.device, dtype: torch.dtype, told: dict[str, Any]) -> Any:
    """The base of that name, as published."""
    from hackamore.bases.folder import load_folder
    from hackamore.bases.hub import is_hub_name, is_path, snapshot

    path = Path(name)
    if str(name) not in BASES and path.is_file():
        from hackamore.bases.single import load_file

        return load_file(path, path.name, device, dtype, **told)
    if told:
        raise HackamoreError(f"{next(iter(told))} is for bases from single files", received=name)
    if str(name) in BASES:
        spec = BASES[str(name)]
        return load_folder(spec.folder, str(name), device, dtype, **spec.settings)
    if not path.is_dir() and is_hub_name(str(name)):
        folder, shown = snapshot(str(name)), str(name)
    elif path.is_dir():
        folder, shown = path, path.resolve().name
    elif is_path(str(name)):
        raise HackamoreError(f"no such file or folder: {name}", expected="a base on this machine, or a hub name")
    else:
        raise unknown_name("base", str(name), list(BASES))
    if (folder / "transformer").is_dir():
        from hackamore.bases.transformer_folder import load_folder as load_transformer_folder

        return load_transformer_folder(folder, shown, device, dtype)
    return load_folder(folder, shown, device, dtype)


def _name_of(value: Any) -> Any:
    """An option as it is written down: files and folders by their names, hub names whole."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_name_of(one) for one in value]
    return Path(value).name if isinstance(value, str | Path) and Path(value).exists() else value


def _check(
    vae: str | Path | None,
    loras: Sequence[tuple[str | Path, float]],
    embeddings: Sequence[str | Path],
    clip_skip: int,
    offload: str | None,
) -> None:
    """Refuse what is wrong with the options themselves, before anything is loaded."""
    if offload is not None and offload not in OFFLOADS:
        raise unknown_name("offload", offload, list(OFFLOADS))
    if not 0 <= clip_skip <= MOST_SKIPPED:
        raise HackamoreError("clip_skip is out of range", received=clip_skip, expected=f"0 to {MOST_SKIPPED} layers")
    for file in (*([] if vae is None else [vae]), *(file for file, _ in loras), *embeddings):
        if not Path(file).exists():
            raise HackamoreError(f"no such file: {file}", expected="a file on this machine")


def _device(name: str | None) -> torch.device:
    if name is None:
        return best_device()
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise HackamoreError(f"device {name!r} is not usable here", received=str(error).splitlines()[0]) from error
    return device


def _dtype(name: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    names = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    if name is None:
        return torch.float16 if device.type == "cuda" else torch.float32
    if isinstance(name, torch.dtype):
        return name
    if name not in names:
        raise unknown_name("dtype", name, list(names))
    return names[name]
