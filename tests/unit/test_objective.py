"""The objective against diffusers' schedulers, and against its own algebra."""

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
)
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from diffusers.training_utils import compute_snr
from hypothesis import given
from hypothesis import strategies as st

from hackamore.core.errors import HackamoreError
from hackamore.training.objective import Objective, dropped, zero_terminal
from hackamore.training.settings import ObjectiveSettings

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
LATENTS, NOISE, MADE = (torch.randn(5, 4, 6, 8, generator=torch.Generator().manual_seed(k)) for k in range(3))
T = torch.tensor([0, 1, 250, 731, 999])


def config_of(scheduler, **told):
    return dict(scheduler(**SD, **told).config)


def objective(config, **told):
    return Objective(config, ObjectiveSettings(**told))


CONFIGS = {
    "sd1": config_of(PNDMScheduler, skip_prk_steps=True, steps_offset=1),
    "sd2": config_of(DDIMScheduler, prediction_type="v_prediction"),
    "sdxl": config_of(EulerDiscreteScheduler),
    "meadow": config_of(DDIMScheduler, prediction_type="v_prediction", rescale_betas_zero_snr=True),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_noising_and_targets_are_diffusers(name):
    config = CONFIGS[name]
    ours = objective(config)
    theirs = DDPMScheduler.from_config(config)
    assert torch.allclose(ours.noisy(LATENTS, NOISE, T), theirs.add_noise(LATENTS, NOISE, T), rtol=0, atol=1e-6)
    velocity = theirs.get_velocity(LATENTS, NOISE, T)
    target = NOISE if ours.prediction == "epsilon" else velocity
    assert torch.allclose(ours.target(LATENTS, NOISE, T), target, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_min_snr_is_diffusers_snr_clipped(name):
    config = CONFIGS[name]
    ours = objective(config, min_snr=5.0)
    t = torch.arange(0, 999, 37)  # the last timestep of a zero terminal schedule has no finite form there
    snr = compute_snr(DDPMScheduler.from_config(config), t)
    wanted = snr.clamp(max=5) / (snr if ours.prediction == "epsilon" else snr + 1)
    assert torch.allclose(ours.weight(t), wanted, atol=1e-6)
    assert torch.isfinite(ours.weight(T)).all()


def test_zero_terminal_is_algorithm_1():
    betas = DDPMScheduler(**SD).betas
    theirs = torch.cumprod(1 - rescale_zero_terminal_snr(betas.double()), 0).sqrt()
    ours = zero_terminal(torch.cumprod(1 - betas.double(), 0).sqrt())
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert ours[-1] == 0
    told = objective(CONFIGS["sd2"], zero_terminal_snr=True)
    assert torch.equal(told.noisy(LATENTS, NOISE, torch.full((5,), 999)), NOISE)
    again = objective(CONFIGS["meadow"], zero_terminal_snr=True)
    once = objective(CONFIGS["meadow"])
    assert torch.allclose(again.noisy(LATENTS, NOISE, T), once.noisy(LATENTS, NOISE, T), rtol=0, atol=1e-6)
    assert not torch.equal(objective(CONFIGS["sd2"]).noisy(LATENTS, NOISE, torch.full((5,), 999)), NOISE)


def test_noise_prediction_with_zero_terminal_snr_is_refused():
    with pytest.raises(HackamoreError, match="zero terminal"):
        objective(CONFIGS["sd1"], zero_terminal_snr=True)
    with pytest.raises(HackamoreError, match="zero terminal"):
        objective(CONFIGS["meadow"], prediction="epsilon")


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_is_diffusers_flow(shift):
    config = FLOW | {"shift": shift}
    theirs = FlowMatchEulerDiscreteScheduler.from_config(config)
    ours = objective(config, timesteps="uniform")
    u = torch.tensor([0.001, 0.25, 0.5, 0.731, 0.999])
    t = ours.timesteps(u)
    places = 1000 - (u * 1000).round().long()
    assert torch.allclose(t, theirs.timesteps[places], atol=1e-3)
    noisy = theirs.scale_noise(LATENTS, theirs.timesteps[places], NOISE)
    assert torch.allclose(ours.noisy(LATENTS, NOISE, t), noisy, atol=1e-6)
    assert torch.equal(ours.target(LATENTS, NOISE, t), NOISE - LATENTS)


def test_a_dynamic_shift_is_left_to_the_sampler():
    assert objective(FLOW | {"use_dynamic_shifting": True}).shift == 1.0


@pytest.mark.parametrize(
    ("config", "told"),
    [(CONFIGS["sd1"], {}), (CONFIGS["sd2"], {}), (FLOW, {}), (CONFIGS["sd1"], {"prediction": "flow"})],
)
def test_the_true_prediction_gives_the_latents_back(config, told):
    ours = objective(config, **told)
    t = ours.timesteps(torch.tensor([0.01, 0.2, 0.4, 0.6, 0.95]))
    x = ours.noisy(LATENTS, NOISE, t)
    assert torch.allclose(ours.clean(x, ours.target(LATENTS, NOISE, t), t), LATENTS, atol=2e-4)
    assert ours.loss(ours.target(LATENTS, NOISE, t), ours.target(LATENTS, NOISE, t), t) == 0


@pytest.mark.parametrize("config", [CONFIGS["sd1"], CONFIGS["sd2"], FLOW])
def test_min_snr_weighs_the_error_of_the_latents(config):
    """Whatever is predicted, the weighted error is min(γ, SNR) times that of the latents it implies."""
    ours = objective(config, min_snr=5.0)
    t = ours.timesteps(torch.tensor([0.15, 0.3, 0.5, 0.7, 0.9]))
    x = ours.noisy(LATENTS, NOISE, t)
    a, s = ours.levels(t)
    implied = (ours.clean(x, MADE, t) - LATENTS).square().flatten(1).mean(1)
    wanted = ((a / s).square().clamp(max=5) * implied).mean()
    assert torch.allclose(ours.loss(MADE, ours.target(LATENTS, NOISE, t), t), wanted, rtol=2e-3)


def test_without_min_snr_the_loss_is_the_plain_mean():
    ours = objective(CONFIGS["sd1"])
    assert torch.allclose(ours.loss(MADE, NOISE, T), torch.nn.functional.mse_loss(MADE, NOISE))


@pytest.mark.parametrize("config", [CONFIGS["sd1"], FLOW])
@pytest.mark.parametrize(
    ("told", "cumulative"),
    [
        ({"timesteps": "uniform"}, lambda x: x),
        ({"timesteps": "cubic"}, lambda x: 1 - (1 - x) ** (1 / 3)),
        (
            {"timesteps": "logit-normal", "logit_mean": 0.5, "logit_std": 0.8},
            lambda x: torch.special.ndtr((torch.logit(x) - 0.5) / 0.8),
        ),
    ],
)
def test_timesteps_have_the_distribution_that_is_named(config, told, cumulative):
    ours = objective(config, **told)
    t = ours.timesteps(torch.linspace(0.00005, 0.99995, 10_000))
    levels = torch.tensor([0.1, 0.3, 0.5, 0.8, 0.97])
    shifted = ours.shift * levels / (1 + (ours.shift - 1) * levels)
    found = (ours.share(t)[None] < shifted[:, None]).float().mean(1)
    assert torch.allclose(found, cumulative(levels), atol=2e-3)


@given(u=st.floats(0, 1, exclude_max=True), name=st.sampled_from(["uniform", "cubic", "logit-normal"]))
def test_timesteps_are_in_range(u, name):
    whole = objective(CONFIGS["sd1"], timesteps=name).timesteps(torch.tensor([u]))
    assert whole.dtype == torch.int64
    assert 0 <= int(whole) <= 999
    assert 0 <= float(objective(FLOW, timesteps=name).timesteps(torch.tensor([u]))) <= 1000


def test_offset_noise_moves_whole_channels():
    offsets = torch.randn(5, 4)
    moved = objective(CONFIGS["sd1"], offset_noise=0.1).noise(NOISE, offsets) - NOISE
    assert torch.allclose(moved, (0.1 * offsets)[:, :, None, None].expand_as(moved), atol=1e-6)
    assert torch.equal(objective(CONFIGS["sd1"]).noise(NOISE, offsets), NOISE)


def test_dropouts_take_what_they_name():
    u = torch.rand(50_000, 3, generator=torch.Generator().manual_seed(1))
    prompt, hint = dropped(u, ObjectiveSettings(prompt_dropout=0.3, hint_dropout=0.2, joint_dropout=0.1))
    assert abs(float(prompt.float().mean()) - (1 - 0.7 * 0.9)) < 0.01
    assert abs(float(hint.float().mean()) - (1 - 0.8 * 0.9)) < 0.01
    prompt, hint = dropped(u, ObjectiveSettings(prompt_dropout=0, joint_dropout=0.1))
    assert torch.equal(prompt, hint)
    assert abs(float(prompt.float().mean()) - 0.1) < 0.01
    assert not any(part.any() for part in dropped(u, ObjectiveSettings(prompt_dropout=0)))


def test_another_prediction_than_the_bases_is_told():
    assert objective(CONFIGS["sd1"]).warning is None
    assert objective(CONFIGS["sd1"], prediction="epsilon").warning is None
    assert "epsilon" in str(objective(CONFIGS["sd1"], prediction="v_prediction").warning)
    assert objective(CONFIGS["sd1"], prediction="flow").flow
    with pytest.raises(HackamoreError, match="flow-matching"):
        objective(FLOW, prediction="epsilon")
    with pytest.raises(HackamoreError, match="cannot be trained"):
        objective(SD | {"prediction_type": "sample"})
