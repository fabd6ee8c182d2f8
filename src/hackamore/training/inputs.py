"""What the first batches tell of the data: ranges, constant hints, captions that are all alike."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from torch import Tensor

from hackamore.core.errors import WorkFailed
from hackamore.training.culprit import listed

ENOUGH = 16
"""Different examples that must be seen before something is said of all of them."""


class Inputs:
    """Looks at batches until it has seen enough of the data to judge it."""

    def __init__(self) -> None:
        self.hints: dict[int, tuple[bool, bool, str]] = {}
        self.texts: dict[int, str] = {}
        self.curious = True

    def look(self, batch: Mapping[str, Tensor], names: Sequence[str]) -> list[str]:
        """Warnings about what has been seen so far, each given once.

        Raises :class:`WorkFailed` for hints outside [0, 1], with their range and the examples.
        """
        hint = batch.get("hint")
        if hint is not None:
            _check_range(hint, names)
        if hint is None or not self.curious or "places" not in batch:
            return []
        for row, place in enumerate(batch["places"].tolist()):
            value = hint[row].float()
            flat = bool(((value.amax((1, 2)) - value.amin((1, 2))) == 0).all())
            self.hints[place] = (flat, flat and not bool(value.any()), _digest(value))
            if "text" in batch:
                self.texts[place] = _digest(batch["text"][row])
        if len(self.hints) < ENOUGH:
            return []
        self.curious = False
        return [*self._hints(), *self._texts()]

    def _hints(self) -> list[str]:
        seen, count = list(self.hints.values()), len(self.hints)
        if all(black for _, black, _ in seen):
            return [f"the hints of all {count} examples seen are black: there is nothing to learn from"]
        if all(flat for flat, _, _ in seen):
            return [f"the hints of all {count} examples seen are one colour each: they say nothing of any place"]
        if len({digest for _, black, digest in seen if not black}) == 1:
            return [f"{count} examples seen have the same hint: it says nothing of their pictures"]
        return []

    def _texts(self) -> list[str]:
        different = len(set(self.texts.values()))
        if not self.texts or different > 2:  # the empty one, of captions that are dropped, is one of two
            return []
        words = f"{len(self.texts)} examples seen have {'one caption' if different == 1 else 'two captions at most'}"
        return [f"{words}: the control has to learn what captions should say"]


def _check_range(hint: Tensor, names: Sequence[str]) -> None:
    low, high = float(hint.min()), float(hint.max())
    if low >= 0 and high <= 1:
        return
    wrong = ((hint < 0) | (hint > 1)).flatten(1).any(1).tolist()
    guess = "divide them by 255" if high > 2 else "(hint + 1) ÷ 2" if low < 0 else None
    raise WorkFailed(
        f"the hints are out of range: {listed([name for name, bad in zip(names, wrong, strict=False) if bad])}",
        received=f"values from {low:.3g} to {high:.3g}",
        expected="values in [0, 1]",
        remedy=guess,
    )


def _digest(value: Tensor) -> str:
    return hashlib.sha1(value.detach().float().cpu().contiguous().numpy().tobytes(), usedforsecurity=False).hexdigest()
