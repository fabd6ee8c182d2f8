"""Each check of a run's health fires on what is built to provoke it, and is silent on a good run."""

import dataclasses
import re

import pytest
import torch
from torch import nn

from hackamore.bases.base import Text
from hackamore.bases.catalog import load_base
from hackamore.core.errors import WorkFailed
from hackamore.training.draws import Draws
from hackamore.training.forms.make import make_form
from hackamore.training.health import Checks, fingerprint
from hackamore.training.history import Rows
from hackamore.training.log import read_log
from hackamore.training.settings import ControlSettings
from hackamore.training.state import checkpoints
from hackamore.training.trainer import train
from tests.tiny_runs import RUN, Data, Small, squares


@pytest.fixture(scope="module")
def data(sd1):
    return Data.of(sd1, squares())


def warnings(folder) -> list[str]:
    rows: Rows = read_log(folder / "log.jsonl")
    return [row["warning"] for row in rows if "warning" in row]


def run(task, folder, **settings):
    train(task, RUN.model_copy(update=settings), folder)
    return warnings(folder)


@pytest.mark.parametrize("form", ["controlnet", "t2i-adapter", "t2i-adapter-light", "xs", "control-lora", "union"])
def test_a_good_run_is_silent(sd1, data, tmp_path, form):
    before = {name: fingerprint(p) for name, p in sd1.unet.named_parameters()}
    assert run(Small(sd1, data, control=ControlSettings(form=form, size_ratio=0.5)), tmp_path) == []
    assert before == {name: fingerprint(p) for name, p in sd1.unet.named_parameters()}


@pytest.mark.parametrize(
    "told", [{"hint_start": 1.0}, {"only_mid": True}, {"unlocked": True}], ids=lambda told: next(iter(told))
)
def test_a_good_run_of_another_sort_is_silent(sd1, data, tmp_path, told):
    assert run(Small(sd1, data, control=ControlSettings(**told)), tmp_path) == []


def test_a_good_run_is_silent_in_bf16_and_on_a_velocity_base(sd2, tmp_path):
    task = Small(sd2, Data.of(sd2, squares()), precision="bf16", timesteps="uniform")
    assert run(task, tmp_path, precision="bf16") == []


def test_a_resumed_run_is_silent(sd1, data, tmp_path):
    assert run(Small(sd1, data), tmp_path, checkpoint_every=1, steps=1) == []
    assert not any("fresh" in words for words in run(Small(sd1, data), tmp_path, steps=2))


def spoiled(data, **changed):
    return dataclasses.replace(data, **changed)


def _nan_picture(data):
    latents = data.latents.clone()
    latents[3, 0, 0, 0] = float("nan")
    return spoiled(data, latents=latents)


def test_good_data_are_passed_over(sd1, data):
    task = Small(sd1, data)
    assert Checks(task).begin(task.batch(Draws(0, 0, 16))) == []


WARNED = {
    "black hints": (lambda d: spoiled(d, hints=d.hints * 0), "are black"),
    "hints of one colour": (
        lambda d: spoiled(d, hints=torch.rand(len(d.hints), 3, 1, 1).expand_as(d.hints)), "one colour each",
    ),
    "the same hint": (lambda d: spoiled(d, hints=d.hints[:1].expand_as(d.hints)), "have the same hint"),
    "the same caption": (
        lambda d: spoiled(d, text=Text(d.text.tokens[:1].expand_as(d.text.tokens))), "have one caption",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), WARNED.values(), ids=WARNED)
def test_data_that_teach_nothing_are_told(sd1, data, spoil, words):
    task = Small(sd1, spoil(data))
    told = Checks(task).begin(task.batch(Draws(0, 0, 16)))
    assert len(told) == 1
    assert words in told[0]


STOPPED = {
    "hints in [0, 255]": (lambda d: spoiled(d, hints=d.hints * 255), r"(?s)square-.*from 0 to 255.*divide them by 255"),
    "hints in [-1, 1]": (lambda d: spoiled(d, hints=d.hints * 2 - 1), r"(?s)from -1 to 1.*\(hint \+ 1\) ÷ 2"),
    "a NaN picture": (_nan_picture, r"(?s)no numbers.*latents of square-03\.png"),
}


@pytest.mark.parametrize(("spoil", "words"), STOPPED.values(), ids=STOPPED)
def test_wrong_data_stop_before_the_first_step(sd1, data, tmp_path, spoil, words):
    with pytest.raises(WorkFailed) as stopped:
        run(Small(sd1, spoil(data)), tmp_path, batch_size=20)
    assert re.search(words, str(stopped.value))
    assert not checkpoints(tmp_path / "checkpoints")


def test_a_nan_picture_later_is_named_and_the_good_checkpoint_stays(sd1, data, tmp_path):
    class Later(Small):
        def batch(self, draws):
            batch = super().batch(draws)
            if draws.step == 2:
                batch["latents"][1] = float("nan")
            return batch

    with pytest.raises(WorkFailed, match=r"broke at step 2: the data are no numbers: latents of square-\d\d.png"):
        run(Later(sd1, data), tmp_path, checkpoint_every=2)
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-00000002.pt"]


def test_a_learning_rate_of_ten_stops_with_the_module_that_broke(sd1, data, tmp_path):
    with pytest.raises(WorkFailed, match=r"first output that is no number is that of (control|base)\.[a-z]"):
        run(Small(sd1, data), tmp_path, steps=30, lr=10.0)


def test_a_weight_that_is_no_number_is_named(sd1, data):
    task, batch = begun(Small(sd1, data))
    with torch.no_grad():
        task.form.network.trunk.conv_in.weight[0, 0, 0, 0] = float("inf")
    nan = torch.tensor(float("nan"))
    with pytest.raises(WorkFailed, match=r"the weights form\.network\.trunk\.conv_in\.weight are no numbers"):
        task.looking.gradients(5, {"loss": nan}, nan, batch)


def test_a_gradient_that_is_no_number_names_example_and_parameter(sd1, data):
    class Root(Small):
        """√ of the difference from itself: its value is 0, its slope is none."""

        def forward(self, batch):
            first = self.form.network.zero_mid.weight[0, 0].sum()
            return {"loss": super().forward(batch)["loss"] + (first - first.detach()).abs().sqrt() * 0}

    task, batch = begun(Root(sd1, data))
    with pytest.raises(WorkFailed, match=r"the gradient of square-\d\d\.png is no number, in form\.network\.zero_mid"):
        task.looking.gradients(5, {"loss": torch.ones(())}, torch.tensor(float("nan")), batch)


def begun(task, size=2):
    """A task whose checks have begun, and its batch, gradients in place."""
    batch = task.batch(Draws(0, 0, size))
    task.looking = Checks(task)
    task.begin_words = task.looking.begin(batch)
    task.train()(batch)["loss"].backward()
    return task, batch


def test_a_fresh_control_that_speaks_is_refused(sd1, data):
    task = Small(sd1, data)
    nn.init.ones_(task.form.network.zero_mid.bias)
    with pytest.raises(WorkFailed, match="the fresh control already changes what the base predicts"):
        begun(task)


def test_a_control_that_is_resumed_may_speak(sd1, data):
    task = Small(sd1, data)
    nn.init.ones_(task.form.network.zero_mid.bias)
    assert Checks(task).begin(task.batch(Draws(0, 5, 4)), 5) == []


def test_a_control_of_another_base_is_told(sd1, sd2, sdxl, data):
    task = Small(sd1, data)
    task.form.network._bases = (sd2,)
    with pytest.raises(WorkFailed, match="does not fit the base"):
        begun(task)


def test_a_control_of_a_base_with_other_weights_is_told(sd1, sd1_folder, data):
    other = load_base(sd1_folder, device="cpu")
    other.sha256 = {**other.sha256, "unet": "another"}
    task = Small(sd1, data)
    task.form.network._bases = (other,)
    task, _ = begun(task)
    assert ["other weights" in words for words in task.begin_words] == [True]


def gradients(task, batch, step=0, loss=1.0, norm=1.0, **more):
    losses = {"loss": torch.tensor(loss)} | {name: torch.tensor(value) for name, value in more.items()}
    return task.looking.gradients(step, losses, torch.tensor(norm), batch)


def test_gradients_of_the_base_are_told(sd1_folder, data):
    base = load_base(sd1_folder, device="cpu")
    task = Small(base, data)
    base.unet.conv_out.requires_grad_(True)
    task, batch = begun(task)
    assert ["the locked base gets gradients" in words for words in gradients(task, batch)] == [True]


def test_a_first_step_that_reaches_the_copy_is_told(sd1, data):
    task, batch = begun(Small(sd1, data))
    task.form.network.trunk.conv_in.weight.grad = torch.ones_like(task.form.network.trunk.conv_in.weight)
    assert ["more than its zero layers: form.network.trunk.conv_in" in words for words in gradients(task, batch)] == [
        True
    ]


def test_no_gradient_at_all_stops(sd1, data):
    task, batch = begun(Small(sd1, data))
    task.zero_grad()
    with pytest.raises(WorkFailed, match="nothing that is trained gets a gradient"):
        gradients(task, batch)


def test_a_group_without_gradients_is_told_at_the_third_step(sd1, data):
    class Alone(Small):
        def groups(self):
            return [*super().groups(), {"params": [self.spare]}]

    alone = Alone(sd1, data)
    alone.spare = nn.Parameter(torch.ones(3))
    task, batch = begun(alone)
    told = [words for step in range(3) for words in gradients(task, batch, step)]
    assert any("1 parameters got no gradient in the first three steps: spare" in words for words in told)


def test_gradients_that_vanish_are_told_then_stop(sd1, data):
    task, batch = begun(Small(sd1, data))
    assert gradients(task, batch, 5) == []
    assert gradients(task, batch, 6, norm=0.0) == ["all gradients are zero at step 6"]
    for step in range(7, 15):
        gradients(task, batch, step, norm=0.0)
    with pytest.raises(WorkFailed, match="all gradients have been zero for 10 steps, up to step 15"):
        gradients(task, batch, 15, norm=0.0)


def test_weights_that_do_not_move_are_told(sd1, data, tmp_path):
    task, batch = begun(Small(sd1, data))
    told = [words for step in range(5) for words in gradients(task, batch, step)]
    assert any("no weight has moved in 3 steps: is the learning rate 0?" in words for words in told)


def test_a_run_that_goes_on_at_the_third_step_has_not_stood_still(sd1, data):
    task, batch = begun(Small(sd1, data))
    task.looking.begin(batch, 3)
    assert gradients(task, batch, 3) == []
    told = [words for step in range(4, 7) for words in gradients(task, batch, step)]
    assert any("no weight has moved in 3 steps" in words for words in told)


def test_a_reward_that_begins_is_no_harm(sd1, data):
    task, batch = begun(Small(sd1, data))
    for step in range(5, 40):
        assert gradients(task, batch, step) == []
    for step in range(40, 80):
        assert gradients(task, batch, step, loss=9.0, denoising=1.0) == []


def test_an_explosion_stops_after_five_steps_and_one_outlier_does_not(sd1, data):
    task, batch = begun(Small(sd1, data))
    for step in range(5, 40):
        assert gradients(task, batch, step, norm=1.0 + step % 3) == []
    spike = gradients(task, batch, 40, loss=9.0, norm=900.0)
    assert len(spike) == 1
    assert "the gradient norm of step 40 is 450 times the usual one (examples: square-" in spike[0]
    assert gradients(task, batch, 41) == []
    for step in range(42, 46):
        gradients(task, batch, step, loss=9.0, norm=900.0)
    with pytest.raises(WorkFailed, match="exploded: 5 steps in a row up to step 46"):
        gradients(task, batch, 46, loss=9.0, norm=900.0)


def test_a_loss_that_grows_slowly_is_told(sd1, data):
    task, batch = begun(Small(sd1, data))
    told = [words for step in range(5, 100) for words in gradients(task, batch, step, loss=1 + step / 20)]
    assert len(told) == 1
    assert "times what it was: the control harms the base" in told[0]


def test_a_base_that_changes_stops_the_run_by_name(sd1_folder, data):
    base = load_base(sd1_folder, device="cpu")
    task, _ = begun(Small(base, data))
    assert task.looking.settled() == []
    with torch.no_grad():
        base.unet.conv_out.bias[0] += 1e-6
    with pytest.raises(WorkFailed, match=r"(?s)changed the base, which is locked.*") as stopped:
        task.looking.settled()
    assert "conv_out.bias" in str(stopped.value)


def test_a_base_that_is_hooked_no_longer_predicts_as_before(sd1_folder, data):
    base = load_base(sd1_folder, device="cpu")
    task, _ = begun(Small(base, data))
    base.unet.conv_in.register_forward_hook(lambda module, given, made: made * 1.5)
    with pytest.raises(WorkFailed, match="with the control off the base predicts something else"):
        task.looking.settled()


def test_an_overflow_under_fp16_is_the_scalers_business(sd1, data):
    task, batch = begun(Small(sd1, data))
    task.looking.precision = "fp16"
    assert gradients(task, batch, 5, norm=float("inf")) == []
    for step in range(6, 34):
        gradients(task, batch, step, norm=float("inf"))
    with pytest.raises(WorkFailed, match="broke at step 34: each example by itself is fine"):
        gradients(task, batch, 34, norm=float("inf"))


def test_forms_are_checked_as_they_are_made(sdxl):
    """SDXL, whose text has more than tokens."""
    text = sdxl.encode_text(["a red circle", "a blue square at noon"])
    batch = {
        "latents": torch.randn(2, 4, 8, 8), "noise": torch.randn(2, 4, 8, 8), "t": torch.tensor([3, 700]),
        "hint": torch.rand(2, 3, 64, 64), "text": text.tokens, "kind": torch.zeros(2, dtype=torch.long),
        **{f"added.{name}": value for name, value in text.added.items()},
    }  # fmt: skip

    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.form = make_form(sdxl, ControlSettings(), ["canny"])

        def groups(self):
            return self.form.groups(1e-3)

    checks = Checks(Bare())
    assert checks.begin(batch) == []
    assert checks.settled() == []
