"""Options of a base that change its pictures as they say, or not at all: offloading, precision, compiling, tiles."""

import numpy as np
import pytest
import torch

from hackamore.bases.catalog import load_base
from hackamore.bases.memory import check_compiler, compiled, offloaded
from hackamore.bases.view import view_of
from hackamore.controls.branch import new_control
from hackamore.core.errors import HackamoreError
from hackamore.core.image import to_hint
from hackamore.generate import generate
from tests.base_pictures import ours
from tests.conftest import randomise

HINT = to_hint(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["model", "sequential"])
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_offloading_changes_no_picture(request, family, kind):
    base = request.getfixturevalue(family)
    away = offloaded(base, kind, torch.device("cpu"))
    if kind == "sequential":
        assert all(parameter.is_meta for parameter in away.unet.parameters())
    assert torch.equal(ours(away), ours(base))
    assert not any(parameter.is_meta for parameter in base.unet.parameters())
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    assert torch.equal(away.encode(picture), base.encode(picture))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_what_an_offloaded_base_does_with_its_weights_moves_no_other(request, family):
    base = request.getfixturevalue(family)
    away = offloaded(base, "model", torch.device("cpu"))
    for name, part in away.parts().items():
        pairs = list(zip(part.parameters(), base.parts()[name].parameters(), strict=True))
        assert all(one is not other and one.data_ptr() == other.data_ptr() for one, other in pairs)
    away.unet.double()  # in place, as a move to another device
    assert {parameter.dtype for parameter in base.unet.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in away.bare.parameters()} == {torch.float64}


@pytest.mark.parametrize("kind", ["model", "sequential"])
def test_controls_beside_an_offloaded_base(sd1, kind):
    away = offloaded(sd1, kind, torch.device("cpu"))
    made = []
    for base in (away, sd1):
        torch.manual_seed(0)
        made.append(ours(base, controls=[randomise(new_control(base, "canny")).unit(HINT)]))
    assert torch.equal(*made)
    assert not torch.equal(made[0], ours(sd1))


@pytest.mark.parametrize("kind", ["model", "sequential"])
def test_what_is_put_into_a_view_of_an_offloaded_network_is_run(sd1, kind):
    away = offloaded(sd1, kind, torch.device("cpu"))
    view, seen = away.view(), []
    view.unet.mid_block.register_forward_hook(lambda *_: seen.append(True))
    view.unet.conv_out = torch.nn.Identity()
    x, t, text = torch.randn(1, 4, 8, 8), torch.tensor(300), away.encode_text(["a lake"])
    assert view.predict(x, t, text).shape[1] == 16
    assert seen == [True]
    assert torch.equal(away.predict(x, t, text), sd1.predict(x, t, text))
    assert seen == [True]


def test_views_bind_methods_and_calls_to_themselves():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2))
    network.bound = network.parameters
    view = view_of(network)
    view[0] = torch.nn.Linear(2, 3)
    assert [p.shape for p in view.bound()] == [p.shape for p in view[0].parameters()]
    assert [p.shape for p in network.bound()] == [p.shape for p in network[0].parameters()]


def test_tiles_and_slices_decode_nearly_the_same(meadow):
    made = generate(meadow, "mountains with a lake at noon", seed=1, num=2, batch=2, size=(160, 128), steps=2)
    latents = made.latents
    tiled = load_base("meadow", device="cpu", tiling=True, slicing=True)
    sliced = load_base("meadow", device="cpu", slicing=True)
    torch.testing.assert_close(sliced.decode(latents), meadow.decode(latents), rtol=0, atol=1e-5)
    tiled.vae.tile_latent_min_size, tiled.vae.tile_sample_min_size = 12, 96
    difference = (tiled.decode(latents) - meadow.decode(latents)).abs()
    assert 0 < float(difference.mean()) < 0.02
    assert not meadow.vae.use_tiling
    assert tiled.options == {"tiling": True, "slicing": True}


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_half_precision_is_near(request, family, dtype):
    base = request.getfixturevalue(family)
    half = load_base(request.getfixturevalue(f"{family}_folder"), device="cpu", dtype=dtype)
    whole, near = ours(base), ours(half)
    assert near.isfinite().all()
    assert float((near.float() - whole).norm() / whole.norm()) < 0.1
    assert half.decode(near).isfinite().all()
    kept = torch.float32 if (family, dtype) == ("sdxl", "fp16") else half.dtype
    assert half.vae.dtype == kept


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_networks_take_controls_and_views(meadow):
    mine = compiled(meadow, backend="eager")
    x, t, text = torch.randn(1, 4, 8, 8), torch.tensor(300), meadow.encode_text(["a lake"])
    control = randomise(new_control(mine, "canny"))
    told = control.residuals(x, t, text, control.prepare(HINT))
    torch.testing.assert_close(mine.predict(x, t, text, told), meadow.predict(x, t, text, told), rtol=0, atol=1e-4)
    view = mine.view()
    assert view.unet._compiled_call_impl is not None
    assert view.unet._compiled_call_impl is not mine.unet._compiled_call_impl
    assert meadow.unet._compiled_call_impl is None


def test_without_a_compiler_a_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(HackamoreError, match="cannot compile"):
        check_compiler(torch.device("cpu"))
