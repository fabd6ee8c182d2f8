"""The training of a control: the base is locked, the control learns to denoise with the hint in view (paper §3.3)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hackamore.bases.base import Text
from hackamore.bases.weighting import literal
from hackamore.core.errors import HackamoreError
from hackamore.core.image import to_hint
from hackamore.data.evaluation import Example
from hackamore.generate import generate
from hackamore.training.draws import Draws
from hackamore.training.forms.write import base_hash, written_bytes
from hackamore.training.health import Checks
from hackamore.training.objective import Objective, dropped
from hackamore.training.reward import counts
from hackamore.training.samples import Column, write_grid
from hackamore.training.task import Task, text_of

SHOWN, SHOWN_STEPS = 6, 15
"""How many examples a sheet of samples shows, and with how many steps they are made."""


class ControlTask(Task):
    """Latents, hints and captions → a control's weights, through the locked base.

    ``form`` is what is trained, at ``lr``, which its groups need, and in ``precision``; ``dataset``, ``latents`` and
    ``texts`` are the examples, ``shown`` those that samples are made of, ``held_back`` how many the data are
    without, ``found`` what is suspicious about them; ``rewards``, one a kind of hint, count ``reward_weight`` from step
    ``reward_from`` on; ``parts`` of the base come back for probes and samples.
    """

    def __init__(
        self,
        form: Any,
        dataset: Any,
        latents: Any,
        texts: Any,
        objective: Objective,
        *,
        lr: float,
        precision: str = "no",
        shown: Sequence[Example] = (),
        rewards: Sequence[Any] = (),
        reward_weight: float = 0.0,
        reward_from: int = 0,
        eight_bits: bool = False,
        probe: Any = None,
        parts: Any = None,
        held_back: int = 0,
        found: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.form = form
        self.dataset, self.latents, self.texts, self.objective = dataset, latents, texts, objective
        self.lr, self.precision, self.shown, self.eight_bits = lr, precision, list(shown), eight_bits
        self.rewards, self.reward_weight, self.reward_from = list(rewards), reward_weight, reward_from
        self._probe, self._parts, self.held_back = probe, parts, held_back
        self._found = list(found)
        self._were: list[tuple[Any, torch.device]] = []

    @property
    def base(self) -> Any:
        """The locked base."""
        return self.form.base

    def identity(self) -> dict[str, Any]:
        """Kind, form and base; then the data, and what is minimised."""
        told = {**self.objective.settings.model_dump(), "prediction": self.objective.prediction}
        return {
            "kind": ",".join(self.form.kinds),
            "form": self.form.form,
            "base": base_hash(self.base),
            "data": self.dataset.key,
            "reward": self.reward_weight,
            **{f"objective.{name}": value for name, value in told.items()},
        }

    def place(self, device: torch.device) -> None:
        """Move what is trained and the locked base."""
        bases = {id(base): base for base in (self.base, getattr(self._parts, "base", self.base))}.values()
        self._were = [(base, base.device) for base in bases]
        self._came = next(self.form.parameters()).device
        super().place(device)
        for base in bases:
            base.to(device)

    def frozen(self) -> list[nn.Module]:
        """The base's network."""
        return [self.base.network]

    def groups(self) -> list[dict[str, Any]]:
        """As the form says: the copy at the run's rate, what starts at zero faster."""
        groups: list[dict[str, Any]] = self.form.groups(self.lr)
        return groups

    def batch(self, draws: Draws) -> dict[str, Tensor]:
        """Latents, noise, timesteps, text and hints of one step, all from the step's own randomness.

        ``reward``, how much that of each row counts, is there in the phase in which the reward counts.
        """
        places = draws.places(self.dataset.groups)
        whole = draws.uniform_of_all(8)
        u = draws.mine(whole)
        kinds, variants = _pick(u[:, 0], len(self.dataset.kinds)), _pick(u[:, 1], self.dataset.variants)
        prompt_lost, hint_lost = dropped(u[:, 2:5], self.objective.settings)
        latents = self.latents.read(places.numpy(), variants.numpy())
        hints = self._hints(places, variants, kinds, u[:, 5:7])
        text = self._text(places.tolist(), variants.tolist(), prompt_lost)
        noise = self.objective.noise(draws.normal(*latents.shape[1:]), draws.normal(latents.shape[1]))
        return {
            "places": places,
            "latents": latents,
            "noise": noise,
            "t": self.objective.timesteps(u[:, 7]),
            "text": text.tokens,
            **{f"added.{name}": value for name, value in text.added.items()},
            "hint": torch.where(hint_lost[:, None, None, None], 0.0, hints),
            "kind": kinds,
            **({"reward": draws.mine(self._counts(whole))} if self._rewards_at(draws.step) else {}),
        }

    def _rewards_at(self, step: int) -> bool:
        return bool(self.rewards) and step >= self.reward_from

    def _counts(self, u: Tensor) -> Tensor:
        """How much the reward of each row counts, from the uniform numbers of the whole batch."""
        share = self.objective.share(self.objective.timesteps(u[:, 7]))
        return counts(self.rewards[0].settings, share, dropped(u[:, 2:5], self.objective.settings)[1])

    def _hints(self, places: Tensor, variants: Tensor, kinds: Tensor, u: Tensor) -> Tensor:
        rows = zip(places.tolist(), variants.tolist(), kinds.tolist(), u.tolist(), strict=True)
        return to_hint([self.dataset.hint(p, v, self.dataset.kinds[k], tuple(w)) for p, v, k, w in rows])

    def _text(self, places: Sequence[int], variants: Sequence[int], lost: Tensor) -> Text:
        """The captions of ``places`` as they are seen, the empty one where they are ``lost``."""
        told = [self.dataset.text(place, variant) for place, variant in zip(places, variants, strict=True)]
        text, empty = self.texts.read(told), self.texts.empty_at(told)

        def either(none: Tensor, said: Tensor) -> Tensor:
            return torch.where(lost.view(-1, *[1] * (said.ndim - 1)), none, said)

        added = {name: either(empty.added[name], said) for name, said in text.added.items()}
        return Text(either(empty.tokens, text.tokens), added)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The losses of a batch."""
        x = self.objective.noisy(batch["latents"], batch["noise"], batch["t"])
        made = self.form.predict(x, batch["t"], text_of(batch), batch["hint"], batch["kind"])
        target = self.objective.target(batch["latents"], batch["noise"], batch["t"])
        loss = self.objective.loss(made, target, batch["t"])
        if "reward" not in batch:
            return {"loss": loss}
        reward = self._rewarded(x, made, batch)
        return {"loss": loss + self.reward_weight * reward, "denoising": loss, "reward": reward}

    def _rewarded(self, x: Tensor, made: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """The reward loss of a batch, or of a part of it, each kind of hint read in its own way."""
        told = batch["t"], batch["hint"], self.objective
        mine = [batch["reward"] * (batch["kind"] == number) for number in range(len(self.rewards))]
        return torch.stack([one(x, made, *told, rows) for one, rows in zip(self.rewards, mine, strict=True)]).sum()

    def probe(self) -> dict[str, float] | None:
        """Control fidelity on the examples that were held back."""
        if self._probe is None:
            return None
        with self._parts.back():
            found: dict[str, float] = self._probe()
        return found

    def sample(self, path: Path) -> None:
        """A few examples that were held back: hint, with the control, without it, and the true picture."""
        kind = self.dataset.kinds[0]
        columns = []
        with self._parts.back():
            for example in self.shown[:SHOWN]:
                size = (example.picture.shape[1], example.picture.shape[0])
                hint = example.hint(kind, {})
                unit = self.form.unit(to_hint([hint]), kind)
                words = literal(example.caption)
                on, off = (
                    generate(self.base, words, controls=units, size=size, steps=SHOWN_STEPS).images[0].pixels
                    for units in ([unit], [])
                )
                columns.append(Column(hint, on, off, example.picture, example.caption))
        write_grid(path, columns)

    def checks(self) -> Checks:
        """Who looks after its health, and tells first what is to be known of this run."""
        return _Told(self, precision=self.precision)

    @property
    def notes(self) -> list[str]:
        """Sentences that a run's log should have."""
        warning = self.objective.warning
        notices = [] if self._probe is None else list(self._probe.notices)
        return [*self._found, *self.form.notes, *([warning] if warning else []), *notices]

    def export(self, folder: Path) -> None:
        """The control in the layouts of its kind, fp16, or fp8 where that was chosen."""
        self.form.write(folder, eight_bits=self.eight_bits)

    def finished(self) -> int:
        """Bytes of all its layouts."""
        return written_bytes(self.form)

    def restore(self) -> None:
        """Give the base back what was laid aside, put all where it was, and keep what was encoded."""
        if self._parts is not None:
            self._parts.restore()
        self.form.keep()
        for base, device in self._were:
            if base.device != device:
                base.to(device)
        if self._were and _elsewhere(self.form, self._came):
            self.form.to(self._came)
        self._were = []
        try:
            self.latents.flush()
            self.texts.flush()
        except (HackamoreError, OSError) as error:  # it only saves time, and must not hide why a run ended
            logging.getLogger(__name__).warning("what was encoded could not be kept: %s", error)

    @property
    def facts(self) -> dict[str, Any]:
        """What a card says of the data, without paths."""
        trained = sum(p.numel() for p in self.form.parameters() if p.requires_grad)
        return {
            "pairs": len(self.dataset),
            "held back": self.held_back,
            "probed on": 0 if self._probe is None else len(self.shown),
            "data": self.dataset.key,
            **{f"{kind} hints": self.dataset.origin(kind) for kind in self.dataset.kinds},
            "trained parameters": trained,
        }

    def names(self, places: Tensor) -> list[str]:
        """How the examples at ``places`` are called."""
        return [self.dataset.name(place) for place in places.tolist()]


class _Told(Checks):
    """Health, after the notes of a task."""

    def begin(self, batch: Any, first: int = 0) -> list[str]:
        """The notes where a run begins, and what its health is."""
        return [*([] if first else self.task.notes), *super().begin(batch, first)]


def _elsewhere(form: nn.Module, device: torch.device) -> bool:
    """Whether ``form`` is elsewhere; shards stay where they are."""
    return any(p.device != device and not hasattr(p, "placements") for p in form.parameters())


def _pick(u: Tensor, count: int) -> Tensor:
    """Uniform numbers → numbers below ``count``."""
    return (u * count).long().clamp(max=count - 1)
