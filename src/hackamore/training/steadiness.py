"""Does a run go steadily? Gradient norm and loss of its steps against those before them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from hackamore.core.errors import WorkFailed
from hackamore.training.culprit import listed

WINDOW = 100
"""Norms and losses whose median is the usual one."""
SPIKE, WORSE, ROW = 100.0, 2.0, 5
"""A run explodes when the gradient norm is so many times and the loss so many times the usual, so often in a row."""
QUIET = 100
"""Steps between two warnings of one sort."""
EARLY = 20
"""Losses that are compared, the first ones of a run and the last ones."""


class Steadiness:
    """What a run's steps usually are; it warns of one that stands out, and stops a run that stays beside it."""

    def __init__(self) -> None:
        self.norms: list[float] = []
        self.losses: list[float] = []
        self.all: list[float] = []
        self.early: float | None = None
        self.row = self.still = 0
        self.warned: dict[str, int] = {}

    def look(self, step: int, size: float, loss: float, names: Sequence[str]) -> list[str]:
        """Warnings after the backward pass of ``step``: ``size`` of the gradient, loss of denoising, examples.

        Raises :class:`WorkFailed` where all gradients have been zero for a while, and for a run that explodes.
        """
        return self._zero(step, size) + self._explodes(step, loss, size, names) + self._diverges(step, loss)

    def once(self, sort: str, step: int, words: str) -> list[str]:
        """A warning, unless one of its sort was given lately."""
        if step < self.warned.get(sort, -QUIET) + QUIET:
            return []
        self.warned[sort] = step
        return [words]

    def _zero(self, step: int, size: float) -> list[str]:
        self.still = self.still + 1 if size == 0 else 0
        if self.still >= 2 * ROW:
            raise WorkFailed(
                f"all gradients have been zero for {self.still} steps, up to step {step}",
                remedy="check that the loss depends on the control, and its hints are not all black",
            )
        return self.once("zero", step, f"all gradients are zero at step {step}") if size == 0 else []

    def _explodes(self, step: int, loss: float, size: float, names: Sequence[str]) -> list[str]:
        """Norm and loss against their running medians, which do not take in what stands out."""
        if len(self.norms) < 1:
            self._usual(size, loss)
            return []
        norm, usual = median(self.norms), median(self.losses)
        if not (norm > 0 and size > SPIKE * norm):
            self.row = 0
            self._usual(size, loss)
            return []
        worse = loss > WORSE * usual
        self.row = self.row + 1 if worse else 0
        if self.row >= ROW:
            raise WorkFailed(
                f"the training exploded: {ROW} steps in a row up to step {step}",
                received=f"gradient norm {size:.3g} (usual: {norm:.3g}), loss {loss:.3g} (usual: {usual:.3g})",
                remedy="a smaller lr, a longer warmup, or a smaller zero_scale; the last checkpoint is good",
            )
        words = f"the gradient norm of step {step} is {size / norm:.0f} times the usual one (examples: {listed(names)})"
        return self.once("spike", step, words)

    def _diverges(self, step: int, loss: float) -> list[str]:
        """The loss of the last steps against that of the first ones, which for a fresh control is the base's own."""
        self.all = [*self.all[1 - EARLY :], loss]
        if len(self.all) < EARLY:
            return []
        now = median(self.all)
        self.early = now if self.early is None else self.early
        if now <= WORSE * self.early:
            return []
        words = f"at step {step} the loss is {now / self.early:.1f} times what it was: the control harms the base"
        return self.once("worse", step, f"{words}; use a smaller lr")

    def _usual(self, size: float, loss: float) -> None:
        self.norms = [*self.norms[1 - WINDOW :], size] if size > 0 else self.norms
        self.losses = [*self.losses[1 - WINDOW :], loss]
