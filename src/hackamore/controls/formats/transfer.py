"""A control moved to another base of its family: new = control + (other base − base), for every copied weight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.controls.blocks import COPIED, BlockControl
from hackamore.controls.formats.convert import check_target, config_of, control_net, write_control
from hackamore.controls.formats.trunk import check_family
from hackamore.controls.formats.unet import base_weights, names_of
from hackamore.controls.lora import ControlLora
from hackamore.core.errors import HackamoreError


def transfer(
    source: Path | str, target: Path | str, start: str | Path, end: str | Path, *, overwrite: bool = False
) -> Path:
    """Move the ControlNet ``source``, trained on the base ``start``, to the base ``end``; returns the weights' file.

    Hint encoder and zero convolutions stay as they are (Zhang et al., official docs on transferring). The file keeps
    its layout and the type of each weight; sums are made in fp32. From a base to itself every bit stays.
    Raises :class:`HackamoreError` for bases of two families, or a control of another one; then nothing is written.
    """
    file = control_net(Path(source))
    names = names_of(file)
    layout = "diffusers" if all(name == key for name, key in names.items()) else "cldm"
    check_target(Path(target), layout, overwrite)
    config = config_of(file)
    shapes = {name: file.shapes[key] for name, key in names.items()}
    before, told = _encoder(start, file.name, shapes)
    after, told_after = _encoder(end, file.name, shapes)
    if told != told_after:
        raise HackamoreError(
            f"the bases {start} and {end} are not of one family",
            received=f"{told_after[0]} of widths {', '.join(map(str, told_after[1].skips))}",
            expected=f"{told[0]} of widths {', '.join(map(str, told[1].skips))}",
        )
    tensors = file.tensors(*names.values())
    values = {name: moved(tensors[key], before.get(name), after.get(name)) for name, key in names.items()}
    return write_control(values, Path(target), layout, config, file.metadata, title=file.title, overwrite=overwrite)


@torch.no_grad()
def move(control: Any, start: str | Path, base: Any) -> int:
    """The same in memory: ``control``, read for ``base`` from a file that was made for the base ``start``.

    Returns how many weights it has that were copied from a base (a T2I-Adapter or ControlNet-XS: none). Of a
    Control-LoRA these are what its file gives whole; factors mean the same beside any base. Raises
    :class:`HackamoreError` for bases of two families.
    """
    copied = copied_weights(control)
    if not copied:
        return 0
    from hackamore.bases.catalog import load_base

    other = load_base(start, device="cpu", dtype=torch.float32)
    if (other.family, other.sites) != (base.family, base.sites):
        raise HackamoreError(
            f"the bases {start} and {base.name} are not of one family", received=other.family, expected=base.family
        )
    before, after = other.bare.state_dict(), base.bare.state_dict()
    known = {key: mine for key, mine in copied.items() if key in before and before[key].numel() == mine.numel()}
    for key, mine in known.items():
        mine.copy_(moved(mine.cpu(), before[key], after[key].float().cpu()))
    return len(known)


def copied_weights(control: Any) -> dict[str, Tensor]:
    """The base's name → parameter of ``control``, for all that began as a copy of the base's own."""
    if isinstance(control, ControlLora):
        return dict(zip(control.whole, control.own, strict=True))
    if isinstance(control, BlockControl):
        return {key: value for key, value in control.net.named_parameters() if key.split(".")[0] in COPIED}
    trunk = getattr(getattr(control, "branch", control), "trunk", None)
    return {} if trunk is None else dict(trunk.named_parameters())


def moved(mine: Tensor, before: Tensor | None, after: Tensor | None) -> Tensor:
    """``mine`` by as much further as ``after`` is from ``before``, in its own type."""
    if before is None or after is None:
        return mine
    step = (after - before).reshape(mine.shape)
    moved = (mine.float() + step).to(mine.dtype)
    return torch.where(step == 0, mine, moved)  # where nothing changes, −0 stays −0


def _encoder(name: str | Path, control: str, shapes: dict[str, tuple[int, ...]]) -> tuple[dict[str, Tensor], Any]:
    """The encoder's weights of a base in fp32, all else of it let go; and what must be equal of two bases."""
    from hackamore.bases.catalog import load_base

    base = load_base(name, device="cpu", dtype=torch.float32)
    check_family(control, shapes, base)
    return {key: value.detach() for key, value in base_weights(base).items()}, (base.family, base.sites)
