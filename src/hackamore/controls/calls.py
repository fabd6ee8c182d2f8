"""What controls are asked for at a step, and each run once for all who ask it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hackamore.backends.backend import EAGER, Backend
from hackamore.bases.base import Text
from hackamore.core.residuals import Residuals


@dataclass(frozen=True)
class Call:
    """One run of a control at a step, for the unit ``number`` of its generation.

    ``x``, ``text`` and each of ``prepared`` have the rows that hear it; ``prepared`` and ``strengths`` have one entry
    for each unit that this run serves (a union's). ``earlier``: so many runs of the same control its generation asked
    for before this one. ``both``: ``x`` is the prompt's half alone, and what is said to it is said to both.
    """

    control: Any
    number: int
    x: Tensor
    text: Text
    prepared: list[Any]
    strengths: list[float]
    earlier: int = 0
    both: bool = False

    @property
    def alike(self) -> object:
        """Calls for which it is equal, of several generations, may be one run over all their rows."""
        strengths = tuple(self.strengths) if len(self.strengths) > 1 else ()
        return id(self.control), self.earlier, strengths, self.text.tokens.shape[1:]


def run_together(calls: Sequence[Call], t: Tensor, backend: Backend = EAGER) -> list[Residuals]:
    """What is said to each of the ``calls`` at timestep ``t``, in their order; those that are alike are one run."""
    groups: dict[object, list[int]] = {}
    for place, call in enumerate(calls):
        groups.setdefault(call.alike, []).append(place)
    said: list[Residuals | None] = [None] * len(calls)
    for places in groups.values():
        asked = [calls[place] for place in places]
        for place, one in zip(places, _run(asked, t, backend), strict=True):
            said[place] = one
    return [one for one in said if one is not None]


def side_by_side(parts: Sequence[Residuals | None], rows: Sequence[int]) -> Residuals | None:
    """Residuals of several parts of a batch, of so many ``rows`` each, as one; a part that hears nothing has zeros."""
    told = [part for part in parts if part is not None]
    if not told:
        return None
    if len(parts) == 1:
        return told[0]

    def joined(outputs: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
        most = max(outputs, key=len)
        return tuple(
            torch.cat(
                [
                    of[site] if site < len(of) else like.new_zeros(count, *like.shape[1:])
                    for of, count in zip(outputs, rows, strict=True)
                ]
            )
            for site, like in enumerate(most)
        )

    def of(name: str) -> tuple[Tensor, ...]:
        return joined([() if part is None else getattr(part, name) for part in parts])

    mid = joined([() if part is None or part.mid is None else (part.mid,) for part in parts])
    return Residuals(of("skips"), mid[0] if mid else None, of("encoder"), of("blocks"), of("singles"))


def _run(asked: Sequence[Call], t: Tensor, backend: Backend) -> list[Residuals]:
    """Run the control of some calls that are alike once, over all their rows."""
    first = asked[0]
    alone = len(asked) == 1
    x = first.x if alone else torch.cat([call.x for call in asked])
    text = first.text if alone else Text.cat([call.text for call in asked])
    prepared = [_cat([call.prepared[k] for call in asked]) for k in range(len(first.prepared))]
    if len(prepared) > 1:  # several hints of a union, made one outside the graph: their strengths are numbers
        prepared = [first.control.joined(prepared, first.strengths)]
    if getattr(first.control, "steady", False):
        made = first.control.residuals(x, t, text, prepared[0])
    else:
        made = backend.run(first.control, first.control.residuals, x, t, text, prepared[0])
    if alone:
        return [made]
    ends = torch.tensor([len(call.x) for call in asked]).cumsum(0).tolist()
    begins = [0, *ends[:-1]]
    return [made.mapped(lambda output, _, part=slice(*part): output[part]) for part in zip(begins, ends, strict=True)]


def _cat(values: Sequence[Any]) -> Any:
    """Prepared hints of several calls as one, row after row, however they are nested."""
    first = values[0]
    if len(values) == 1:
        return first
    if isinstance(first, dict):
        return {name: _cat([value[name] for value in values]) for name in first}
    if isinstance(first, (tuple, list)):
        return type(first)(_cat([value[k] for value in values]) for k in range(len(first)))
    return torch.cat(list(values))
