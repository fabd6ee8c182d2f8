"""What a LoRA file must be before it goes on a base: whole, in floating point, for layers that the base has."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hackamore.core.errors import HackamoreError
from hackamore.core.weights import WeightsFile, open_weights

OTHERS = (
    ("lora_controlnet", "a Control-LoRA of a U-Net, which is a control and no LoRA of a base"),
    ("query_norm.scale", "a Control-LoRA of FLUX, which takes a hint among its channels"),
    ("dora_scale", "a LoRA with decomposed weights (DoRA)"),
    (".hada_w1", "a LyCORIS file (LoHa)"),
    (".lokr_w1", "a LyCORIS file (LoKr)"),
)
"""Part of a key → what a file with it is, which diffusers would read in part or not at all."""

_HALF = re.compile(r"^.*?lora\d*(?:_linear_layer)?[._](?P<half>A|B|down|up)(?:\.\w+)?\.weight$")
_TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
"""The layers of text encoders that diffusers puts LoRA into."""


def open_lora(path: Path) -> WeightsFile:
    """Open a LoRA file in kohya's, diffusers' or peft's layout, of which no tensor is read yet.

    Raises :class:`HackamoreError` for another kind of file, for half a pair, for halves of different rank, and for
    weights in whole numbers.
    """
    file = open_weights(path)
    for mark, what in OTHERS:
        if any(mark in key for key in file.shapes):
            raise HackamoreError(f"{path.name} is {what}", expected="a LoRA in kohya's, diffusers' or peft's layout")
    pairs: dict[str, dict[str, str]] = {}
    for key in file.shapes:
        if found := _HALF.match(key):
            down = found["half"] in ("A", "down")
            rest = key[: found.start("half")] + key[found.end("half") :]
            pairs.setdefault(rest, {})["down" if down else "up"] = key
    if not pairs:
        received = next(iter(file.shapes), "no tensors")
        raise HackamoreError(f"{path.name} is no LoRA", received=received, expected="tensors named lora")
    for halves in pairs.values():
        _check_pair(path, file.shapes, halves)
    file.check_floating(key for key in file.shapes if not key.endswith("alpha"))
    return file


def _check_pair(path: Path, shapes: Mapping[str, tuple[int, ...]], halves: dict[str, str]) -> None:
    """A layer's two halves must both be there, the first with as many rows as the second has columns."""
    if len(halves) < 2:
        lost = "second (lora_B, up)" if "down" in halves else "first (lora_A, down)"
        raise HackamoreError(
            f"{path.name} is not a whole LoRA",
            received=f"{next(iter(halves.values()))} without the {lost} half of its pair",
            expected="both halves of every pair",
        )
    down, up = shapes[halves["down"]], shapes[halves["up"]]
    if len(down) < 2 or len(up) < 2 or down[0] != up[1] or not math.prod((*down, *up)):
        raise HackamoreError(
            f"{path.name} holds a pair that does not fit together",
            received=f"{halves['down']} {down} and {halves['up']} {up}",
            expected="as many rows in the first as columns in the second",
        )


def misfit(state: Mapping[str, Tensor], parts: Mapping[str, Any]) -> str | None:
    """What in ``state``, as diffusers reads a file, does not fit the networks ``parts``; None where all does.

    Looked for because peft leaves out what it does not find.
    """
    if strange := sorted({key.split(".")[0] for key in state} - parts.keys()):
        return f"tensors of {strange[0]}"
    for name, network in parts.items():
        mine = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
        text = name.startswith("text_encoder")
        shapes = {key.replace(".base_layer", ""): value.shape for key, value in network.named_parameters()}
        for key, value in _in_peft(mine, network, text).items():
            layer, end, _ = key.partition(".lora_")
            if not end and "lora" in key:  # the loaders would leave it out
                return f"{key} in {name}, a name that diffusers cannot tell beside its others"
            if not end or not key.endswith(".weight"):
                continue
            shape = shapes.get(f"{layer}.weight")
            where = f" in {name}" if text else ""
            if shape is None or len(shape) < 2 or (text and not layer.endswith(_TEXT_LAYERS)):
                return f"no layer {layer}{where}"
            side = 1 if ".lora_A." in key else 0
            if value.shape[side] != shape[side]:
                return f"{layer}{where}: {tuple(value.shape)} for {tuple(shape)}"
    return None


def _in_peft(state: dict[str, Tensor], network: Any, text: bool) -> dict[str, Tensor]:
    """``state`` by peft's names, as diffusers' loaders write them."""
    from diffusers.utils import (
        convert_state_dict_to_diffusers,
        convert_state_dict_to_peft,
        convert_unet_state_dict_to_peft,
    )

    if not state:
        return {}
    if text:
        try:
            state = convert_state_dict_to_peft(convert_state_dict_to_diffusers(state))
        except ValueError:  # none of the names by which they tell a layout
            return state
        flat = not hasattr(network, "text_model")
        return {key.removeprefix("text_model.") if flat else key: value for key, value in state.items()}
    first: dict[str, Tensor] = state if "lora_A" in next(iter(state)) else convert_unet_state_dict_to_peft(state)
    return first


def check_scale(file: Path, scale: float) -> float:
    """``scale`` where it is a number."""
    if not math.isfinite(scale):
        raise HackamoreError(f"the scale of {file.name} is out of range", received=scale, expected="a number")
    return float(scale)


def first_line(error: Exception) -> str:
    """A library's error in a few words."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
