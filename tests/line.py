"""The smallest task: y = a·x + b, with noise in the data and dropout of half of it."""

import signal
from pathlib import Path

import torch
from torch import nn

from hackamore.training.settings import RunSettings
from hackamore.training.trainer import Task, read_log

RUN = RunSettings(steps=24, batch_size=8, lr=0.05, warmup=3, log_every=2, checkpoint_every=5, sample_every=10, ema=0.9)


class Line(Task):
    """``stop_at``: the step in whose forward pass Ctrl-C comes. ``figures``: what its probes find, one by one."""

    def __init__(self, stop_at: int | None = None, figures: list[float] | None = None, width: int = 1):
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(3, width)
        self.steps: list[int] = []
        self.stop_at, self.figures = stop_at, figures

    def groups(self):
        return [{"params": [self.line.weight]}, {"params": [self.line.bias], "scale": 3.0}]

    def batch(self, draws):
        x = draws.normal(3) * (draws.uniform(1) < 0.5)
        y = x.sum(1, keepdim=True) + draws.indices(7)[:, None] * 0.1
        return {"x": x, "y": y, "step": torch.tensor(draws.step)}

    def forward(self, batch):
        self.steps.append(int(batch["step"]))
        if self.steps[-1] == self.stop_at:
            signal.raise_signal(signal.SIGINT)
        loss = (self.line(batch["x"]) - batch["y"]).square().mean()
        return {"loss": loss, "bias": self.line.bias.detach().mean()}

    def sample(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    def export(self, folder: Path):
        torch.save(self.line.state_dict(), folder / "line.pt")

    def probe(self):
        return None if self.figures is None else {"normalised": self.figures.pop(0), "gain": 0.0}


def exported(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "line.pt", weights_only=True)


def losses_of(folder):
    return {row["step"]: row["loss"] for row in read_log(folder / "log.jsonl") if "loss" in row}


def agree(one, other):
    """The same weights and the same losses, to the last digit."""
    first, second = exported(one), exported(other)
    return all(torch.equal(first[name], second[name]) for name in first) and losses_of(one) == losses_of(other)
