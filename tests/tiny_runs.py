"""The smallest real training of a control: a few examples in memory, a tiny real base, a real form and objective."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hackamore.bases.base import Text
from hackamore.core.image import to_hint
from hackamore.data.evaluation import Example
from hackamore.training.forms.make import make_form
from hackamore.training.gain import Gain, encoded
from hackamore.training.health import Checks
from hackamore.training.objective import Objective
from hackamore.training.settings import ControlSettings, ObjectiveSettings, RunSettings
from hackamore.training.task import Task, text_of

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 40), "blue": (30, 40, 200), "white": (240, 240, 240)}
RUN = RunSettings(
    steps=3, batch_size=2, lr=1e-3, warmup=0, ema=0.9, log_every=1, checkpoint_every=100, sample_every=100, prefetch=0
)


def squares(count: int = 20, size: int = 64) -> list[Example]:
    """A coloured square on grey; the hint is the square in white, the caption tells the colour."""
    numbers, made = np.random.default_rng(0), []
    for k in range(count):
        colour = list(COLOURS)[k % len(COLOURS)]
        picture, hint = np.full((size, size, 3), 90, np.uint8), np.zeros((size, size, 3), np.uint8)
        x, y = numbers.integers(0, size // 2, 2)
        for image, value in ((picture, COLOURS[colour]), (hint, 255)):
            image[y : y + size // 2, x : x + size // 2] = value
        made.append(Example(f"square-{k:02}.png", f"a {colour} square", picture, {"canny": hint, "shape": hint}))
    return made


@dataclass
class Data:
    """Examples as tensors; a test spoils what it likes."""

    latents: Tensor
    hints: Tensor
    text: Text
    names: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, base, examples) -> Data:
        latents = torch.cat([base.encode(to_hint(example.picture) * 2 - 1) for example in examples])
        text = base.encode_text([example.caption for example in examples])
        hints = to_hint([example.hint("canny", {}) for example in examples])
        return cls(latents, hints, text, [example.name for example in examples])


class Small(Task):
    """A control on ``data``; dropout of captions comes from the global generator, so that a disturbance would show."""

    def __init__(self, base, data, *, precision="no", probe=None, control=None, **settings):
        super().__init__()
        torch.manual_seed(0)
        self.form = make_form(base, control or ControlSettings(), ["canny"])
        self.data, self.precision, self.examine = data, precision, probe
        self.objective = Objective(base.scheduler_config, ObjectiveSettings(**settings))
        self.noisy = False

    def place(self, device):
        super().place(device)
        self.form.base.to(device)

    def groups(self):
        return self.form.groups(1e-3)

    def batch(self, draws):
        places = draws.indices(len(self.data.latents))
        latents = self.data.latents[places]
        return {
            "places": places,
            "latents": latents,
            "noise": draws.normal(*latents.shape[1:]),
            "t": self.objective.timesteps(draws.uniform()),
            "text": self.data.text.tokens[places],
            "hint": self.data.hints[places],
            "kind": torch.zeros(len(places), dtype=torch.long),
        }

    def forward(self, batch):
        noise = batch["noise"] + 0.1 * torch.randn_like(batch["noise"]) if self.noisy else batch["noise"]
        x = self.objective.noisy(batch["latents"], noise, batch["t"])
        made = self.form.predict(x, batch["t"], text_of(batch), batch["hint"], batch["kind"])
        target = self.objective.target(batch["latents"], noise, batch["t"])
        return {"loss": self.objective.loss(made, target, batch["t"])}

    def gain(self, examples, precision="no"):
        groups = encoded(self.form.base, examples, "canny", 0, precision)
        return Gain(self.form.predict, self.objective, groups, [self.form], precision=precision)

    def probe(self):
        return None if self.examine is None else self.examine()

    def checks(self):
        return Checks(self, precision=self.precision)

    def names(self, places):
        return [self.data.names[place] for place in places.tolist()]

    def sample(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    def export(self, folder):
        torch.save(self.form.state_dict(), folder / "weights.pt")
