"""A trained form as settings ask for it: fresh, from a file, or from a file that was made for another base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hackamore.controls.adapter import Adapter, new_adapter
from hackamore.controls.blocks import new_blocks
from hackamore.controls.branch import Branch
from hackamore.controls.lora import new_control_lora
from hackamore.controls.start import start_hint
from hackamore.controls.union import new_union
from hackamore.controls.xs import new_xs
from hackamore.core.errors import HackamoreError
from hackamore.training.forms.trained import Inside, Outside, Trained
from hackamore.training.settings import ControlSettings

FORMS = {
    "ControlNet": ("controlnet",),
    "SD3 ControlNet": ("controlnet",),
    "FLUX ControlNet": ("controlnet",),
    "T2I-Adapter": ("t2i-adapter", "t2i-adapter-light"),
    "ControlNet-XS": ("xs",),
    "Control-LoRA": ("control-lora",),
    "union": ("union",),
}
"""Kind of file → the forms that can be in it."""


def make_form(base: Any, control: ControlSettings, kinds: Sequence[str]) -> Trained:
    """The network that ``control`` describes, beside ``base``, for hints of ``kinds``; the base is not changed.

    Its weights are fp32 whatever the base's are. Raises :class:`HackamoreError` for a form that the base cannot have,
    several kinds for one that is no union, a file of another form, and settings that mean nothing for the form.
    """
    check_form(base, control, kinds)
    beside = base if base.dtype == torch.float32 else _InFull(base)
    network = fresh(beside, control, kinds) if control.init is None else read(beside, control, kinds)
    network.condition = kinds[0] if len(kinds) == 1 else None
    if control.init is None and control.hint_start:
        start_hint(network, control.hint_start)
    form = Inside if control.form == "xs" else Outside
    return form(base, network, kinds, control, control.init is None)


def fresh(base: Any, control: ControlSettings, kinds: Sequence[str]) -> Any:
    """A new network, which says nothing until it is trained."""
    condition = kinds[0] if len(kinds) == 1 else None
    if control.form == "union":
        return new_union(base, kinds, condition)
    if control.form == "xs":
        return new_xs(base, condition, size_ratio=control.size_ratio)
    if control.form == "control-lora":
        return new_control_lora(base, condition, rank=control.rank)
    if control.form == "controlnet":
        transformer = hasattr(base, "transformer")
        return new_blocks(base, condition, control.layers) if transformer else Branch(base, condition)
    return new_adapter(base, condition, light=control.form == "t2i-adapter-light")


def read(base: Any, control: ControlSettings, kinds: Sequence[str]) -> Any:
    """The network in the file ``control.init``, in the form it has; moved from ``control.transfer_from`` if told."""
    from hackamore.controls.catalog import embedded
    from hackamore.controls.formats.file import open_control
    from hackamore.controls.formats.lora import read_factors
    from hackamore.controls.formats.table import format_of, read_control
    from hackamore.controls.formats.transfer import move

    name = str(control.init)
    file = open_control(embedded().get(name, Path(name)))
    entry = format_of(file)
    forms = FORMS.get(entry.kind, ())
    network: Any = None
    if control.form in forms:
        network = read_factors(file, base) if control.form == "control-lora" else read_control(file, base)
    if isinstance(network, Adapter):
        forms = (forms[network.light],)
    if control.form not in forms:
        raise HackamoreError(
            f"{name} is {entry.name}, not the form that is to be trained",
            received=f"form {control.form}",
            expected=f"form {forms[0]}" if forms else f"a control of one of the forms {', '.join(_all())}",
        )
    if "hidden" in getattr(network, "options", ()) and getattr(network, "hides", False):
        raise HackamoreError(f"{name} fills what is hidden, which cannot be trained", expected="another control")
    for kind in kinds if hasattr(network, "number") else ():
        network.number(kind)
    moves = control.transfer_from is not None and "difference" not in file.shapes  # which is the base's by itself
    if moves and not move(network, str(control.transfer_from), base) and control.form != "control-lora":
        raise HackamoreError(
            f"a control of form {control.form} has no copy of its base, and serves every base of its family as it is",
            received=f"transfer_from {control.transfer_from}",
            remedy="init alone",
        )
    return network


def _all() -> list[str]:
    return sorted({form for forms in FORMS.values() for form in forms})


def check_form(base: Any, control: ControlSettings, kinds: Sequence[str]) -> None:
    """Raise :class:`HackamoreError` for settings that contradict each other or mean nothing for form and base."""
    form, transformer = control.form, hasattr(base, "transformer")
    copies = form in ("controlnet", "control-lora", "union") and not transformer
    wrong = (
        (not kinds or len(set(kinds)) < len(kinds), "kinds", ", ".join(kinds), "hints of at least one kind, each once"),
        (len(kinds) > 1 and form != "union", "kinds", ", ".join(kinds), f"one kind, or form union instead of {form}"),
        (transformer and form != "controlnet", "form", form, f"controlnet, for a base of family {base.family}"),
        (control.only_mid and not copies, "only_mid", form, "a controlnet, control-lora or union on a U-Net base"),
        (control.unlocked and transformer, "unlocked", base.family, "a U-Net base"),
        (control.layers is not None and not transformer, "layers", base.family, "SD3 or FLUX"),
        (control.layers is not None and control.init is not None, "layers", "init", "a fresh control"),
        (control.transfer_from is not None and control.init is None, "transfer_from", "no init", "init, what is moved"),
    )
    for is_wrong, field, received, expected in wrong:
        if is_wrong:
            raise HackamoreError(f"control.{field} does not fit", received=received, expected=expected)


class _InFull:
    """A base of a coarse type, as one that asks what is made for it to be fp32."""

    dtype = torch.float32

    def __init__(self, base: Any) -> None:
        self._base = base

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)
