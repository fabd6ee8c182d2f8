"""``hackamore evaluate``: real pictures of Meadow, resumed, refused, reported."""

import json
import re
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from hackamore.annotators.inspector import ATTRIBUTES
from hackamore.bases.catalog import load_base
from hackamore.controls.branch import new_control
from hackamore.controls.formats.diffusers import write_branch
from hackamore.core.recipe import read_recipe
from hackamore.data.pairs import EVALUATION_SEED
from hackamore.data.worlds import write_worlds
from hackamore.evaluation.cells import STRIDE
from hackamore.evaluation.features import CAPTION_WORDS, clip_scorer, told
from hackamore.evaluation.results import Evaluation
from hackamore.training.tokenizer import learn_tokenizer
from hackamore.worlds import render

QUICK = ("--count", 2, "--steps", 2, "--batch", 2, "--best-of", 2, "--scale", 1, "--scale", 0.5, "--out", "e")


@pytest.fixture(scope="module", autouse=True)
def loaded_once(meadow):
    """Meadow is loaded for the first of all these commands alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "hackamore.bases.catalog.load_base",
            lambda name, **how: meadow if name == "meadow" else load_base(name, **how),
        )
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole evaluation, made by the command, and the words it was made with."""
    from hackamore.cli.main import main

    folder = tmp_path_factory.mktemp("evaluation")
    words = ["evaluate", "--control", "canny", *QUICK]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["hackamore", *map(str, words)])
        main()
    return folder / "e", words


def test_results_are_what_their_schema_says_and_figures_have_their_columns(finished):
    told = json.loads((finished[0] / "evaluation.json").read_text())
    result = Evaluation.model_validate(told)
    assert set(told) == set(Evaluation.model_json_schema()["properties"])
    (canny,) = result.controls
    assert (canny.label, canny.control, canny.data) == ("canny", "meadow/canny", "worlds")
    row = canny.rows[0]
    assert row.name == "canny F1 (2 px)"
    assert [one.scale for one in row.on] == [1, 0.5]
    assert row.true.value == 1
    assert row.ceiling.low <= row.ceiling.value <= row.ceiling.high
    assert row.best.figure.value >= row.on[0].figure.value
    assert row.best.of == 2
    assert set(canny.chosen) <= {0, 1}
    assert result.count == 2
    names = [
        "true pictures",
        "through the autoencoder",
        "off",
        "canny, scale 1",
        "canny, scale 0.5",
        "canny, best of 2",
    ]
    assert [one.pictures for one in result.quality] == names
    assert set(result.quality[2].figures) == {
        *("FID (inspector features)", "KID (inspector features)", "caption accuracy (inspector)"),
    }
    assert set(result.quality[0].figures) == {"caption accuracy (inspector)"}


def test_every_picture_is_kept_with_the_recipe_that_made_it(finished):
    folder = finished[0] / "pictures"
    cells = {"worlds-off", "worlds-autoencoder", "canny-1", "canny-0.5", "canny-1-seed1"}
    assert {path.name for path in folder.iterdir()} == cells
    recipe = read_recipe(folder / "canny-0.5" / "00001.png")
    world = render(EVALUATION_SEED + 1, 128)
    assert (recipe.prompt, recipe.seed, recipe.units[0].scale) == (world.caption, 1, 0.5)
    assert read_recipe(folder / "canny-1-seed1" / "00001.png").seed == 1 + STRIDE


def test_poses_are_evaluated_on_people_and_a_fresh_control_figures_as_the_control_off(here, run, meadow):
    write_branch(new_control(meadow, "pose"), here / "fresh")
    words = ("--control", "pose,model=fresh", "--count", 2, "--steps", 1, "--batch", 2)
    assert run("evaluate", *words, "--out", "e")[0] == 0
    (pose,) = Evaluation.model_validate_json((here / "e" / "evaluation.json").read_text()).controls
    assert pose.data == "people"
    assert [row.name for row in pose.rows] == ["pose PCK (0.1 box)", "pose OKS"]
    for row in pose.rows:
        assert row.on[0].figure == row.off
        assert row.true.value is not None


def test_the_report_needs_no_other_file(finished):
    html = (finished[0] / "report.html").read_text()
    assert not re.search(r"https?:|<script|<link|@import|url\(", html)
    sources = re.findall(r'src="([^"]*)"', html)
    assert len(sources) == 2 * 8
    assert all(source.startswith(("data:image/png;base64,", "data:image/jpeg;base64,")) for source in sources)
    assert html.count("<section") == 2
    assert str(finished[0].parent) not in html


def test_a_lost_picture_comes_back_and_no_other_is_touched(finished, run, monkeypatch, tmp_path):
    shutil.copytree(finished[0], tmp_path / "e")
    monkeypatch.chdir(tmp_path)
    lost = tmp_path / "e" / "pictures" / "canny-1" / "00001.png"
    before, result = lost.read_bytes(), (tmp_path / "e" / "evaluation.json").read_bytes()
    lost.unlink()
    (tmp_path / "e" / "evaluation.json").unlink()
    pictures = sorted((tmp_path / "e" / "pictures").glob("*/*.png"))
    times = [path.stat().st_mtime_ns for path in pictures]
    code, out, err = run(*finished[1], "--json")
    assert (code, err) == (0, "")
    assert lost.read_bytes() == before
    assert [path.stat().st_mtime_ns for path in pictures] == times
    assert (tmp_path / "e" / "evaluation.json").read_bytes() == result == out.encode()


def test_other_settings_are_refused_by_name(finished, run, monkeypatch):
    monkeypatch.chdir(finished[0].parent)
    code, _, err = run(*finished[1], "--steps", 3, "--seed", 5)
    assert code == 2
    assert "received: steps 3; seed 5" in err.replace("seed 5; steps 3", "steps 3; seed 5")
    assert "expected: steps 2; seed 0" in err.replace("seed 0; steps 2", "steps 2; seed 0")


def test_ctrl_c_is_130_and_going_on_ends_as_if_it_had_never_been(here, run, monkeypatch):
    words = ["evaluate", "--control", "canny", "--count", 2, "--steps", 1, "--batch", 1, "--out"]
    assert run(*words, "whole")[0] == 0

    @contextmanager
    def impatient(stage, total):
        yield lambda done: signal.raise_signal(signal.SIGINT) if stage == "making pictures" and done == 3 else None

    with monkeypatch.context() as patch:
        patch.setattr("hackamore.cli.evaluate.progress_bar", impatient)
        code, _, err = run(*words, "halves")
    assert (code, err.startswith("stopped")) == (130, True)
    assert len(list((here / "halves" / "pictures" / "worlds-off").glob("*.png"))) == 2
    assert len(list((here / "halves" / "pictures" / "canny-1").glob("*.png"))) == 1
    assert not (here / "halves" / "evaluation.json").exists()
    assert run(*words, "halves")[0] == 0
    assert (here / "halves" / "evaluation.json").read_bytes() == (here / "whole" / "evaluation.json").read_bytes()


def test_a_folder_of_pairs(here, run):
    write_worlds("pairs", 2, 128, EVALUATION_SEED, ("seg",), workers=1)
    code, out, err = run("evaluate", "--control", "seg", "--data", "pairs", "--steps", 1, "--no-off", "--out", "e")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == str(Path("e") / "report.html")
    result = Evaluation.model_validate_json((here / "e" / "evaluation.json").read_text())
    assert (result.count, result.controls[0].data, result.controls[0].rows[0].off) == (2, "pictures", None)
    assert set(result.settings["data"]) == {"folder", "hash"}
    Image.fromarray(np.zeros((128, 128, 3), np.uint8)).save("pairs/pictures/09000000.png")
    code, _, err = run("evaluate", "--control", "seg", "--data", "pairs", "--steps", 1, "--no-off", "--out", "e")
    assert (code, "other settings" in err) == (2, True)


def test_one_picture_has_neither_floor_nor_interval(here, run):
    words = ("--control", "canny", "--count", 1, "--steps", 1, "--no-off", "--out", "e")
    assert run("evaluate", *words)[0] == 0
    row = Evaluation.model_validate_json((here / "e" / "evaluation.json").read_text()).controls[0].rows[0]
    assert row.on[0].floor is row.on[0].normalised is row.on[0].figure.low is None


WRONG = {
    "unknown control": (["--control", "cany"], "did you mean canny"),
    "a kind without a figure": (["--control", "shuffle"], "unknown kind"),
    "a picture": (["--control", "canny=photo.png"], "no picture here"),
    "a word that is no setting": (["--control", "canny,loud"], "not understood"),
    "a parameter out of range": (["--control", "canny,density=7"], "density"),
    "no control of the base's own": (["--control", "mlsd"], "names no model"),
    "a control folder that is not there": (["--control", "canny,model=none"], "unknown control"),
    "a base that is not there": (["--base", "none", "--control", "canny,model=x"], "unknown base"),
    "no such folder": (["--data", "none"], "no such folder"),
    "no index": (["--data", "empty"], "no training data"),
    "an empty index": (["--data", "bare"], "is empty"),
    "missing files": (["--control", "canny", "--data", "torn"], "is missing"),
    "no hints": (["--control", "seg", "--data", "torn"], "no seg hint"),
    "too few": (["--control", "canny", "--data", "torn", "--count", "2"], "too few pairs"),
    "count 0": (["--count", "0"], "count is out of range"),
    "scale out of range": (["--scale", "1000"], "scale of a control"),
    "scale nan": (["--scale", "nan"], "scale of a control"),
    "a scale twice": (["--scale", "1", "--scale", "1"], "scales"),
    "best of none": (["--best-of", "0"], "best-of is out of range"),
    "batch 0": (["--batch", "0"], "batch is out of range"),
    "steps 0": (["--steps", "0"], "steps is out of range"),
    "seed below 0": (["--seed", "-1"], "seed is out of range"),
    "guidance nan": (["--guidance", "nan"], "guidance is out of range"),
    "scheduler": (["--scheduler", "fast"], "unknown scheduler"),
    "no CLIP folder": (["--clip", "none"], "no such folder"),
    "a folder that is no CLIP": (["--clip", "empty"], "CLIP"),
    "Inception without its package": (["--inception"], "torch-fidelity"),
    "a file in place of the folder": (["--out", "photo.png"], "is a file"),
    "an unknown option": (["--loud"], "No such option"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_clear_sentence_and_nothing_is_written(here, run, case):
    (here / "empty").mkdir()
    (here / "bare").mkdir()
    (here / "bare" / "metadata.jsonl").write_text("\n")
    (here / "torn").mkdir()
    (here / "torn" / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a lake"}\n')
    before = sorted(here.rglob("*"))
    words, sentence = WRONG[case]
    if "--control" not in words:
        words = [*words, "--control", "canny"]
    code, _, err = run("evaluate", "--steps", 1, "--count", 1, *words)
    assert code == 2, err
    assert sentence in err
    assert err.startswith("error: ")
    assert len(err.splitlines()) <= 4
    assert sorted(here.rglob("*")) == before


def test_settings_that_were_tampered_with_are_refused(here, run):
    (here / "e").mkdir()
    for words in ("no JSON", "[]"):
        (here / "e" / "settings.json").write_text(words)
        code, _, err = run("evaluate", "--control", "canny", "--count", 1, "--out", "e")
        assert (code, "settings" in err) == (2, True)


def test_captions_are_asked_for_what_they_tell():
    for seed in range(40):
        world = render(EVALUATION_SEED + 500 + seed, 32)
        wanted = told(world.caption, world.attributes)
        assert wanted["terrain"] == world.attributes["terrain"]
        assert all(world.attributes[name] == word for name, word in wanted.items())
    assert told("sand dunes at noon", {"time": "noon", "terrain": "dunes", "season": "summer"}) == {
        "time": "noon",
        "terrain": "dunes",
    }
    assert told("a lake", {"terrain": "hills", "water": "none"}) == {}
    assert set(CAPTION_WORDS) == set(ATTRIBUTES)


def test_clip_score_is_the_scaled_cosine_of_a_models_embeddings(tmp_path):
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(["a red circle", "a blue lake"], tmp_path)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = small | {"vocab_size": len(tokenizer), "max_position_embeddings": 16}
    text |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    vision = small | {"image_size": 32, "patch_size": 16}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).eval()
    model.save_pretrained(tmp_path)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    score = clip_scorer(tmp_path)
    pictures = np.random.default_rng(0).integers(0, 256, (6, 48, 40, 3), dtype=np.uint8)
    figures = []
    for picture in pictures:
        ids = tokenizer("a red circle", return_tensors="pt").input_ids
        with torch.no_grad():
            words = model.get_text_features(ids).pooler_output[0]
            seen = model.get_image_features(processor(picture, return_tensors="pt").pixel_values).pooler_output[0]
        figures.append(100 * max(0.0, float(words @ seen / words.norm() / seen.norm())))
        assert score(picture, "a red circle") == pytest.approx(figures[-1], abs=1e-3)
    assert score(pictures[0], "a red circle " * 30) >= 0
    assert max(figures) > 0
