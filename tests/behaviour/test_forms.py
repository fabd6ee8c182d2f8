"""What every trained form promises: nothing at first, then learning from the zero layers inwards, and a file of it."""

from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open

from hackamore.controls.catalog import load_control
from tests.form_models import CASES, Asked, kinds_of, new_form, steered, train


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def run(request, tmp_path_factory):
    """Three steps of a form on one batch, and what was seen of them."""
    name, kind = request.param
    base = request.getfixturevalue(name)
    locked = {key: value.clone() for key, value in base.network.state_dict().items()}
    form, asked = new_form(base, kind), Asked(base, kind)
    start = {key: p.detach().clone() for key, p in form.named_parameters() if p.requires_grad}
    mine = dict(form.named_parameters())
    with torch.no_grad():
        silent = torch.equal(asked.of(form), asked.plain(form))
    moved = []
    losses = train(form, asked, after=lambda _: moved.append({k for k in start if not torch.equal(mine[k], start[k])}))
    folder = tmp_path_factory.mktemp("control")
    return SimpleNamespace(
        base=base, form=form, asked=asked, locked=locked, start=start, silent=silent, moved=moved, losses=losses,
        folder=folder, paths=form.write(folder),
    )  # fmt: skip


def test_fresh_it_is_a_no_op_bit_for_bit(run):
    assert run.form.fresh
    assert run.silent


def test_the_first_step_moves_only_what_is_zero_and_the_next_ones_what_lies_behind(run):
    zero = {name for name, value in run.start.items() if not value.any()}
    first, second, third = run.moved
    assert first
    assert first <= zero
    late = run.form.form == "control-lora"  # whose second step moves the zeros inside its layers
    assert second - (first if late else zero), "from the second step on the rest learns too"
    assert third - zero
    assert first <= second <= third
    assert all(p.grad is not None for p in run.form.parameters() if p.requires_grad)


def test_every_parameter_learns_by_the_third_step(run):
    """But some in the mid block, which here looks at a single pixel (four levels), or at four."""
    late = set(run.start) - run.moved[2]
    lone = len(run.base.sites.encoder) == 4
    if run.form.form == "control-lora":
        inside = {f"network.factors.{number}." for number, name in enumerate(run.form.network.layers) if "mid" in name}
        assert all(any(name.startswith(part) for part in inside) for name in late)
    else:
        assert all(lone and "mid" in name for name in late)


def test_the_base_stays_as_it_is_and_hears_no_gradient(run):
    now = run.base.network.state_dict()
    assert all(torch.equal(value, run.locked[key]) for key, value in now.items())
    assert all(p.grad is None for p in run.base.network.parameters())
    mine = {p.data_ptr() for p in run.form.parameters()}
    assert not mine & {p.data_ptr() for p in run.base.network.parameters()}


def test_three_steps_lower_the_loss(run):
    with torch.no_grad():
        assert float(run.asked.loss(run.form)) < run.losses[0]


def test_groups_hold_every_trained_parameter_once(run):
    groups = run.form.groups(1e-3)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in run.form.parameters() if p.requires_grad)
    assert [group["scale"] for group in groups] == [1.0, run.form.settings.zero_scale]
    zero = {id(p) for name, p in run.form.named_parameters() if name in run.moved[0]}
    assert zero - {id(p) for p in groups[1]["params"]} == set() or run.form.form == "t2i-adapter"


def test_every_file_steers_as_the_trained_control(run):
    kinds = kinds_of(run.form.form)
    with torch.no_grad():
        mine, off = run.asked.of(run.form), run.asked.plain(run.form)
    effect = float((mine - off).abs().max())
    assert effect > 1e-3
    for place in (run.folder, *run.paths):
        control = load_control(place, run.base)
        made = steered(run.base, control, run.asked, kinds)
        assert float((made - mine).abs().max()) < 1e-3 * effect, place.name
        assert control.condition == (kinds[0] if len(kinds) == 1 else None)


def test_every_header_says_what_the_file_is(run):
    hashes = set(run.base.sha256.values())
    for path in run.paths:
        with safe_open(path, "pt") as file:
            told = file.metadata()
        assert told["hackamore.form"] == run.form.form
        assert told["hackamore.kinds"] == ",".join(kinds_of(run.form.form))
        assert told["hackamore.family"] == run.base.family
        assert told["hackamore.base"] in hashes
        assert told["hackamore.version"]
        assert "/" not in "".join(told[name] for name in told if name.startswith("hackamore.b"))
