"""What a control promises: nothing before training, once where once is enough, only when and where it is told."""

import pytest
import torch

from hackamore.bases.base import Text
from hackamore.controls.branch import new_control
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError
from hackamore.generate import generate
from tests.conftest import randomise

HINT = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def made(base, *units, **told):
    told = {"seed": 1, "size": (64, 64), "steps": 4, "guidance": 3.0} | told
    return generate(base, "a red circle", controls=units, **told).latents


class Counted:
    """A control that counts how often it is asked."""

    def __init__(self, branch):
        self.sites = branch.sites
        self.branch, self.prepared, self.asked = branch, 0, []
        self.name, self.condition, self.sha256 = "counted", None, {}

    def prepare(self, hint):
        self.prepared += 1
        return self.branch.prepare(hint)

    def residuals(self, x, t, text, prepared):
        self.asked.append(int(t))
        return self.branch.residuals(x, t, text, prepared)


def test_a_fresh_control_is_a_bit_exact_no_op(base):
    unit = new_control(base).unit(HINT, scale=1.7)
    assert torch.equal(made(base), made(base, unit))


def test_first_step_moves_only_zero_convolutions_second_moves_the_copy(base):
    branch = new_control(base)
    before = {name: p.detach().clone() for name, p in branch.named_parameters()}
    locked = {name: p.detach().clone() for name, p in base.unet.named_parameters()}
    optimiser = torch.optim.SGD(branch.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 8, 8, generator=generator)
    text = Text(base.encode_text(["a red circle", "a lake"]).tokens.clone())

    def step():
        residuals = branch(x, torch.tensor([10, 500]), text, HINT.expand(2, -1, -1, -1))
        loss = (base.predict(x, torch.tensor([10, 500]), text, residuals) - x).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return {name for name, p in branch.named_parameters() if not torch.equal(p, before[name])}

    first = step()
    zero = {name for name in before if name.startswith(("zero_", "hint_encoder.conv_out"))}
    assert first <= zero
    assert {name for name in zero if name.startswith("zero_")} <= first
    second = step()
    assert any(name.startswith("trunk.") for name in second)
    assert "hint_encoder.conv_out.weight" in second
    assert all(torch.equal(p, locked[name]) for name, p in base.unet.named_parameters())
    assert all(p.grad is None for p in base.unet.parameters())


def test_hint_once_and_silent_steps_cost_nothing(sd1):
    control = Counted(randomise(new_control(sd1)))
    made(sd1, Unit(control, HINT, start=0.25, end=0.75))
    assert control.prepared == 1
    assert len(control.asked) == 2
    silent = Counted(control.branch)
    made(sd1, Unit(silent, HINT, scale=0))
    assert (silent.prepared, silent.asked) == (0, [])


def test_two_units_equal_their_sum(sd1):
    branch = randomise(new_control(sd1))
    twice = made(sd1, branch.unit(HINT, scale=0.3), branch.unit(HINT, scale=0.4))
    assert (twice - made(sd1, branch.unit(HINT, scale=0.7))).abs().max() < 1e-4


def test_two_different_controls_add(sd1):
    a, b = (randomise(new_control(sd1), seed) for seed in (0, 1))
    x, t, text = torch.randn(1, 4, 8, 8), torch.tensor(300), sd1.encode_text(["a lake"])
    told = [c.residuals(x, t, text, c.prepare(HINT)) for c in (a, b)]
    total = told[0] + told[1]
    for one, two, both in zip(told[0].skips, told[1].skips, total.skips, strict=True):
        torch.testing.assert_close(one + two, both)


def test_a_white_mask_changes_nothing_and_a_half_mask_acts_there(sd1):
    branch = randomise(new_control(sd1))
    white = torch.ones(1, 1, 64, 64)
    assert torch.equal(made(sd1, branch.unit(HINT)), made(sd1, branch.unit(HINT, mask=white)))
    half = white.clone()
    half[..., 32:] = 0
    x, t, text = torch.randn(1, 4, 8, 8), torch.tensor(300), sd1.encode_text(["a lake"])
    masked = branch.residuals(x, t, text, branch.prepare(HINT)).masked(half)
    assert float(masked.skips[0][..., 4:].abs().max()) == 0
    assert float(masked.skips[0][..., :4].abs().max()) > 0


def test_schedule_equals_the_constant_it_describes(sd1):
    branch = randomise(new_control(sd1))
    assert torch.equal(made(sd1, branch.unit(HINT, schedule="0.6@0")), made(sd1, branch.unit(HINT, scale=0.6)))


def test_a_picture_does_not_depend_on_its_batch(base):
    branch = randomise(new_control(base), size=0.05)
    hints = torch.rand(3, 3, 64, 64)
    for scheduler in ("ddim", "euler_a"):
        together = made(base, branch.unit(hints), num=3, scheduler=scheduler, batch=3)
        for k in range(3):
            alone = made(base, branch.unit(hints[k : k + 1]), seed=1 + k, scheduler=scheduler)
            assert (together[k] - alone[0]).abs().max() <= 1e-4


def test_progress_previews_and_cancelling(sd1):
    seen = []
    generate(
        sd1,
        "a lake",
        size=(64, 64),
        steps=3,
        progress=lambda told: seen.append((told.step.index, told.preview()[0].shape)),
    )
    assert seen == [(0, (8, 8, 3)), (1, (8, 8, 3)), (2, (8, 8, 3))]
    with pytest.raises(HackamoreError, match="cancelled after step 1"):
        generate(sd1, "a lake", size=(64, 64), steps=3, cancelled=lambda: True)


@pytest.mark.parametrize("prompt", ["", "a lake " * 800])
def test_prompts_of_any_length_are_read(meadow, prompt):
    result = generate(meadow, prompt, size=(64, 64), steps=1)
    assert result.latents.isfinite().all()
    assert result.notices == []


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"hint": HINT * 2 - 1}, "out of range"),
        ({"hint": HINT[:, :1]}, "wrong shape"),
        ({"mask": torch.zeros(1, 1, 64, 64)}, "mask is empty"),
        ({"schedule": "1@0", "scale": 0.5}, "a schedule and scale"),
        ({"scale": float("inf")}, "scale of a control"),
    ],
)
def test_units_refuse_what_they_cannot_mean(sd1, told, words):
    with pytest.raises(HackamoreError, match=words):
        new_control(sd1).unit(**{"hint": HINT} | told)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"steps": 0}, "steps"),
        ({"guidance": float("nan")}, "guidance"),
        ({"seed": -1}, "seed"),
        ({"num": 0}, "number of pictures"),
        ({"size": (60, 64)}, "size does not fit"),
        ({"scheduler": "eular"}, "did you mean euler"),
        ({"size": (128, 64)}, "another size"),
    ],
)
def test_generate_refuses_what_it_cannot_do(sd1, told, words):
    with pytest.raises(HackamoreError, match=words):
        made(sd1, new_control(sd1).unit(HINT), **told)
