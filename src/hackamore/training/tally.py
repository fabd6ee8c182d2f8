"""What the parts of a training weigh, in bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hackamore.bases.base import Text
from hackamore.bases.decoding import decoded
from hackamore.controls.adapter import Adapter
from hackamore.core.image import Size
from hackamore.training.adamw8bit import BLOCK, SMALLEST
from hackamore.training.caches import ENCODED
from hackamore.training.calm import autocast
from hackamore.training.forms.trained import Trained
from hackamore.training.free import PROGRAM
from hackamore.training.live import Counted, count_run, count_step
from hackamore.training.settings import RunSettings

WIDTH = {"fp32": 4, "bf16": 2, "fp16": 2}
DENOISERS = ("unet", "transformer")


@dataclass(frozen=True)
class Tally:
    """A training of ``form`` beside ``base`` at ``size`` = (width, height), on one of so many ``processes``."""

    base: Any
    form: Trained
    run: RunSettings
    size: Size
    processes: int = 1

    @property
    def share(self) -> int:
        """Examples of a batch that a process works on."""
        return math.ceil(self.run.batch_size / self.processes)

    @property
    def rows(self) -> int:
        """Examples that go through the networks at once."""
        return math.ceil(self.share / self.run.accumulate)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one example's latents."""
        factor = self.base.scale_factor
        return self.base.latent_channels, self.size[1] // factor, self.size[0] // factor

    @cached_property
    def text(self) -> Text:
        """One encoded caption."""
        text: Text = self.base.encode_text([""], size=self.size)
        return text

    @property
    def tokens(self) -> int:
        """Numbers that one encoded caption has."""
        return self.text.tokens.numel() + sum(value.numel() for value in self.text.added.values())

    @cached_property
    def weights(self) -> list[Tensor]:
        """What is trained."""
        return [parameter for parameter in self.form.parameters() if parameter.requires_grad]

    @cached_property
    def others(self) -> int:
        """Bytes of autoencoder and text encoders."""
        return weight_of([part for name, part in self.base.parts().items() if name not in DENOISERS])

    def held(self) -> dict[str, int]:
        """What stays from the first step to the last."""
        trained = sum(weight.numel() for weight in self.weights)
        base = weight_of([self.base.network])
        both = weight_of([self.base.network, self.form.network, *self._decoder()])
        return {
            "base": base,
            "control": both - base,
            "optimiser": optimiser_bytes(self.weights, self.run),
            "average": 4 * trained if self.run.ema else 0,
            "the program": self._program,
        }

    def batches(self) -> int:
        """Inputs of a step, and of those that are prepared behind it."""
        latents, hint = math.prod(self.shape), 3 * self.size[0] * self.size[1]
        row = 4 * (2 * latents + hint + self.tokens)
        return self.share * row * (self.run.prefetch + 1 if self._on_cpu else 1)

    def step(self) -> Counted:
        """What forward and backward keep alive."""
        return count_step(self._loss, self.weights, self._known(), self.rows)

    def activations(self, counted: Counted) -> int:
        """What a step keeps beside all gradients at its peak; with several parts they are all there from the second."""
        if self.run.accumulate > 1 or self.processes > 1:
            return counted.others
        return max(counted.peak - counted.gradients, 0)

    def encoding(self, rows: int = ENCODED) -> dict[str, int]:
        """While so many pictures are encoded at a time."""
        width, height = self.size

        def run() -> None:
            pictures = torch.zeros(rows, 3, height, width, device=self.base.device)
            with self._autocast():
                self.base.encode(pictures)

        held = self.held()
        kept = {name: held[name] for name in ("base", "control", "the program")}
        return kept | {"autoencoder and text encoders": self.others, "encoding": count_run(run, self._known())}

    def decoding(self) -> dict[str, int]:
        """While a probe decodes a picture."""

        def run() -> None:
            self.base.decode(torch.zeros(1, *self.shape, device=self.base.device))

        return {"autoencoder and text encoders": self.others, "decoding": count_run(run, self._known())}

    def rewarding(self, share: float) -> int:
        """What a reward keeps for its gradient where it decodes this share of the rows; recomputed or not, the same."""
        device, vae = self.base.device, self.base.vae
        made = torch.zeros(0, device=device, requires_grad=True)

        def loss(rows: int) -> Tensor:
            latents = torch.zeros(rows, *self.shape, device=device) + made.sum()
            with self._autocast():
                return decoded(vae, latents).float().square().mean()

        return count_step(loss, [made], [*self._known(), made], math.ceil(share * self.rows)).peak

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """Inside, the form recomputes its activations; afterwards it is as before.

        Raises :class:`HackamoreError` for a form that cannot.
        """
        self.form.recompute()
        try:
            yield
        finally:
            self.form.keep()

    @property
    def _on_cpu(self) -> bool:
        return bool(self.base.device.type == "cpu")

    @property
    def _program(self) -> int:
        return PROGRAM if self._on_cpu else 0

    def _autocast(self) -> torch.autocast:
        return autocast(self.base.device, self.run.precision)

    def _loss(self, rows: int) -> Tensor:
        device = self.base.device
        x = torch.zeros(rows, *self.shape, device=device)
        hint = torch.zeros(rows, 3, self.size[1], self.size[0], device=device)
        t, kind = (torch.zeros(rows, dtype=torch.long, device=device) for _ in range(2))
        added = {name: value.expand(rows, *value.shape[1:]) for name, value in self.text.added.items()}
        text = Text(self.text.tokens.expand(rows, -1, -1).clone(), added)
        with self._autocast():
            made = self.form.predict(x, t, text, hint, kind if len(self.form.kinds) > 1 else None)
            return F.mse_loss(made.float(), x)

    def _decoder(self) -> list[nn.Module]:
        return [self.form.decoder] if hasattr(self.form, "decoder") else []

    def _known(self) -> list[Tensor]:
        networks = [*self.base.parts().values(), self.form.base.network, self.form.network, *self._decoder()]
        tensors = {id(t): t for n in networks for t in (*n.parameters(), *n.buffers())}
        said = [self.text.tokens, *self.text.added.values()]
        return [*tensors.values(), *said]


def weight_of(networks: Iterable[nn.Module]) -> int:
    """Bytes of parameters and buffers, those that networks share counted once."""
    storages = {}
    for network in networks:
        for tensor in (*network.parameters(), *network.buffers()):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def optimiser_bytes(weights: Sequence[Tensor], run: RunSettings) -> int:
    """Bytes that the optimiser remembers of ``weights``."""
    each = {"adamw": _adamw, "adamw8bit": _adamw8bit, "adafactor": _adafactor, "sgd": _sgd}[run.optimiser]
    return sum(each(weight) for weight in weights) if run.optimiser != "sgd" or run.betas[0] else 0


def light_weights(base: Any) -> int | None:
    """Weights of the smallest form, a light T2I-Adapter; None for a base that takes none."""
    if not hasattr(base, "unet"):
        return None
    with torch.device("meta"):
        adapter = Adapter(base, light=True)
    return sum(parameter.numel() for parameter in adapter.parameters())


def _adamw(weight: Tensor) -> int:
    return 8 * weight.numel()


def _adamw8bit(weight: Tensor) -> int:
    count = weight.numel()
    return 8 * count if count < SMALLEST else 2 * count + 8 * math.ceil(count / BLOCK)


def _adafactor(weight: Tensor) -> int:
    """Rows and columns of the last two axes; vectors whole."""
    shape = weight.shape
    if len(shape) < 2:
        return 4 * weight.numel()
    return 4 * (math.prod(shape[:-1]) + math.prod(shape[:-2]) * shape[-1])


def _sgd(weight: Tensor) -> int:
    return 4 * weight.numel()
