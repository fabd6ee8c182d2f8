"""Small trained forms: what they are asked, a few real steps, and how a control is asked the same from its file."""

from __future__ import annotations

import torch

from hackamore.controls.control import Voice
from hackamore.training.forms import make_form
from hackamore.training.settings import ControlSettings

FORMS = ("controlnet", "t2i-adapter", "t2i-adapter-light", "xs", "control-lora", "union")
CASES = [(base, form) for base in ("meadow", "sd1", "sdxl") for form in FORMS]
CASES += [("sd3", "controlnet"), ("flux", "controlnet")]
SMALL = {"size_ratio": 0.5, "rank": 4, "hint_start": 0.0}
KINDS = ("canny", "depth")
HINT = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def kinds_of(form):
    return KINDS if form == "union" else KINDS[:1]


def new_form(base, form="controlnet", seed=0, kinds=None, **told):
    torch.manual_seed(seed)
    return make_form(base, ControlSettings(form=form, **(SMALL | told)), kinds or kinds_of(form))


class Asked:
    """One batch of two: latents, timesteps, text, hints and which kind each hint is."""

    def __init__(self, base, form):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(2, base.latent_channels, 8, 8, generator=generator)
        self.t = torch.tensor([10.0, 500.0] if hasattr(base, "transformer") else [10, 500])
        self.text = base.encode_text(["a red circle", "a lake"])
        self.hint, self.kind = HINT, torch.tensor([0, 1]) if form == "union" else None

    def of(self, form):
        return form.predict(self.x, self.t, self.text, self.hint, self.kind)

    def plain(self, form):
        return form.plain(self.x, self.t, self.text)

    def loss(self, form):
        return (self.of(form) - self.x).square().mean()


def train(form, asked, steps=3, lr=5e-4, after=lambda step: None):
    """Steps of Adam; the losses before each of them."""
    groups = [{"params": group["params"], "lr": lr * group["scale"]} for group in form.groups(lr)]
    optimiser = torch.optim.Adam(groups)
    losses = []
    for step in range(steps):
        loss = asked.loss(form)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        after(step)
    return losses


@torch.no_grad()
def steered(base, control, asked, kinds):
    """The base's prediction with a control as ``load_control`` gives it."""
    if hasattr(control, "attach"):
        inside = control.attach(base, Voice(strength=1.0, prepared=control.prepare(asked.hint)))
        return inside.predict(asked.x, asked.t, asked.text)
    typed = "type" in getattr(control, "options", ())
    told = {"type": torch.tensor([control.number(kind) for kind in kinds])[asked.kind]} if typed else {}
    said = control.residuals(asked.x, asked.t, asked.text, control.prepare(asked.hint, **told))
    if said.blocks:
        said = said.spread(base.sites.blocks, base.sites.singles)
    return base.predict(asked.x, asked.t, asked.text, said)
