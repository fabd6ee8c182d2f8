"""A form around a network that somebody else made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import torch

from hackamore.controls.adapter import Adapter
from hackamore.controls.blocks import BlockControl, SD3Control
from hackamore.controls.branch import Branch
from hackamore.controls.lora import ControlLora
from hackamore.controls.start import hint_layer, start_hint
from hackamore.controls.union import Union
from hackamore.controls.xs import XS
from hackamore.core.errors import HackamoreError
from hackamore.training.calm import undisturbed
from hackamore.training.forms.make import check_form
from hackamore.training.forms.trained import Inside, Outside, Trained
from hackamore.training.settings import ControlSettings, Form

TOLD = ("only_mid", "unlocked", "unlocked_lr", "zero_scale", "hint_start", "eight_bits")
"""Fields of ControlSettings that can be told of a network that is there; the others describe how one is made."""


def check_given(base: Any, network: Any, kinds: Sequence[str], settings: ControlSettings) -> None:
    """Raise :class:`HackamoreError` for settings that a given ``network`` cannot have; nothing is changed."""
    made = sorted(settings.model_fields_set - {"form", *TOLD})
    if made:
        raise HackamoreError(
            f"control.{made[0]} describes how a control is made, and this one is there",
            received=getattr(settings, made[0]),
            expected=f"settings among {', '.join(TOLD)}",
        )
    if settings.form != form_name(network):
        raise HackamoreError(
            "control.form is not the control's own", received=settings.form, expected=form_name(network)
        )
    check_form(base, settings, kinds)
    for kind in kinds if hasattr(network, "number") else ():
        network.number(kind)


def form_of(base: Any, network: Any, kinds: Sequence[str], settings: ControlSettings, seed: int = 0) -> Trained:
    """The form of ``network`` on ``base``, for hints of ``kinds``; from here on its weights are fp32.

    It is fresh where all that leaves it is still zero; a hint encoder that says nothing yet is then given its voice,
    as ``hint_start`` says, drawn by ``seed``. Raises :class:`HackamoreError` for a control that cannot be trained, and
    leaves it as it is then.
    """
    check_given(base, network, kinds, settings)
    network.condition = kinds[0] if len(kinds) == 1 else None
    _in_full(base, network)
    form = Inside if isinstance(network, XS) else Outside
    made = form(base, network, kinds, settings, False)
    silent = getattr(network, "silent", ())
    told_by = [p for name, p in network.named_parameters() if (name in silent if silent else _leaves(name))]
    made.fresh = not any(bool(p.any()) for p in told_by)
    layer = hint_layer(network)
    if made.fresh and settings.hint_start and layer is not None and not bool(layer.weight.any()):
        with undisturbed([]):
            torch.manual_seed(seed)
            start_hint(network, settings.hint_start)
    return made


def _in_full(base: Any, network: Any) -> None:
    """Make its weights fp32, as those of a network that is made to be trained; what it lends from its base stays."""
    if isinstance(network, ControlLora):
        for part in (network.hint_encoder, network.zero_skips, network.zero_mid, network.factors):
            part.float()
        return
    network.float()
    if isinstance(network, SD3Control) and network.net.pos_embed is None:
        network.lend(base)


def form_name(network: Any) -> Form:
    """Which of the trained forms a network has."""
    if isinstance(network, Adapter):
        return "t2i-adapter-light" if network.light else "t2i-adapter"
    known: tuple[tuple[type, Form], ...] = (
        (ControlLora, "control-lora"), (Union, "union"), (XS, "xs"), (Branch, "controlnet"),
        (BlockControl, "controlnet"),
    )  # fmt: skip
    for kind, name in known:
        if isinstance(network, kind):
            return name
    raise HackamoreError(
        "this control cannot be trained", received=type(network).__name__, expected=list(get_args(Form))
    )


def _leaves(name: str) -> bool:
    """Whether a parameter is of a layer through which all that is heard passes."""
    ends = (
        "zero_skips.",
        "zero_mid.",
        "ctrl_to_base.",
        "control_to_base",
        "controlnet_blocks.",
        "block2.",
        "out_conv.",
    )
    return any(end in name for end in ends)
