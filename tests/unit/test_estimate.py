"""The estimate of memory is what a real step takes, and its advice saves what it says."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hackamore.bases.decoding import decoded
from hackamore.training.estimate import STEP, Advice, Estimate, estimate
from hackamore.training.forms import make_form
from hackamore.training.free import free_memory, in_words
from hackamore.training.live import Counted, Live, count_run, count_step
from hackamore.training.optimisers import make_optimiser
from hackamore.training.settings import ControlSettings, MemorySettings, RewardSettings, RunSettings
from hackamore.training.tally import Tally, light_weights, optimiser_bytes, weight_of

RUN = RunSettings(steps=1, batch_size=4)
PLENTY = 1 << 40


def form_of(base, form="controlnet", kinds=("canny",), **settings):
    return make_form(base, ControlSettings(form=form, **settings), kinds)


def test_live_tensors_are_counted_until_they_are_gone():
    with Live() as live:
        a = torch.zeros(256)
        b = a * 2
        assert live.now == 2048
        c = b.view(16, 16)
        assert live.now == 2048, "a view has no bytes of its own"
        del b
        assert live.now == 2048
        del c
        assert (live.now, live.peak(), live.peak(without=[a])) == (1024, 2048, 1024)
        del a
    assert live.now == 0


def test_a_step_of_a_small_network_by_hand():
    """relu(x·W): x is kept for the gradient of W, relu's result for its own; then come their gradients."""
    layer, row = nn.Linear(64, 64, bias=False), 4 * 64
    for rows in (8, 80):
        counted = count_step(
            lambda n: torch.relu(layer(torch.zeros(n, 64))).sum(), [layer.weight], list(layer.parameters()), rows
        )
        assert counted.simulated
        assert counted.gradients == 4 * 64 * 64
        assert counted.others == 3 * rows * row + 2 * 4, "x, relu's result, its gradient; the loss and its gradient"
        assert counted.peak == max(counted.gradients + 2 * rows * row + 2 * 4, counted.others)
    assert layer.weight.grad is None


@pytest.fixture(scope="module")
def roomy(sd1):
    """A ControlNet's training where there is plenty of memory."""
    memory, sizes = MemorySettings(), [(64, 64)] * 9 + [(64, 32)]
    return estimate(sd1, form_of(sd1), RUN, memory, sizes, variants=2, captions=3, free=PLENTY)


@pytest.fixture(scope="module")
def tight(sd1):
    """The same without caches, where there is almost no memory; the form beside it."""
    form = form_of(sd1)
    return estimate(sd1, form, RUN, MemorySettings(cache=False), [(64, 64)], free=1 << 20), form


def really(tally):
    """Bytes at the peak of a step with real numbers."""
    with Live(tally._known()) as live:
        gradients = torch.autograd.grad(tally._loss(tally.rows), tally.weights, allow_unused=True)
    del gradients
    return live.peak()


def test_shapes_alone_count_as_a_real_step_does(sd1, roomy):
    form = form_of(sd1)
    assert roomy.simulated
    step = roomy.phases[STEP]
    assert step["activations"] + step["gradients"] == pytest.approx(really(Tally(sd1, form, RUN, (64, 64))), rel=0.01)
    assert all(parameter.grad is None for parameter in form.parameters())


def test_a_control_inside_the_base_is_counted_too(sd1):
    tally = Tally(sd1, form_of(sd1, "xs", size_ratio=1.0), RUN, (64, 64))
    counted = tally.step()
    assert counted.simulated
    assert counted.peak == pytest.approx(really(tally), rel=0.01)


def test_what_depends_on_values_is_run_for_real():
    layer = nn.Linear(8, 8)

    def loss(rows):
        made = layer(torch.ones(rows, 8)).sum()
        return made if float(made) > -1e9 else made * 2

    counted = count_step(loss, list(layer.parameters()), list(layer.parameters()), 16)
    assert not counted.simulated
    assert counted.gradients == 4 * 72
    assert count_run(lambda: float(torch.zeros(4).sum()), []) == 0


@pytest.mark.parametrize("optimiser", ["adamw", "adamw8bit", "adafactor", "sgd"])
def test_the_optimiser_remembers_as_much_as_is_said(optimiser):
    shapes = [(70, 64, 3, 3), (64, 33), (5000,), (17,), (3, 3, 1, 1)]
    weights = [nn.Parameter(torch.ones(shape)) for shape in shapes]
    run = RUN.model_copy(update={"optimiser": optimiser})
    made = make_optimiser([{"params": weights}], run)
    F.mse_loss(torch.cat([w.flatten() for w in weights]), torch.zeros(sum(w.numel() for w in weights))).backward()
    made.step()
    kept = sum(
        value.numel() * value.element_size()
        for weight in weights
        for value in made.state[weight].values()
        if isinstance(value, torch.Tensor) and value.numel() > 1
    )
    assert optimiser_bytes(weights, run) == pytest.approx(kept, rel=0.01)


def test_what_is_shared_is_counted_once(sd1):
    assert weight_of([sd1.unet, sd1.unet]) == sum(4 * p.numel() for p in sd1.unet.parameters())
    whole, lora = (Tally(sd1, form_of(sd1, form), RUN, (64, 64)).held() for form in ("controlnet", "control-lora"))
    assert lora["base"] == whole["base"]
    factors = sum(4 * p.numel() for p in form_of(sd1, "control-lora").parameters() if p.requires_grad)
    assert lora["control"] == factors, "the rest of a Control-LoRA's copy is the base's own"
    assert whole["optimiser"] == 2 * whole["average"] == 2 * whole["control"]
    assert Tally(sd1, form_of(sd1), RUN.model_copy(update={"ema": None}), (64, 64)).held()["average"] == 0


def test_settings_reach_the_estimate(sd1):
    form = form_of(sd1, "t2i-adapter-light")

    def tally(size=(64, 64), processes=1, **told):
        return Tally(sd1, form, RUN.model_copy(update=told), size, processes)

    assert (tally().rows, tally(batch_size=9, accumulate=2).rows, tally(processes=2).rows) == (4, 5, 2)
    assert tally(size=(128, 64)).shape == (4, 8, 16)
    assert tally(prefetch=3).batches() == 2 * tally().batches() == 4 * tally(prefetch=0).batches()
    assert tally(processes=2).batches() == tally().batches() // 2
    counted = Counted(peak=100, others=90, gradients=30, simulated=True)
    assert tally().activations(counted) == 70
    assert tally(accumulate=2).activations(counted) == tally(processes=2).activations(counted) == 90


def test_phases_and_caches(sd1, roomy, tight):
    tokens = sd1.encode_text([""]).tokens.numel()
    assert roomy.disk == 2 * (10 * 2 * 4 * 8 * 8 + 3 * tokens)
    assert tight[0].disk == 0
    assert set(roomy.phases) - set(tight[0].phases) == {"caching"}
    assert roomy.phases[STEP]["autoencoder and text encoders"] == 0
    assert tight[0].phases[STEP]["autoencoder and text encoders"] > 0
    assert min(roomy.phases["caching"]["encoding"], roomy.phases["a probe"]["decoding"]) > 3 * 64 * 64 * 4
    assert "memory" in roomy.facts()


def test_a_reward_keeps_the_autoencoder_and_a_graph_through_it(sd1, roomy):
    form, told = form_of(sd1), {"variants": 2, "captions": 3, "free": PLENTY}
    plain = roomy.phases[STEP]
    rewarded, half = (
        estimate(sd1, form, RUN, MemorySettings(), [(64, 64)], reward=RewardSettings(weight=1, share=s), **told)
        for s in (1.0, 0.5)
    )
    step = rewarded.phases[STEP]
    assert (plain["reward"], plain["autoencoder and text encoders"]) == (0, 0)
    assert step["autoencoder and text encoders"] == Tally(sd1, form, RUN, (64, 64)).others
    latents = torch.zeros(RUN.batch_size, 4, 8, 8, requires_grad=True)
    with Live([*sd1.vae.parameters(), latents]) as live:
        torch.autograd.grad(decoded(sd1.vae, latents).square().mean(), latents)
    assert step["reward"] == pytest.approx(live.peak(), rel=0.02)
    assert half.phases[STEP]["reward"] == pytest.approx(step["reward"] / 2, rel=0.1)
    assert {name: size for name, size in step.items() if name in ("base", "activations")} == {
        name: plain[name] for name in ("base", "activations")
    }


def test_what_is_encoded_when_it_is_first_read_is_encoded_in_a_step(sd1, roomy):
    form = form_of(sd1)
    late = estimate(sd1, form, RUN, MemorySettings(), [(64, 64)], ahead=False, free=1 << 20)
    step = late.phases[STEP]
    assert step["autoencoder and text encoders"] > 0 == roomy.phases[STEP]["encoding"]
    assert 0 < step["encoding"] < roomy.phases["caching"]["encoding"]
    assert "caching" not in late.phases
    (advice,) = (advice for advice in late.advice if advice.remedy == "memory.ahead=true")
    assert advice.saves == step["autoencoder and text encoders"] + step["encoding"]


def test_what_fits_is_passed_and_what_does_not_gets_advice(roomy, tight):
    assert (roomy.findings(), roomy.advice) == ([], ())
    made, _ = tight
    assert not made.fits
    (finding,) = made.findings()
    assert finding.level == "problem"
    assert [advice.remedy.partition("=")[0] for advice in made.advice] == [
        "memory.gradient_checkpointing", "run.accumulate", "run.optimiser", "memory.base_dtype", "memory.cache",
        "control.form",
    ]  # fmt: skip
    assert all(advice.saves > 0 for advice in made.advice)
    assert "a smaller size, or a machine with more memory" in (finding.remedy or "")
    assert any(line.startswith("problem: the training needs about") for line in made.lines())
    assert made.json()["advice"][0]["set"] == "memory.gradient_checkpointing=true"


def test_advised_recomputing_saves_what_is_said_and_leaves_the_form_as_it_was(sd1, tight):
    made, form = tight
    assert form.base is sd1
    assert not any(getattr(module, "gradient_checkpointing", False) for module in form.network.modules())
    memory = MemorySettings(gradient_checkpointing=True)
    eased = estimate(sd1, form, RUN, memory, [(64, 64)], free=PLENTY).phases[STEP]
    assert made.phases[STEP]["activations"] - eased["activations"] == made.advice[0].saves
    assert not any(getattr(module, "gradient_checkpointing", False) for module in form.network.modules())


def test_advice_stops_where_it_fits():
    parts = {STEP: {"activations": 800, "base": 200}}
    advice = (Advice("a", "one=1", 300), Advice("b", "two=2", 300))
    assert "two" not in Estimate(parts, 800, "cpu", advice=advice).change()
    both = Estimate(parts, 500, "cpu", advice=advice)
    assert "two=2" in both.change()
    assert "smaller size" not in both.change()
    assert "smaller size" in replace(both, free=100).change()
    barely = replace(both, free=1050)
    assert [finding.level for finding in barely.findings()] == ["warning"]


def test_the_smallest_form_is_counted_without_being_made(sd1):
    light = form_of(sd1, "t2i-adapter-light")
    assert light_weights(sd1) == sum(p.numel() for p in light.network.parameters())


def test_free_memory_is_what_the_container_may_still_take(tmp_path: Path):
    device = torch.device("cpu")
    open_ended = free_memory(device, tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    assert free_memory(device, tmp_path) > 0.5 * open_ended
    (tmp_path / "memory.max").write_text(str(3 << 20))
    (tmp_path / "memory.current").write_text(str(2 << 20))
    (tmp_path / "memory.stat").write_text(f"anon 7\ninactive_file {1 << 19}\n")
    import psutil

    own = psutil.Process().memory_info().rss
    assert free_memory(device, tmp_path) - own == pytest.approx(1.5 * 2**20, abs=1 << 24)


def test_bytes_in_words():
    assert in_words(3 << 10) == "3 KiB"
    assert in_words(3 << 20) == "3 MiB"
    assert in_words(3 << 29) == "1.5 GiB"
