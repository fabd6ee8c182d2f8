"""A form around a network that somebody else made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from hackamore.controls.adapter import Adapter
from hackamore.controls.blocks import BlockControl
from hackamore.controls.branch import Branch
from hackamore.controls.lora import ControlLora
from hackamore.controls.start import hint_layer, start_hint
from hackamore.controls.union import Union
from hackamore.controls.xs import XS
from hackamore.core.errors import HackamoreError
from hackamore.training.forms.trained import Inside, Outside, Trained
from hackamore.training.settings import ControlSettings, Form


def form_of(base: Any, network: Any, kinds: Sequence[str], settings: Mapping[str, Any]) -> Trained:
    """The form of ``network`` on ``base``, for hints of ``kinds``; ``settings``: fields of ControlSettings.

    It is fresh where all that leaves it is still zero; a hint encoder that says nothing yet is then given its voice,
    as ``hint_start`` says. Raises :class:`HackamoreError` for a control that cannot be trained.
    """
    try:
        told = ControlSettings.model_validate({"form": form_name(network), **settings})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise HackamoreError(f"control.{where}: {first['msg']}", received=first.get("input")) from error
    network.condition = kinds[0] if len(kinds) == 1 else None
    form = Inside if isinstance(network, XS) else Outside
    made = form(base, network, kinds, told, False)
    silent = getattr(network, "silent", ())
    told_by = [p for name, p in network.named_parameters() if (name in silent if silent else _leaves(name))]
    made.fresh = not any(bool(p.any()) for p in told_by)
    layer = hint_layer(network)
    if made.fresh and told.hint_start and layer is not None and not bool(layer.weight.any()):
        start_hint(network, told.hint_start)
    return made


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
