"""LoRA files on a base: kohya's, diffusers' and peft's layouts, by diffusers' loaders and peft."""

from __future__ import annotations

import copy
import math
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from hackamore.bases.transformer_lora import with_transformer_loras
from hackamore.bases.unet import FAMILIES, UNetBase
from hackamore.bases.view import view_of
from hackamore.core.errors import HackamoreError
from hackamore.core.files import sha256
from hackamore.core.weights import open_weights

_OTHERS = (
    ("lora_controlnet", "a Control-LoRA, which is a control and no LoRA of a base"),
    ("dora_scale", "a LoRA with decomposed weights (DoRA)"),
    (".hada_w1", "a LyCORIS file (LoHa)"),
    (".lokr_w1", "a LyCORIS file (LoKr)"),
)
_TEXT_KEY = re.compile(
    r"attn2[._](?:processor[._])?to_k(?:_lora)?[._](?:lora[._])?(?:lora_A|lora_down|down)\b.*weight$"
)


def with_loras(base: Any, loras: Sequence[tuple[Path | str, float]]) -> Any:
    """The same base with LoRA files at their scales, in the denoiser and the text encoders; ``base`` is unchanged.

    All weights are shared with ``base``. Raises :class:`HackamoreError` for a file that is no LoRA, is damaged, or is
    of another family.
    """
    if not isinstance(base, UNetBase):
        return with_transformer_loras(base, loras)
    mine = copy.copy(base)
    for name, part in base.parts().items():
        if name != "vae":
            setattr(mine, name, view_of(part))
    mine.sha256, scales = dict(base.sha256), {}
    for number, (file, scale) in enumerate(loras):
        file = Path(file)
        if not math.isfinite(scale):
            raise HackamoreError(f"the scale of {file.name} is out of range", received=scale, expected="a number")
        scales[f"lora{number}"] = float(scale)
        _add(mine, file, f"lora{number}")
        mine.sha256[f"lora/{file.name}"] = sha256(file)
    _scale(mine, scales)
    return mine


def _add(base: UNetBase, file: Path, adapter: str) -> None:
    """Put one file's layers into the networks of ``base``, which must be views."""
    from diffusers.loaders import StableDiffusionLoraLoaderMixin, StableDiffusionXLLoraLoaderMixin

    _check(open_weights(file).shapes, file, base)
    two = base.text_encoder_2 is not None
    loader = StableDiffusionXLLoraLoaderMixin if two else StableDiffusionLoraLoaderMixin
    told = {"unet_config": base.unet.config} if two else {}
    try:
        state, alphas, metadata = loader.lora_state_dict(
            str(file), local_files_only=True, return_lora_metadata=True, **told
        )
        _check_layers(state, base)
        _inject(loader, state, base, network_alphas=alphas, adapter_name=adapter, metadata=metadata)
    except (HackamoreError, MemoryError):
        raise
    except Exception as error:
        raise _unfit(file, base, f"{type(error).__name__}: {str(error).splitlines()[0][:200]}") from error
    for name, part in base.parts().items():
        if name != "vae":
            part.requires_grad_(False).eval()


def _inject(loader: Any, state: dict[str, Tensor], base: UNetBase, **told: Any) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several files are meant
        loader.load_lora_into_unet(state, unet=base.unet, **told)
        for name in ("text_encoder", "text_encoder_2"):
            if any(key.startswith(f"{name}.") for key in state):
                encoder = getattr(base, name)
                loader.load_lora_into_text_encoder(state, text_encoder=encoder, prefix=name, **told)


def _scale(base: UNetBase, scales: dict[str, float]) -> None:
    from diffusers.loaders.lora_base import set_adapters_for_text_encoder

    for name, part in base.parts().items():
        held = {adapter: scale for adapter, scale in scales.items() if adapter in getattr(part, "peft_config", {})}
        if held and name == "unet":
            part.set_adapters(list(held), list(held.values()))
        elif held:
            set_adapters_for_text_encoder(list(held), part, list(held.values()))


def _check(shapes: dict[str, tuple[int, ...]], file: Path, base: UNetBase) -> None:
    """Refuse what is no LoRA, is one of a kind that diffusers would read in part only, or is of another family."""
    for mark, what in _OTHERS:
        if any(mark in key for key in shapes):
            raise HackamoreError(f"{file.name} is {what}", expected="a LoRA in kohya's, diffusers' or peft's layout")
    if not any("lora" in key for key in shapes):
        received = next(iter(shapes), "no tensors")
        raise HackamoreError(f"{file.name} is no LoRA", received=received, expected="tensors named lora")
    width = next((shape[1] for key, shape in shapes.items() if _TEXT_KEY.search(key) and len(shape) > 1), None)
    if width is not None and width != base.sites.text_width:
        raise _unfit(file, base, f"a LoRA of family {FAMILIES.get(width, 'unknown')} (text width {width})")


def _check_layers(state: dict[str, Tensor], base: UNetBase) -> None:
    """Every layer of the file must be one of the U-Net's, and fit it: peft leaves out what it does not find."""
    from diffusers.utils import convert_unet_state_dict_to_peft

    strange = sorted({key.split(".")[0] for key in state} - base.parts().keys())
    if strange:
        raise KeyError(f"tensors of {strange[0]}")
    unet = {key.removeprefix("unet."): value for key, value in state.items() if key.startswith("unet.")}
    if unet and "lora_A" not in next(iter(unet)):
        unet = convert_unet_state_dict_to_peft(unet)
    shapes = {name.replace(".base_layer", ""): value.shape for name, value in base.unet.named_parameters()}
    for key, value in unet.items():
        layer, end, _ = key.partition(".lora_")
        if not end or not key.endswith(".weight"):
            continue
        shape = shapes.get(f"{layer}.weight")
        if shape is None:
            raise KeyError(f"no layer {layer}")
        down = ".lora_A." in key
        if value.shape[1 if down else 0] != shape[1 if down else 0]:
            raise ValueError(f"{layer}: {tuple(value.shape)} for {tuple(shape)}")


def _unfit(file: Path, base: UNetBase, received: str) -> HackamoreError:
    expected = f"a LoRA of family {base.family} (text width {base.sites.text_width})"
    return HackamoreError(
        f"the LoRA {file.name} does not fit the base {base.name}", received=received, expected=expected
    )
