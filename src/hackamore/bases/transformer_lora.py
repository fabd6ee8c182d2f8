"""LoRA files on SD3 and FLUX bases, by diffusers' loaders and peft."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from hackamore.bases.exchange import put
from hackamore.bases.transformer import TransformerBase
from hackamore.bases.view import view_of
from hackamore.core.errors import HackamoreError
from hackamore.core.files import sha256
from hackamore.core.weights import open_weights

_OTHERS = (
    ("lora_controlnet", "a Control-LoRA of a U-Net, which is a control"),
    ("query_norm.scale", "a Control-LoRA of FLUX, which takes a hint among its channels"),
    ("dora_scale", "a LoRA with decomposed weights (DoRA)"),
    (".hada_w1", "a LyCORIS file (LoHa)"),
    (".lokr_w1", "a LyCORIS file (LoKr)"),
)


def with_transformer_loras(base: TransformerBase, loras: Sequence[tuple[Path | str, float]]) -> TransformerBase:
    """The same base with LoRA files at their scales, in the transformer and the CLIP encoders; ``base`` is unchanged.

    All weights are shared with ``base``. Raises :class:`HackamoreError` for a file that is no LoRA, is damaged, or has
    layers that are not the base's.
    """
    mine = copy.copy(base)
    for name, part in base.parts().items():
        if name != "vae":
            put(mine, name, view_of(part))
    mine.sha256, scales = dict(base.sha256), {}
    for number, (file, scale) in enumerate(loras):
        file = Path(file)
        if not math.isfinite(scale):
            raise HackamoreError(f"the scale of {file.name} is out of range", received=scale, expected="a number")
        scales[f"lora{number}"] = float(scale)
        _add(mine, file, f"lora{number}")
        mine.sha256[f"lora/{file.name}"] = sha256(file)
    for part in mine.parts().values():
        held = [name for name in scales if name in getattr(part, "peft_config", {})]
        if held:
            _set(part, held, [scales[name] for name in held])
    return mine


def _set(part: Any, adapters: list[str], scales: list[float]) -> None:
    from diffusers.loaders.lora_base import set_adapters_for_text_encoder

    if hasattr(part, "set_adapters"):
        part.set_adapters(adapters, scales)
    else:
        set_adapters_for_text_encoder(adapters, part, scales)


def _add(base: TransformerBase, file: Path, adapter: str) -> None:
    """Put one file's layers into the networks of ``base``, which must be views."""
    from diffusers.loaders import FluxLoraLoaderMixin, SD3LoraLoaderMixin

    shapes = open_weights(file).shapes
    for mark, what in _OTHERS:
        if any(mark in key for key in shapes):
            raise HackamoreError(f"{file.name} is {what}", expected="a LoRA in kohya's, diffusers' or peft's layout")
    if not any("lora" in key for key in shapes):
        received = next(iter(shapes), "no tensors")
        raise HackamoreError(f"{file.name} is no LoRA", received=received, expected="tensors named lora")
    flux = base.family == "flux"
    loader: Any = FluxLoraLoaderMixin if flux else SD3LoraLoaderMixin
    try:
        asked = {"local_files_only": True, "return_lora_metadata": True} | ({"return_alphas": True} if flux else {})
        read = loader.lora_state_dict(str(file), **asked)
        state, alphas, metadata = read if flux else (read[0], None, read[1])
        _check_layers(state, base)
        told = {"network_alphas": alphas, "adapter_name": adapter, "metadata": metadata}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several files are meant
            for name, part in base.parts().items():
                held = any(key.startswith(f"{name}.") for key in state)
                if held and name == "transformer":
                    part.load_lora_adapter(state, **told)
                elif held:
                    loader.load_lora_into_text_encoder(state, text_encoder=part, prefix=name, **told)
    except (HackamoreError, MemoryError):
        raise
    except Exception as error:
        raise _unfit(file, base, f"{type(error).__name__}: {str(error).splitlines()[0][:200]}") from error
    for part in base.parts().values():
        part.requires_grad_(False).eval()


def _check_layers(state: dict[str, Tensor], base: TransformerBase) -> None:
    """Every layer of the file must be one of the base's, and fit it: peft leaves out what it does not find."""
    parts = base.parts()
    strange = sorted({key.split(".")[0] for key in state} - parts.keys())
    if strange:
        raise KeyError(f"tensors of {strange[0]}")
    layers = {name.replace(".base_layer", ""): value.shape for name, value in parts["transformer"].named_parameters()}
    for key, value in state.items():
        layer, end, _ = key.removeprefix("transformer.").partition(".lora_")
        if not (end and key.startswith("transformer.") and key.endswith(".weight")):
            continue
        shape = layers.get(f"{layer}.weight")
        if shape is None:
            raise KeyError(f"no layer {layer}")
        side = 1 if ".lora_A." in key else 0
        if value.shape[side] != shape[side]:
            raise ValueError(f"{layer}: {tuple(value.shape)} for {tuple(shape)}")


def _unfit(file: Path, base: TransformerBase, received: str) -> HackamoreError:
    expected = f"a LoRA of family {base.family} (width {base.sites.width})"
    return HackamoreError(
        f"the LoRA {file.name} does not fit the base {base.name}", received=received, expected=expected
    )
