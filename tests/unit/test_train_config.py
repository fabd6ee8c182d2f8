"""What a run is told reaches what it names, whichever way it is told."""

import json
from pathlib import Path

import pytest

from hackamore.core.errors import HackamoreError
from hackamore.training.config import option, read_stage
from hackamore.training.control_stage import USUAL, ControlStage

TOLD = {"data": "pairs", "kind": "canny", "output": Path("out")}


def test_options_alone_are_the_training_of_a_control_with_the_usual_run():
    stage = read_stage(None, TOLD)
    assert isinstance(stage, ControlStage)
    assert (stage.base, stage.kinds, stage.data.path) == ("meadow", ("canny",), "pairs")
    assert {name: getattr(stage.run, name) for name in USUAL} == USUAL


def test_options_win_over_the_file_and_leave_the_rest(tmp_path):
    (tmp_path / "c.toml").write_text(
        'kind = "seg"\noutput = "a"\n[data]\npath = "x"\nflip = true\n[run]\nsteps = 5\nlr = 1e-5\n'
    )
    told = {"data": "y", "run.steps": 7, "output": None, "probe.every": 3}
    stage = read_stage(tmp_path / "c.toml", told)
    assert (stage.data.path, stage.data.flip) == ("y", True)
    assert (stage.run.steps, stage.run.lr, stage.probe.every, str(stage.output)) == (7, 1e-5, 3, "a")


def test_a_bare_path_of_data_takes_settings_beside_it(tmp_path):
    (tmp_path / "c.toml").write_text('kind = "seg"\noutput = "a"\ndata = "x"\n')
    stage = read_stage(tmp_path / "c.toml", {"data.crops": 2})
    assert (stage.data.path, stage.data.crops) == ("x", 2)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("run.lr=1e-4", "run.lr", 1e-4),
        ("data.parameters.density=[0.1, 0.2]", "data.parameters.density", [0.1, 0.2]),
        ("control.transfer_from=models/base", "control.transfer_from", "models/base"),
        ("control.unlocked=true", "control.unlocked", True),
        ("data.hint=a=b", "data.hint", "a=b"),
    ],
)
def test_any_setting_is_an_option(text, name, value):
    assert option(text) == (name, value)


def test_every_section_is_reached_by_its_dotted_name():
    told = {
        "data.limit": 9, "control.form": "xs", "control.size_ratio": 0.5, "objective.min_snr": 5, "reward.weight": 0.1,
        "memory.base_dtype": "bf16", "probe.patience": 3, "track.trackers": ["tensorboard"], "run.optimiser": "sgd",
    }  # fmt: skip
    dumped = read_stage(None, {**TOLD, **told}).model_dump(mode="json")
    for name, value in told.items():
        section, _, field = name.partition(".")
        assert dumped[section][field] == value, name
    assert json.loads(json.dumps(dumped)) == dumped


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, "are missing"),
        ({**TOLD, "run.steps": 0}, "run.steps"),
        ({**TOLD, "run.stepps": 1}, "run.stepps"),
        ({**TOLD, "nonsense.a": 1}, "nonsense"),
        ({**TOLD, "control.form": "lora"}, "control.form"),
        ({**TOLD, "kind.a": 1}, "not a table"),
        ({**TOLD, "run": 5}, "run"),
        ({**TOLD, "probe.count": 1}, "probe.count"),
        ({**TOLD, "run.betas": [0.9, 1.5]}, "run.betas"),
        ({**TOLD, "run.seed": 2**64}, "run.seed"),
        ({**TOLD, "run.seed": -1}, "run.seed"),
        ({**TOLD, "probe.seed": -5}, "probe.seed"),
        ({**TOLD, "probe.guidance": 0.5}, "probe.guidance"),
        ({**TOLD, "size": [0, 64]}, "size"),
        ({**TOLD, "size": [-64, 64]}, "size"),
        ({**TOLD, "stage": "nothing"}, "nothing"),
    ],
)
def test_what_is_wrong_is_named(told, words):
    with pytest.raises(HackamoreError, match=words):
        read_stage(None, told)


def test_a_guidance_of_nothing_is_the_bases_own():
    assert read_stage(None, {**TOLD, "probe.guidance": 0}).probe.guidance is None


@pytest.mark.parametrize("text", ["run.lr", "=3", " = "])
def test_malformed_settings_are_refused(text):
    with pytest.raises(HackamoreError, match="not understood"):
        option(text)


@pytest.mark.parametrize(("kind", "form"), [(("canny", "seg"), "controlnet"), ("canny", "union")])
def test_several_kinds_are_for_unions_and_only_for_them(kind, form):
    stage = read_stage(None, {**TOLD, "kind": kind, "control.form": form})
    with pytest.raises(HackamoreError, match="several kinds for a union"):
        stage.check()


@pytest.mark.parametrize("path", sorted(Path("configs").rglob("*.toml")), ids=lambda path: path.stem)
def test_the_configurations_of_this_repository_are_understood(path):
    assert read_stage(path).run.steps > 0
