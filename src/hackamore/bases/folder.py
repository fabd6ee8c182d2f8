"""U-Net bases from a folder in diffusers' layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from hackamore.bases.kinds import kind_of
from hackamore.bases.silence import reason, silenced
from hackamore.bases.tokenizers import kind_of as vocabulary_of
from hackamore.bases.unet import UNetBase
from hackamore.core.errors import HackamoreError
from hackamore.core.files import sha256
from hackamore.core.weights import SUFFIXES, open_weights

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
MORE = ("text_encoder_2", "tokenizer_2")
STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
"""How the names of weights begin in diffusers' and transformers' folders; other programs' formats may lie beside."""


def load_folder(folder: Path, name: str, device: torch.device, dtype: torch.dtype, **settings: Any) -> UNetBase:
    """Read SD 1.x, 2.x or SDXL: the folders ``unet``, ``vae``, ``text_encoder``, ``tokenizer``, ``scheduler``, and
    for SDXL ``text_encoder_2`` and ``tokenizer_2``.

    Configurations are checked before weights are read. Raises :class:`HackamoreError` naming the part that is missing,
    does not load or does not fit, and what kinds are not supported.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    two = (folder / "text_encoder_2").is_dir()
    needed = PARTS + MORE if two else PARTS
    if not (folder / "text_encoder").is_dir() and two and (folder / "unet").is_dir():
        raise _unsupported(folder, "a U-Net with one large text encoder alone (SDXL's refiner)")
    absent = [part for part in needed if not (folder / part).is_dir()]
    if absent:
        _check_sight(folder)
        raise HackamoreError(
            f"{folder} is not a Stable Diffusion folder",
            received="no " + ", ".join(absent),
            expected="the folders unet, vae, text_encoder, tokenizer and scheduler (diffusers' layout)",
        )
    texts = ["text_encoder", "text_encoder_2"][: 1 + two]
    _check(folder, _told(folder / "unet"), _told(folder / "vae"), [_told(folder / text) for text in texts])
    kinds = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    kinds |= {"text_encoder_2": CLIPTextModelWithProjection} if two else {}
    types = dict.fromkeys(kinds, dtype)
    if two and dtype == torch.float16 and _told(folder / "vae").get("force_upcast", True):
        types["vae"] = torch.float32
    loaded = {part: read_part(folder, part, kind, types[part]) for part, kind in kinds.items()}
    loaded |= {part: read_tokenizer(folder, part, CLIPTokenizer) for part in needed if part.startswith("tokenizer")}
    hashes = {str(file.relative_to(folder)): sha256(file) for part in kinds for file in weights_of(folder / part)[0]}
    zeros = two and bool(_told(folder, "model_index.json", {}).get("force_zeros_for_empty_prompt", True))
    scheduler = _told(folder / "scheduler", "scheduler_config.json")
    base = UNetBase(name, **loaded, scheduler_config=scheduler, zeros_for_empty=zeros, hashes=hashes, **settings)
    return base.to(device)


def read_part(folder: Path, part: str, kind: Any, dtype: torch.dtype) -> Any:
    """One network of a folder, as the diffusers or transformers class ``kind``."""
    files, variant, safe = weights_of(folder / part)
    _told(folder / part)  # without a configuration, transformers would make one up
    if not files:
        raise HackamoreError(
            f"the {part} of {folder} cannot be loaded", received="no weights in it", expected="a .safetensors file"
        )
    for file in files:
        open_weights(file)  # says in words what is damaged or holds code
    told = {"torch_dtype": dtype, "use_safetensors": safe} | ({"variant": variant} if variant else {})
    network, found = _read(folder, part, kind, output_loading_info=True, **told)
    if missing := sorted(found["missing_keys"]):  # which the libraries would fill with random numbers
        names = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        raise HackamoreError(f"the {part} of {folder} lacks {len(missing)} tensors: {names}", expected="whole files")
    return network


def read_tokenizer(folder: Path, part: str, kind: Any) -> Any:
    """A tokenizer of a folder; without a vocabulary, transformers would quietly make an empty one."""
    if vocabulary_of(folder / part) is None:
        raise HackamoreError(
            f"the {part} of {folder} has no vocabulary", expected="tokenizer.json, or vocab.json and merges.txt"
        )
    return _read(folder, part, kind)


def weights_of(part: Path) -> tuple[list[Path], str | None, bool]:
    """The weights files of a part, their variant (``fp16`` where there is no other), and whether they are safetensors.

    ``.bin`` files are read where there are no others, as weights alone: nothing in them is run.
    """
    for ending in (".safetensors", ".bin"):
        files = sorted(file for file in part.glob(f"*{ending}") if file.name.startswith(STEMS))
        whole = [file for file in files if not any(f".{kind}." in file.name for kind in ("fp16", "non_ema"))]
        half = [file for file in files if ".fp16." in file.name]
        if whole or half:
            return whole or half, None if whole else "fp16", ending == ".safetensors"
    return [], None, True


def _read(folder: Path, part: str, kind: Any, **told: Any) -> Any:
    try:
        with _no_bars(), silenced("diffusers", "transformers"):  # what they say of it is in the sentence below
            return kind.from_pretrained(folder / part, local_files_only=True, **told)
    except Exception as error:
        raise HackamoreError(
            f"the {part} of {folder} cannot be loaded",
            received=reason(error),
            expected="whole files in diffusers' layout, weights as .safetensors",
        ) from error


def _check_sight(folder: Path) -> None:
    """Refuse by name a folder whose own weights are something else, or a base in one file."""
    for file in sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()):
        try:
            kind = kind_of(open_weights(file))
        except HackamoreError:  # of no kind that is known: the folder's own fault is told instead
            continue
        what = f"{folder} is {kind.words}, {kind.note}" if kind.family is None else f"{file} is a base in one file"
        remedy = None if kind.family is None else f"--base {quote(str(file))}"
        raise HackamoreError(what, expected="a base in diffusers' layout, or a base's file", remedy=remedy)


def _told(folder: Path, name: str = "config.json", otherwise: dict[str, Any] | None = None) -> dict[str, Any]:
    """A JSON file of the folder; ``otherwise`` where it is not there and need not be."""
    if otherwise is not None and not (folder / name).exists():
        return otherwise
    try:
        told = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HackamoreError(f"the {folder.name} of {folder.parent} cannot be loaded", received=str(error)) from error
    if not isinstance(told, dict):
        raise HackamoreError(f"the {folder.name} of {folder.parent} cannot be loaded", received=f"{name} is no table")
    return told


def _check(folder: Path, unet: dict[str, Any], vae: dict[str, Any], texts: list[dict[str, Any]]) -> None:
    """Refuse by name what is laid out like Stable Diffusion and is not."""
    latent, text = vae.get("latent_channels", 4), sum(told.get("hidden_size", 512) for told in texts)
    taken, attended = unet.get("in_channels", 4), unet.get("cross_attention_dim", 1280)
    added = unet.get("addition_embed_type")
    wrong = (
        f"a U-Net of {taken} input channels, latents of {latent} (an inpainting or editing model)"
        if taken != latent
        else f"a U-Net that attends to width {attended} beside text encoders of width {text}"
        if attended != text
        else f"a U-Net with added conditions {added!r} beside {len(texts)} text encoders"
        if (added is not None) != (len(texts) == 2) or added not in (None, "text_time")
        else "a U-Net that is told its guidance (a latent consistency model)"
        if unet.get("time_cond_proj_dim") is not None
        else "a U-Net without a mid block"
        if unet.get("mid_block_type", "UNetMidBlock2DCrossAttn") is None
        else None
    )
    if wrong:
        raise _unsupported(folder, wrong)


def _unsupported(folder: Path, what: str) -> HackamoreError:
    expected = "SD 1.x, SD 2.x or SDXL base"
    return HackamoreError(f"{folder} is of a kind that is not supported yet", received=what, expected=expected)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without transformers' progress bars, which come back afterwards if they were on."""
    from transformers.utils import logging as their

    shown = their.is_progress_bar_enabled()
    their.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            their.enable_progress_bar()
