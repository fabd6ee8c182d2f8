"""Is a run healthy? What a control must do before its first step, at its first steps, and for ever after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hackamore.bases.base import Text
from hackamore.core.errors import WorkFailed
from hackamore.training.calm import autocast, undisturbed
from hackamore.training.culprit import Batch, bad_input, culprit, listed
from hackamore.training.inputs import Inputs
from hackamore.training.steadiness import QUIET, Steadiness
from hackamore.training.task import text_of

ROUNDING = 1e-3
"""Differences of a prediction, relative to its size, that arithmetic alone may make where it does not repeat itself."""
MOVED, MOVED_SCALED = 3, 30
"""Steps by which weights must have moved; more under fp16, whose first steps may be skipped."""


class Watched(Protocol):
    """What is asked of a task, a module: its ``form`` (base, network, ``predict``, ``plain``, ``fresh``) and more."""

    @property
    def form(self) -> Any:
        """What is trained."""

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Named losses."""

    def groups(self) -> list[dict[str, Any]]:
        """Optimiser groups, their ``params``."""

    def names(self, places: Tensor) -> Sequence[str]:
        """What examples are called."""


class Checks:
    """The health of a run of ``task``; every method gives warnings, and raises :class:`WorkFailed` to stop the run.

    A batch has ``latents``, ``noise``, ``t``, ``hint``, ``places``, ``text``, ``added.*``, and ``kind`` for unions.
    ``precision`` is the run's: under fp16 a gradient without a number is the scaler's business, unless it stays.
    """

    def __init__(self, task: Any, *, precision: str = "no") -> None:
        self.task, self.form, self.precision = task, task.form, precision
        self.trained: dict[str, nn.Parameter] = {n: p for n, p in task.named_parameters() if p.requires_grad}
        named = {id(p): name for name, p in self.trained.items()}
        self.groups = [{named.get(id(p), "?"): p for p in group["params"]} for group in task.groups()]
        grouped = {id(p) for group in self.groups for p in group.values()}
        self.locked = {n: p for n, p in self.form.base.network.named_parameters() if id(p) not in grouped}
        self.unlocked = len(self.locked) < len(list(self.form.base.network.parameters()))
        self.inputs = Inputs()
        self.fresh = bool(self.form.fresh)
        self.steadiness = Steadiness()
        self.unscaled = self.first = 0
        self.reached: set[int] = set()
        self.sums: dict[str, int] | None = None
        self.start: dict[str, int] = {}

    def begin(self, batch: Batch, first: int = 0) -> list[str]:
        """Before the first step: the inputs, the fit of control and base, and that a fresh control says nothing.

        ``first``: the step that the run goes on from; after one nothing is fresh any more.
        """
        self.fresh, self.first = self.fresh and first == 0, first
        names = self._names(batch)
        warnings = self.inputs.look(batch, names)
        wrong = bad_input(batch, names)
        if wrong is not None:
            raise WorkFailed("the training data are no numbers", received=wrong, remedy="hackamore train --check")
        warnings += self._fits()
        self.sums = {name: fingerprint(p) for name, p in self.locked.items()}
        self.start = {name: fingerprint(p) for name, p in self.trained.items()}
        self.fixed = {name: value[:2].clone().to(self.form.base.device) for name, value in batch.items() if value.ndim}
        self.off = self._plain()
        self.exact = torch.equal(self.off, self._plain())
        return warnings + (self._says_nothing() if self.fresh else [])

    def gradients(self, step: int, losses: Mapping[str, Tensor], norm: float | Tensor, batch: Batch) -> list[str]:
        """After the backward pass of ``step``, before the optimiser moves; ``norm`` is that before clipping."""
        size, loss = float(norm), float(losses["loss"].detach())
        if not (math.isfinite(size) and math.isfinite(loss)):
            return self._broken(step, loss, size, batch)
        self.unscaled = 0
        warnings = self.inputs.look(batch, self._names(batch)) if step % QUIET == 0 or self.inputs.curious else []
        if step < 3:
            warnings += self._reach(step)
        if step - self.first == (MOVED_SCALED if self.precision == "fp16" else MOVED):
            warnings += self._moves(step - self.first, step)
        usual = float(losses["denoising"].detach()) if "denoising" in losses else loss  # a reward begins in mid-run
        return warnings + self.steadiness.look(step, size, usual, self._names(batch))

    def settled(self) -> list[str]:
        """From time to time: the base's weights are what they were, and so is its prediction with the control off."""
        if self.sums is None:
            return []
        changed = [name for name, p in self.locked.items() if fingerprint(p) != self.sums.get(name)]
        if changed:
            raise WorkFailed(
                "the training changed the base, which is locked",
                received=f"other weights in {listed(changed)}",
                expected="weights that stay as they are, bit for bit",
            )
        now = self._plain()
        if not self.unlocked and not self._same(self.off, now):
            raise WorkFailed(
                "with the control off the base predicts something else than before the training",
                received=f"a difference of {_apart(self.off, now):.2g} of the prediction's size",
                expected="the base's own prediction",
            )
        return []

    def _fits(self) -> list[str]:
        """A control keeps the base that it was made for; another one is told."""
        made_for = getattr(self.form.network, "base", None)
        base = self.form.base
        if made_for is None or made_for is base:
            return []
        if made_for.sites != base.sites:
            raise WorkFailed(
                "the control does not fit the base that it is trained on",
                received=f"a control for {made_for.name}", expected=f"one for {base.name}",
            )  # fmt: skip
        if made_for.sha256 != base.sha256:
            return [f"the control was made for {made_for.name} and is trained on {base.name}, which has other weights"]
        return []

    def _says_nothing(self) -> list[str]:
        """A fresh control: the steered prediction is the plain one, bit for bit.

        Without autocast, under which adding even a zero of another number type is a matter of rounding.
        """
        with undisturbed([]), torch.no_grad():
            told = self._told()
            steered = self.form.predict(*told, self.fixed["hint"], self.fixed.get("kind"))
            plain = self.form.plain(*told)
        if torch.equal(steered, plain):
            return []
        apart = _apart(plain, steered)
        if not apart <= ROUNDING:
            raise WorkFailed(
                "the fresh control already changes what the base predicts",
                received=f"a difference of {apart:.2g} of the prediction's size",
                expected="none: all that leaves it passes layers that start at zero",
            )
        return [f"the fresh control changes the base's prediction in its last digits ({apart:.1g} of its size)"]

    def _reach(self, step: int) -> list[str]:
        """Which parameters the first steps reach: at first the zero layers alone, by the third step every group."""
        got = {name for name, p in self.trained.items() if p.grad is not None and bool(p.grad.any())}
        warnings = []
        if step == 0:
            touched = [name for name, p in self.locked.items() if p.grad is not None]
            if touched:
                warnings.append(f"the locked base gets gradients, which costs time and memory: {listed(touched)}")
            own = {id(p) for p in self.form.network.parameters()}
            early = [n for n in got if id(p := self.trained[n]) in own and bool(p.any())] if self.fresh else []
            if early:
                what = "the first step of a fresh control reaches more than its zero layers"
                warnings.append(f"{what}: {listed(sorted(early))}")
        self.reached |= {k for k, group in enumerate(self.groups) if got & group.keys()}
        if step == 0 and not got:
            raise WorkFailed(
                "nothing that is trained gets a gradient",
                received=f"{len(self.trained)} parameters, all gradients zero or missing",
                expected="gradients in the zero convolutions from the first step on",
            )
        if step == 2:
            for k in sorted(set(range(len(self.groups))) - self.reached):
                group = list(self.groups[k])
                warnings.append(f"{len(group)} parameters got no gradient in the first three steps: {listed(group)}")
        return warnings

    def _moves(self, steps: int, step: int) -> list[str]:
        """Whether any weight has, in the first ``steps``."""
        if any(fingerprint(p) != self.start.get(name) for name, p in self.trained.items()):
            return []
        return self.steadiness.once("still", step, f"no weight has moved in {steps} steps: is the learning rate 0?")

    def _broken(self, step: int, loss: float, size: float, batch: Batch) -> list[str]:
        self.unscaled += 1
        if self.precision == "fp16" and math.isfinite(loss) and self.unscaled < MOVED_SCALED:
            return []
        networks = {"control": self.form.network, "base": self.form.base.network}
        reason = culprit(networks, self._loss, self.trained, batch, self._names(batch))
        raise WorkFailed(
            f"the training broke at step {step}: {reason}",
            received=f"gradient norm {size:.4g}, loss {loss:.4g}",
            remedy="repair what is named, or a smaller lr; the last checkpoint is good",
        )

    def _loss(self, batch: Batch) -> Tensor:
        device = self.form.base.device
        with autocast(device, self.precision):
            return self.task.forward({n: value.to(device) for n, value in batch.items()})["loss"]  # type: ignore[no-any-return]

    def _told(self) -> tuple[Tensor, Tensor, Text]:
        """Fixed noise, timesteps and text of the first examples."""
        return self.fixed["noise"], self.fixed["t"], text_of(self.fixed)

    def _plain(self) -> Tensor:
        with undisturbed([]), torch.no_grad(), autocast(self.form.base.device, self.precision):
            made: Tensor = self.form.plain(*self._told())
            return made

    def _same(self, before: Tensor, now: Tensor) -> bool:
        return torch.equal(before, now) if self.exact else _apart(before, now) <= ROUNDING

    def _names(self, batch: Batch) -> list[str]:
        if "places" in batch:
            return list(self.task.names(batch["places"]))
        return [f"example {k}" for k in range(len(batch["latents"]))]


WIDTHS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def fingerprint(weight: Tensor) -> int:
    """A number that changes with any bit of a weight, the same on every device: the sum of its bits as integers."""
    value = weight.detach()
    return int(value.contiguous().view(WIDTHS[value.element_size()]).sum(dtype=torch.int64))


def _apart(a: Tensor, b: Tensor) -> float:
    """The greatest difference of two predictions, relative to the root mean square of the first; NaN is infinite."""
    apart = float((a.float() - b.float()).abs().max() / a.float().square().mean().sqrt().clamp(min=1e-12))
    return apart if math.isfinite(apart) else math.inf
