"""Controls inside the base: silent they are not there, they act when and where told, a shared base stays as it is."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from hackamore.controls.branch import new_control
from hackamore.controls.compose import Composition
from hackamore.controls.control import Voice
from hackamore.controls.formats.file import open_control
from hackamore.controls.formats.ip_adapter import read_ip_adapter
from hackamore.controls.lllite import new_lllite
from hackamore.controls.reference import reference_control
from hackamore.controls.xs import new_xs
from hackamore.core.errors import HackamoreError
from hackamore.core.residuals import Residuals
from hackamore.generate import check, generate
from tests.attached_models import HINT, made, stirred, write_ip_adapter
from tests.conftest import randomise

KINDS = ("xs", "lllite", "reference", "ip_adapter")
PROMPTS = ["a lake", "a red circle"]
X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
HALF = torch.cat([torch.ones(1, 1, 64, 32), torch.zeros(1, 1, 64, 32)], 3)


@pytest.fixture(scope="session")
def adapter_file(sd1, tmp_path_factory):
    return write_ip_adapter(sd1, tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="session")
def controls(sd1, adapter_file):
    return {
        "xs": stirred(new_xs(sd1, size_ratio=0.5, own_time=True)),
        "lllite": stirred(new_lllite(sd1)),
        "reference": reference_control(sd1),
        "ip_adapter": read_ip_adapter(open_control(adapter_file), sd1),
    }


def spoken(control, base, strength=1.0, mask=None, unconditional=0):
    """``base`` with the control inside, spoken to as in one step with two rows."""

    def repeated(value):
        if isinstance(value, dict):
            return {name: repeated(part) for name, part in value.items()}
        if isinstance(value, list):
            return [repeated(part) for part in value]
        return value.expand(2, *value.shape[1:]) if isinstance(value, torch.Tensor) else value

    voice = Voice(strength, repeated(control.prepare(HINT)), mask=mask, unconditional=unconditional)
    return control.attach(base, voice), voice


def asked(base, told=None):
    with torch.no_grad():
        return base.predict(X, torch.tensor(400), base.encode_text(PROMPTS), told)


def composed(base, *units, steps=1, text=None):
    """What a Composition makes of a few steps under guidance."""
    composition, x, text = Composition(units, base), X, text or base.encode_text(PROMPTS)
    first, own = slice(0, 1), [None] * len(units)
    with torch.no_grad():
        for index in range(steps):
            x = x + composition.predict(x, torch.tensor(700 - index), text, index, steps, first, own)
    return x


@pytest.mark.parametrize("kind", KINDS)
def test_silent_it_is_not_there_and_the_base_never_changes(sd1, controls, kind):
    before, shown, weights = asked(sd1), repr(sd1.unet), [p.clone() for p in sd1.unet.parameters()]
    config = dict(sd1.unet.config)
    inside, voice = spoken(controls[kind], sd1)
    assert not torch.equal(asked(inside), before)
    voice.strength = 0
    assert torch.equal(asked(inside), before)
    assert torch.equal(asked(sd1), before)
    assert repr(sd1.unet) == shown
    assert dict(sd1.unet.config) == config
    assert all(torch.equal(a, b) for a, b in zip(weights, sd1.unet.parameters(), strict=True))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in sd1.unet.modules())
    assert all(a is b for a, b in zip(inside.unet.parameters(), sd1.unet.parameters(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_generations_without_strength_are_those_of_the_base(sd1, controls, kind):
    free = made(sd1)
    assert torch.equal(made(sd1, controls[kind].unit(HINT, scale=0)), free)
    assert torch.equal(made(sd1, controls[kind].unit(HINT, start=0.9, end=0.95)), free)
    assert not torch.equal(made(sd1, controls[kind].unit(HINT)), free)


@pytest.mark.parametrize("fresh", [new_xs, new_lllite])
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "meadow"])
def test_fresh_ones_change_nothing_bit_for_bit(request, fresh, family):
    base = request.getfixturevalue(family)
    told = {"size_ratio": 0.5, "own_time": True} if fresh is new_xs else {}
    control = fresh(base, "canny", **told)
    assert torch.equal(asked(spoken(control, base, 1.7)[0]), asked(base))


def test_silent_steps_cost_nothing(sd1, controls):
    runs = []
    handles = [
        controls["xs"].conv_in.register_forward_hook(lambda *_: runs.append("xs")),
        controls["lllite"]
        .parts[next(iter(controls["lllite"].parts))]
        .register_forward_hook(lambda *_: runs.append("lllite")),
    ]
    made(sd1, controls["xs"].unit(HINT, start=0.25, end=0.75), controls["lllite"].unit(HINT, end=0.25))
    for handle in handles:
        handle.remove()
    assert (runs.count("xs"), runs.count("lllite")) == (2, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_strength_grows_from_nothing(sd1, controls, kind):
    if kind == "xs":
        plain = stirred(new_xs(sd1, size_ratio=0.5))  # a time embedding of its own is heard at any strength
        little, much = (asked(spoken(plain, sd1, strength)[0]) for strength in (1e-3, 1.0))
    else:
        little, much = (asked(spoken(controls[kind], sd1, strength)[0]) for strength in (1e-3, 1.0))
    free = asked(sd1)
    assert 0 < float((little - free).abs().max()) < 0.01 * float((much - free).abs().max()) + 1e-5


FIRST = "down_blocks.0.attentions.0.transformer_blocks.0."
FIRST_HEARD = {
    "xs": "conv_in",
    "lllite": f"{FIRST}attn1.to_q",
    "reference": f"{FIRST}attn1.to_out.0",
    "ip_adapter": f"{FIRST}attn2.to_out.0",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_keeps_it_in_its_region(sd1, controls, kind):
    def heard(base):
        base, kept = base.view(), []
        base.unet.get_submodule(FIRST_HEARD[kind]).register_forward_hook(lambda *told: kept.append(told[2]))
        asked(base)
        return kept[0] if kept[0].ndim == 4 else kept[0].transpose(1, 2).unflatten(-1, (8, 8))

    free, whole = heard(sd1), heard(spoken(controls[kind], sd1)[0])
    white = heard(spoken(controls[kind], sd1, mask=torch.ones(1, 1, 64, 64))[0])
    masked = heard(spoken(controls[kind], sd1, mask=HALF)[0])
    assert torch.equal(white, whole)
    torch.testing.assert_close(masked[..., :4], whole[..., :4])
    torch.testing.assert_close(masked[..., 4:], free[..., 4:])
    assert float((whole - free).abs().max()) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_halves_of_guidance(sd1, controls, kind):
    inside, voice = spoken(controls[kind], sd1, unconditional=1)
    both, free = asked(inside), asked(sd1)
    voice.silent = 1
    half = asked(inside)
    torch.testing.assert_close(half[:1], free[:1], rtol=0, atol=2e-6)
    torch.testing.assert_close(half[1:], both[1:], rtol=0, atol=2e-6)
    assert not torch.equal(both[:1], free[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_modes_and_layer_weights(sd1, controls, kind):
    outputs = len(sd1.sites.skips) + 1
    plain = composed(sd1, controls[kind].unit(HINT))
    assert torch.equal(composed(sd1, controls[kind].unit(HINT, weights=[1.0] * outputs)), plain)
    for mode in ("prompt", "control", "guess"):
        assert float((composed(sd1, controls[kind].unit(HINT, mode=mode)) - plain).abs().max()) > 1e-4
    with pytest.raises(HackamoreError, match="2 layer weights"):
        composed(sd1, controls[kind].unit(HINT, weights=[1.0, 1.0]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_does_not_depend_on_its_batch(sd1, controls, kind):
    hints = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    together = made(sd1, controls[kind].unit(hints), num=2, batch=2)
    for k in range(2):
        alone = made(sd1, controls[kind].unit(hints[k : k + 1]), seed=5 + k)
        assert float((together[k] - alone[0]).abs().max()) <= 1e-4
    assert torch.equal(alone, made(sd1, controls[kind].unit(hints[1:]), seed=6))


def test_several_at_once_in_any_order(sd1, controls):
    units = [controls[kind].unit(HINT, scale=0.6) for kind in KINDS]
    units.append(stirred(new_xs(sd1, size_ratio=0.25), 3).unit(HINT, scale=0.5))
    units.append(randomise(new_control(sd1), size=0.05).unit(HINT, scale=0.7))
    one, other = composed(sd1, *units), composed(sd1, *reversed(units))
    assert one.isfinite().all()
    assert float((one - other).abs().max()) <= 1e-4
    for k, unit in enumerate(units):
        fewer = composed(sd1, *units[:k], *units[k + 1 :])
        assert float((one - fewer).abs().max()) > 1e-3, unit.control.name


def test_what_others_say_reaches_its_place_beside_an_xs(sd1, controls):
    generator = torch.Generator().manual_seed(3)
    sides = [8, 8, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1]
    skips = tuple(
        torch.randn(2, width, side, side, generator=generator)
        for width, side in zip(sd1.sites.skips, sides, strict=True)
    )
    levels = tuple(
        torch.randn(2, width, side, side, generator=generator)
        for width, side in zip(sd1.sites.encoder, (8, 4, 2, 1), strict=True)
    )
    told = Residuals(skips, skips[-1], levels)
    fresh, _ = spoken(new_xs(sd1, size_ratio=0.5), sd1)
    assert torch.equal(asked(fresh, told), asked(sd1, told))
    inside, _ = spoken(controls["xs"], sd1)
    for part in (Residuals(skips), Residuals(mid=skips[-1]), Residuals(encoder=levels)):
        assert not torch.equal(asked(inside, part), asked(inside))
    again = asked(inside, Residuals(skips) + Residuals(mid=skips[-1]) + Residuals(encoder=levels))
    assert torch.equal(again, asked(inside, told))


def test_two_generations_share_a_base_in_threads(sd1, controls):
    text = sd1.encode_text(PROMPTS)

    def steered(kind):
        units = [] if kind is None else [controls[kind].unit(HINT, schedule="1@0/0.5@0.5")]
        return composed(sd1, *units, steps=4, text=text)

    kinds = [*KINDS, None]
    alone = [steered(kind) for kind in kinds]
    with ThreadPoolExecutor(len(kinds)) as pool:
        together = list(pool.map(steered, kinds))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert len({float(x.sum()) for x in alone}) == len(kinds)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "meadow"])
def test_a_reference_works_on_every_family(request, family):
    base = request.getfixturevalue(family)
    control, text = reference_control(base), base.encode_text(PROMPTS)
    free, low, high = (
        composed(base, *told, text=text) for told in ((), *([control.unit(HINT, fidelity=f)] for f in (0.0, 1.0)))
    )
    assert low.isfinite().all()
    assert not torch.equal(low, free)
    assert torch.equal(high[:1], free[:1])  # a fidelity of 1 leaves the unconditional half alone
    assert torch.equal(high[1:], low[1:])
    assert torch.equal(high, composed(base, control.unit(HINT, fidelity=1.0), text=text))


def test_a_reference_is_noised_between_timesteps_too(sd1):
    unit = reference_control(sd1).unit(HINT)
    steered = made(sd1, unit, scheduler="euler")
    assert torch.equal(steered, made(sd1, unit, scheduler="euler"))
    assert not torch.equal(steered, made(sd1, scheduler="euler"))


def test_a_reference_is_what_plain_attention_over_both_makes_of_it(sd1):
    """The first self-attention beside softmax(q·[k, k']ᵀ/√d)·[v, v'] of features kept by hand."""
    unet, path = sd1.unet, f"{FIRST}attn1"
    control = reference_control(sd1)
    told, t, text = control.prepare(HINT), torch.tensor(400), sd1.encode_text(PROMPTS)
    alpha = (1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2).cumprod(0)[400]
    noised = (alpha.sqrt() * told["latents"] + (1 - alpha).sqrt() * told["noise"]).expand(2, -1, -1, -1)

    def entering(network, x):
        kept, view = [], network.view()
        view.unet.get_submodule(path).register_forward_pre_hook(lambda _, args: kept.append(args[0]))
        view.predict(x, t, text)
        return kept[0]

    with torch.no_grad():
        mine, theirs, attention = entering(sd1, X), entering(sd1, noised), unet.get_submodule(path)
        both = torch.cat([mine, theirs], 1)
        query, key, value = attention.to_q(mine), attention.to_k(both), attention.to_v(both)
        query, key, value = (x.unflatten(2, (attention.heads, -1)).transpose(1, 2) for x in (query, key, value))
        weights = (query @ key.transpose(2, 3) * query.shape[-1] ** -0.5).softmax(-1)
        expected = attention.to_out[0]((weights @ value).transpose(1, 2).flatten(2))
        inside, kept = spoken(control, sd1)[0].view(), []
        inside.unet.get_submodule(path).register_forward_hook(lambda *told: kept.append(told[2]))
        inside.predict(X, t, text)
    torch.testing.assert_close(kept[0], expected, rtol=0, atol=1e-5)


def test_two_references_add_up_in_either_order(sd1):
    control, text = reference_control(sd1), sd1.encode_text(PROMPTS)
    a, b = control.unit(HINT, fidelity=0.0), control.unit(1 - HINT, fidelity=0.0)
    both, other, alone = (composed(sd1, *told, text=text) for told in ((a, b), (b, a), (b,)))
    assert (both - other).abs().max() <= 1e-5
    assert (both - alone).abs().max() >= 1e-3


@pytest.mark.parametrize("size", [(64, 96), (104, 136)])
def test_masks_reach_what_acts_inside_at_any_size(sd1, size):
    hint = torch.rand(1, 3, size[1], size[0])
    mask = torch.ones(1, 1, size[1], size[0])
    mask[..., : size[1] // 2, :] = 0
    unit = reference_control(sd1).unit(hint, mask=mask)
    latents = generate(sd1, "a lake", controls=[unit], size=size, steps=1, seed=1, scheduler="ddim").latents
    assert latents.isfinite().all()


def test_a_fidelity_that_is_no_number_is_refused_before_any_work(sd1):
    from hackamore.controls.unit import Unit

    with pytest.raises(HackamoreError, match="fidelity is out of range"):
        check(sd1, ["a lake"], controls=[Unit(reference_control(sd1), HINT, fidelity="x")], size=(64, 64))
