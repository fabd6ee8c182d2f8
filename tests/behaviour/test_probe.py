"""Probes tell how well a control is obeyed while it trains, rank controls rightly, and leave no trace in the run."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from hackamore.annotators.canny import Canny
from hackamore.bases.catalog import load_base
from hackamore.controls.catalog import load_control
from hackamore.core.errors import HackamoreError
from hackamore.core.skeleton import People
from hackamore.data.dataset import open_dataset
from hackamore.data.evaluation import Example
from hackamore.data.settings import DataSettings
from hackamore.data.worlds import write_worlds
from hackamore.training.calm import undisturbed
from hackamore.training.forms.make import make_form
from hackamore.training.gain import Gain, encoded
from hackamore.training.log import read_log
from hackamore.training.objective import Objective
from hackamore.training.probe import Probe, probe_examples
from hackamore.training.settings import ControlSettings, ObjectiveSettings, ProbeSettings
from hackamore.training.trainer import train
from tests.conftest import randomise
from tests.tiny_runs import RUN, Data, Small, squares

FEW = ProbeSettings(count=4, steps=2, every=2, guidance=1)


@pytest.fixture(scope="module")
def worlds():
    return probe_examples(ProbeSettings(data="worlds", count=3), ["canny"], (128, 128), None)[1]["canny"]


def test_a_run_with_probes_is_the_run_without_bit_for_bit(sd1, tmp_path):
    data = Data.of(sd1, squares())
    weights, losses = [], []
    for name in ("without", "with"):
        task = Small(sd1, data)
        task.noisy = True  # what a step draws from the global generator, a probe must not draw
        if name == "with":
            told = {"networks": [task.form], "precision": "bf16", "training_gain": task.gain(squares(3))}
            task.examine = Probe(sd1, task.form.unit, squares(3), "canny", FEW, task.gain(squares(3)), **told)
        torch.manual_seed(7)
        train(task, RUN, tmp_path / name, probe=None if name == "without" else FEW)
        weights.append(torch.load(tmp_path / name / "weights.pt", weights_only=True))
        log = read_log(tmp_path / name / "log.jsonl")
        losses.append([row["loss"] for row in log if "loss" in row])
    found = [row["probe"] for row in log if "probe" in row]
    assert len(found) == 2  # one in the middle, one at the end
    assert losses[0] == losses[1]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weight, weights[1][key]) for key, weight in weights[0].items())


def test_nothing_is_disturbed_even_by_an_error(sd1):
    network = sd1.unet
    network.down_blocks[0].train()
    threads = torch.get_num_threads()
    draws = [lambda: torch.rand(1).item(), lambda: np.random.rand(), random.random]
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(3)
    before = [draw() for draw in draws]
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(3)

    def look():
        with undisturbed([network]):
            assert not any(module.training for module in network.modules())
            torch.set_num_threads(threads + 1)
            assert [draw() for draw in draws] == before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look()
    assert [draw() for draw in draws] == before
    assert network.down_blocks[0].training
    assert network.down_blocks[0].resnets[0].training
    assert not network.mid_block.training
    assert torch.get_num_threads() == threads
    network.eval()


def test_a_probe_ranks_the_shipped_control_by_its_scale(meadow, worlds):
    control = load_control("meadow/canny", meadow)
    settings = ProbeSettings(data="worlds", count=3, steps=2, guidance=1)
    found = {}
    for scale in (1.0, 0.5, 0.0):
        probe = Probe(meadow, lambda hint, _, s=scale: control.unit(hint, scale=s), worlds, "canny", settings)
        found[scale] = probe()
    assert found[1.0]["normalised"] > found[0.5]["normalised"] > found[0.0]["normalised"]
    for told in found.values():
        assert told["off"] == found[0.0]["figure"]
        assert told["idle"] == found[0.0]["normalised"]
        assert told["ceiling"] == found[0.0]["ceiling"] > told["floor"]
        assert 0 <= told["captions"] <= 1
        assert told["gain"] is None
    assert probe() == found[0.0]


def test_bf16_finds_about_the_same(meadow, worlds):
    control = load_control("meadow/canny", meadow)
    settings = ProbeSettings(data="worlds", count=2, steps=2, guidance=1)
    made = [
        Probe(meadow, lambda hint, _: control.unit(hint), worlds[:2], "canny", settings, precision=precision)()
        for precision in ("no", "bf16")
    ]
    assert made[0] != made[1]
    assert made[1]["figure"] == pytest.approx(made[0]["figure"], abs=0.05)


def test_a_kind_without_a_figure_is_probed_by_its_gain(sd1):
    probe = Probe(sd1, lambda hint, _: [], squares(3), "shape", FEW, lambda: 0.25)
    assert probe() == dict.fromkeys(("figure", "floor", "ceiling", "normalised", "off", "idle")) | {"gain": 0.25}
    assert probe.notices == ("there is no control-fidelity figure for shape; of shape the hint gain alone is probed",)
    misspelt = Probe(sd1, lambda hint, _: [], squares(3), "cany", FEW, lambda: 0.25)
    assert "(did you mean canny?)" in misspelt.notices[0]


def test_what_cannot_be_read_back_is_said(sd1):
    drawn = [Example(e.name, e.caption, e.picture, {"pose": e.given["canny"]}) for e in squares(2)]
    assert "needs key points" in Probe(sd1, None, drawn, "pose", FEW).notices[0]
    there = [Example(e.name, e.caption, e.picture, e.given, People((), (64, 64))) for e in drawn]
    assert Probe(sd1, None, there, "pose", FEW).notices == ()
    assert "needs two examples" in Probe(sd1, None, squares(1), "canny", FEW).notices[0]
    assert "no condition" in Probe(sd1, None, squares(2), None, FEW).notices[0]


def test_settings_say_as_what_a_hint_is_read_back(sd1):
    told = FEW.model_copy(update={"kind": "canny"})
    probe = Probe(sd1, make_form(sd1, ControlSettings(), ["shape"]).unit, squares(3), "shape", told)
    found = probe()
    assert probe.notices == ()
    assert found["figure"] is not None
    assert found["gain"] is None


def test_a_union_is_probed_by_kind_and_decided_by_the_mean(sd1):
    form = make_form(sd1, ControlSettings(form="union"), ["canny", "scribble", "shape"])
    some = [Example(e.name, e.caption, e.picture, e.given | {"scribble": e.given["canny"]}) for e in squares(3)]
    probe = Probe(sd1, form.unit, some, ["canny", "scribble", "shape"], FEW)
    found = probe()
    assert [notice for notice in probe.notices if "shape" in notice] == list(probe.notices)
    each = [value for kind in ("canny", "scribble") if (value := found[f"{kind}.normalised"]) is not None]
    assert found["normalised"] == (pytest.approx(np.mean(each), abs=1e-6) if each else None)
    assert found["figure"] is None
    assert found["canny.figure"] is not None


def test_examples_of_several_sizes_are_probed_together(sd1):
    form = make_form(sd1, ControlSettings(), ["canny"])
    some = [*squares(2), *squares(2, 96)]
    found = Probe(sd1, form.unit, some, "canny", FEW, gain_of(form, some), batch=2)()
    assert found["figure"] is not None
    assert found["floor"] is not None
    assert found["gain"] == 0.0


def gain_of(form, examples, kind="canny", **told):
    objective = Objective(form.base.scheduler_config, ObjectiveSettings())
    return Gain(form.predict, objective, encoded(form.base, examples, kind, 0), [form], **told)


def test_the_gain_of_a_fresh_control_is_zero_and_of_one_example_unknown(sd1):
    form = make_form(sd1, ControlSettings(), ["canny"])
    assert gain_of(form, squares(3))() == 0.0
    assert np.isnan(gain_of(form, squares(1))())
    probe = Probe(sd1, form.unit, squares(1), "canny", FEW, gain_of(form, squares(1)))
    assert probe()["gain"] is None


def test_the_gain_of_the_shipped_control_is_large_and_falls_with_wrong_hints(meadow, worlds):
    form = make_form(meadow, ControlSettings(init="meadow/canny"), ["canny"])
    own = gain_of(form, worlds[:2])
    gain = own()
    assert gain > 0.1
    assert own() == gain
    swapped = zip(worlds[:2], worlds[1::-1], strict=True)
    moved = [Example(e.name, e.caption, e.picture, {"canny": other.hint("canny", {})}) for e, other in swapped]
    assert gain_of(form, moved)() < 0


def test_the_gain_needs_no_large_batch_nor_a_base_of_tokens_alone(sdxl):
    form = make_form(sdxl, ControlSettings(), ["canny"])
    randomise(form.network)
    whole = gain_of(form, squares(3))()
    assert whole != 0
    assert gain_of(form, squares(3), batch=2)() == pytest.approx(whole, abs=1e-5)


def test_examples_are_held_back_or_come_from_elsewhere(tmp_path):
    folder = write_worlds(tmp_path / "worlds", 6, 64, seed=100, workers=1)
    dataset = open_dataset(DataSettings(path=str(folder), annotate=True), ["canny"], (64, 64))
    rest, held = probe_examples(ProbeSettings(count=2), ["canny"], (64, 64), dataset)
    assert (len(rest), len(held["canny"])) == (4, 2)
    same, other = probe_examples(ProbeSettings(count=3, data=str(folder)), ["canny"], (64, 64), dataset)
    assert same is dataset
    assert [example.picture.shape for example in other["canny"]] == [(64, 64, 3)] * 3
    with pytest.raises(HackamoreError, match="no other data has hints of the kind shape"):
        probe_examples(ProbeSettings(data="worlds"), ["shape"], (64, 64), dataset)


def test_other_examples_have_hints_as_the_training_has_them(tmp_path):
    folder = write_worlds(tmp_path / "worlds", 6, 64, seed=100, workers=1)
    other = ProbeSettings(count=2, data=str(folder))
    told = {"annotate": True, "parameters": {"density": 0.3}}
    making = open_dataset(DataSettings(path=str(folder), **told), ["canny"], (64, 64))
    dense = Canny(density=0.3)
    for settings in (other, ProbeSettings(count=2, data="worlds"), ProbeSettings(count=2)):
        for example in probe_examples(settings, ["canny"], (64, 64), making)[1]["canny"]:
            assert np.array_equal(example.hint("canny", {}), dense(example.picture))

    drawn = tmp_path / "drawn"
    drawn.mkdir()
    rows = []
    for example in squares(4):
        Image.fromarray(example.picture).save(drawn / example.name)
        Image.fromarray(example.given["canny"]).save(drawn / f"hint-{example.name}")
        rows.append({"image": example.name, "conditioning_image": f"hint-{example.name}", "text": example.caption})
    (drawn / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = open_dataset(DataSettings(path=str(drawn)), ["canny"], (64, 64))
    some = probe_examples(ProbeSettings(count=4, data=str(drawn)), ["canny"], (64, 64), given)[1]["canny"]
    assert all(np.array_equal(a.given["canny"], b.given["canny"]) for a, b in zip(some, squares(4), strict=True))


def test_the_control_off_is_measured_again_where_the_base_is_trained_too(sd1_folder):
    for unlocked in (False, True):
        base = load_base(sd1_folder, device="cpu")
        form = make_form(base, ControlSettings(), ["canny"])
        probe = Probe(base, form.unit, squares(4), "canny", FEW, unlocked=unlocked)
        before = probe()
        with torch.no_grad():
            base.unet.conv_out.weight.copy_(torch.randn(base.unet.conv_out.weight.shape))
        after = probe()
        assert after["ceiling"] == before["ceiling"]
        assert (after["off"] == before["off"]) != unlocked


def test_a_caption_is_words_and_no_longer_than_in_training(sd1):
    some = [replace(e, caption="a <lora:x:1> (square:2) " + "very long " * 60) for e in squares(2)]
    (group,) = encoded(sd1, some, "canny")
    assert group.text.tokens.shape[1] == sd1.encode_text([""]).tokens.shape[1]
    probe = Probe(sd1, make_form(sd1, ControlSettings(), ["canny"]).unit, some, "canny", FEW)
    assert probe()["figure"] is not None
