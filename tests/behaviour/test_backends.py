"""Compiled graphs give what PyTorch gives, for every family of bases and controls, and never what is out of date."""

import copy
import os
import subprocess
import sys

import pytest
import torch

from hackamore.backends.backend import EAGER
from hackamore.backends.choose import LEAST, choose
from hackamore.backends.openvino import OpenVINO
from hackamore.bases.catalog import load_base
from hackamore.controls.adapter import new_adapter
from hackamore.controls.branch import new_control
from hackamore.controls.catalog import load_control
from hackamore.controls.union import new_union
from hackamore.controls.xs import new_xs
from hackamore.core.errors import HackamoreError
from hackamore.generate import generate
from hackamore.generate.plan import make_plan, on_backend
from hackamore.generate.replaying import replay

HINT = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return OpenVINO(tmp_path_factory.mktemp("graphs"))


def on(base, backend):
    mine = copy.copy(base)
    mine.backend = backend
    return mine


@torch.no_grad()
def randomise(control):
    """A control that speaks, also where it begins silent."""
    generator = torch.Generator().manual_seed(0)
    for parameter in control.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return control


def same(mine, reference):
    torch.testing.assert_close(mine, reference, atol=1e-4, rtol=0)


def latents(base, backend, units=(), **told):
    settings = {"seed": 1, "size": (64, 64), "steps": 3} | told
    return generate(on(base, backend), "a red circle", controls=units, **settings).latents


def files(backend):
    return {path.name: path.stat().st_mtime_ns for path in backend.folder.glob("*.graph")}


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_every_kind_of_control_beside_a_base(family, request, compiled):
    base = request.getfixturevalue(family)
    branch = randomise(new_control(base, "canny")).eval()
    adapter = randomise(new_adapter(base, "depth")).eval()
    units = [branch.unit(HINT, scale=0.7, end=0.7), branch.unit(HINT, mode="guess"), adapter.unit(HINT)]
    same(latents(base, compiled, units), latents(base, EAGER, units))


def test_a_union_is_compiled_with_one_hint_and_with_several(sd1, tmp_path):
    union = randomise(new_union(sd1, ("canny", "seg"))).eval()
    units = [union.unit(HINT, "canny", schedule="1@0/0.2@1"), union.unit(HINT, "seg", scale=0.5)]
    backend = OpenVINO(tmp_path)
    same(latents(sd1, backend, units), latents(sd1, EAGER, units))
    assert len(files(backend)) == 3  # union, base and decoder
    same(latents(sd1, backend, units[1:]), latents(sd1, EAGER, units[1:]))
    assert len(files(backend)) == 4


def test_a_control_inside_the_base_leaves_the_base_to_pytorch(sd1, tmp_path):
    xs = randomise(new_xs(sd1, "canny", size_ratio=0.5)).eval()
    branch = randomise(new_control(sd1, "canny")).eval()
    backend, units = OpenVINO(tmp_path), [xs.unit(HINT), branch.unit(HINT)]
    same(latents(sd1, backend, units), latents(sd1, EAGER, units))
    assert len(files(backend)) == 2  # branch and decoder


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_transformers(family, request, compiled):
    base = request.getfixturevalue(family)
    control = randomise(new_control(base, "canny")).eval()
    told = {"size": (64, 64), "guidance": 1.0 if base.distilled else 4.0}
    units = [control.unit(HINT)]
    same(latents(base, compiled, units, **told), latents(base, EAGER, units, **told))


def test_a_graph_is_kept_for_the_next_start_and_a_damaged_one_is_made_again(sd1, tmp_path):
    first = OpenVINO(tmp_path)
    expected = latents(sd1, first)
    kept = files(first)
    assert len(kept) == 2
    assert torch.equal(latents(sd1, OpenVINO(tmp_path)), expected)
    assert files(first).keys() == kept.keys()
    (tmp_path / next(iter(kept))).write_bytes(b"not a graph")
    assert torch.equal(latents(sd1, OpenVINO(tmp_path)), expected)
    assert (tmp_path / next(iter(kept))).stat().st_size > 1000


def test_a_graph_has_the_same_name_in_every_process():
    code = (
        "import hackamore as hk; base = hk.load_base('meadow', backend='openvino');"
        "control = hk.load_control('meadow/canny', base);"
        "print([base.backend._name(one, 'form') for one in (base.network, control)])"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        )
        for seed in ("1", "2")
    ]
    assert told[0].stdout == told[1].stdout


def test_a_signal_is_still_heard_after_backends_came_and_went():
    code = (
        "import gc, signal, torch; from hackamore.backends.openvino import OpenVINO;"
        "heard = []; signal.signal(signal.SIGINT, lambda *_: heard.append(1));"
        "line = torch.nn.Linear(3, 3).eval(); backends = [OpenVINO(), OpenVINO()];"
        "[one.run(line, line.forward, torch.zeros(1, 3)) for one in backends];"
        "backends.pop(0); gc.collect(); backends.pop(); gc.collect();"
        "signal.raise_signal(signal.SIGINT); print(heard)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (told.returncode, told.stdout) == (0, "[1]\n")


def test_changed_weights_and_settings_are_never_answered_by_an_old_graph(sd1, tmp_path):
    backend, branch = OpenVINO(tmp_path), randomise(new_control(sd1, "canny")).eval()
    units = [branch.unit(HINT)]
    before = latents(sd1, backend, units)
    with torch.no_grad():
        branch.zero_mid.weight.mul_(2)
    changed = latents(sd1, backend, units)
    same(changed, latents(sd1, EAGER, units))
    assert (changed - before).abs().max() > 1e-3
    other = copy.deepcopy(branch)
    other.pools = True
    same(latents(sd1, backend, [other.unit(HINT)]), latents(sd1, EAGER, [other.unit(HINT)]))


def test_a_control_in_training_is_pytorchs(sd1, tmp_path):
    backend = OpenVINO(tmp_path)
    latents(sd1, backend, [new_control(sd1, "canny").unit(HINT)])
    assert len(files(backend)) == 2  # base and decoder


def test_a_folder_that_cannot_be_written_costs_only_the_next_start(sd1, tmp_path):
    place = tmp_path / "file"
    place.write_text("in the way", "utf-8")
    same(latents(sd1, OpenVINO(place)), latents(sd1, EAGER))


def test_a_recipe_says_what_ran_it_and_is_replayed_so(meadow, monkeypatch, tmp_path):
    monkeypatch.setenv("HACKAMORE_CACHE", str(tmp_path))
    base = load_base("meadow", backend="openvino")
    unit = load_control("meadow/canny", base).unit(HINT.repeat(1, 1, 2, 2))
    made = generate(base, "a lake", controls=[unit], steps=2)
    recipe = made.images[0].recipe
    assert recipe.machine.backend.startswith("cpu, openvino ")
    again = replay(recipe)
    assert not recipe.differences(again.images[0].recipe)
    assert (again.images[0].pixels == made.images[0].pixels).all()
    assert (tmp_path / "graphs").is_dir()


def test_automatic_choice_depends_on_the_picture_alone(sd1):
    backend = choose("auto", torch.device("cpu"), torch.float32)
    assert isinstance(backend, OpenVINO)
    assert backend.least == LEAST
    base = on(sd1, backend)
    assert on_backend(make_plan(base, ["a"] * 50, size=(64, 64), steps=4)).backend is EAGER
    assert on_backend(make_plan(base, ["a"], size=(512, 512), steps=20)).backend is backend
    assert choose("auto", torch.device("cpu"), torch.bfloat16) is EAGER
    assert choose("auto", torch.device("cpu"), torch.float32, whole=False) is EAGER
    assert choose("torch", torch.device("cpu"), torch.float32) is EAGER


def test_a_server_compiles_what_is_asked_for_often(sd1):
    backend = choose("auto", torch.device("cpu"), torch.float32, often=True)
    base = on(sd1, backend)
    small = {"size": (64, 64), "steps": 20}  # 2,560 steps × cells × halves
    chosen = [on_backend(make_plan(base, ["a"], **small)).backend for _ in range(21)]
    assert chosen == [EAGER] * 19 + [backend] * 2
    assert on_backend(make_plan(base, ["a"], guidance=1, **small)).backend is EAGER
    assert on_backend(make_plan(base, ["a"], fast=2, size=(64, 64))).backend is EAGER


@pytest.mark.parametrize(
    ("name", "dtype", "whole", "words"),
    [
        ("openvin", torch.float32, True, "unknown backend"),
        ("openvino", torch.bfloat16, True, "cannot run this base"),
        ("openvino", torch.float32, False, "cannot run this base"),
    ],
)
def test_a_backend_that_cannot_be_is_refused(name, dtype, whole, words):
    with pytest.raises(HackamoreError, match=words):
        choose(name, torch.device("cpu"), dtype, whole=whole)


def test_without_openvino_automatic_is_pytorch_and_asking_for_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("hackamore.backends.choose.is_usable", lambda: False)
    assert choose("auto", torch.device("cpu"), torch.float32) is EAGER
    with pytest.raises(HackamoreError, match="not installed"):
        choose("openvino", torch.device("cpu"), torch.float32)
