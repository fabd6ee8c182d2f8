"""Start pictures, masks, second passes, tiles, folders and every unit setting, as typed."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from hackamore.cli.batch import count_of
from hackamore.cli.loading import parse_lora, parse_upscale
from hackamore.cli.options import parse_control
from hackamore.core.errors import HackamoreError
from hackamore.core.recipe import read_recipe
from tests.behaviour.conftest import PHOTO


@pytest.fixture
def there(here):
    """Two folders of photographs and masks, a mask, a reference."""
    for folder in ("photos", "masks"):
        (here / folder).mkdir()
    for number, name in enumerate(("b", "a", "c")):
        Image.fromarray(np.roll(PHOTO, 7 * number, 1)).save(here / "photos" / f"{name}.jpg", quality=95)
        mask = np.zeros((90, 120, 3), np.uint8)
        mask[:, 20 * number + 30 :] = 255
        Image.fromarray(mask).save(here / "masks" / f"{name}.png")
    Image.fromarray(mask).save("mask.png")
    return here


def generate(run, *words):
    return run("generate", "a lake at noon", "--steps", 2, "--size", "64x64", *words)


def again(run, name):
    code, out, err = run("replay", name)
    assert (code, err) == (0, "")
    assert "the same bytes" in out.replace("not the same bytes", "")


WAYS = {
    "img2img": ["--init", "photo.png", "--strength", "0.5"],
    "inpainting": ["--init", "photo.png", "--inpaint-mask", "mask.png"],
    "second pass": ["--upscale", "96x96", "--upscale-strength", "0.5", "--upscale-through", "pixels"],
    "tiles": ["--tile", "32", "--tile-overlap", "16"],
    "all": ["--init", "photo.png", "--inpaint-mask", "mask.png", "--upscale", "2", "--tile", "64"],
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_with_a_control_is_recorded_and_replayed(there, run, way):
    words = ["--control", "canny=photo.png,mode=prompt", "--control", "canny=photo.png,weights=1/1/1/1/1/1/0.5"]
    code, _, err = generate(run, *WAYS[way], *words, "--out", "made.png")
    assert (code, err) == (0, "")
    recipe = read_recipe("made.png")
    assert Image.open("made.png").size == recipe.final_size
    assert [unit.mode for unit in recipe.units] == ["prompt", "balanced"]
    if recipe.upscale is not None:
        assert recipe.upscale.units[0].hint != recipe.units[0].hint
    again(run, "made.png")


def test_a_folder_gives_a_picture_for_each_file(there, run):
    words = ["--control", "canny=photos", "--init", "photos", "--inpaint-mask", "masks", "--control", "canny=photo.png"]
    code, out, err = generate(run, *words, "--out", "many")
    assert (code, err) == (0, "")
    assert out.split() == ["many/a.png", "many/b.png", "many/c.png"]
    recipes = [read_recipe(f"many/{name}.png") for name in "abc"]
    assert [recipe.seed for recipe in recipes] == [0, 1, 2]
    assert len({recipe.units[0].hint for recipe in recipes}) == 3
    assert len({recipe.units[1].hint for recipe in recipes}) == 1
    again(run, "many/b.png")
    code, _, err = generate(run, "--control", "canny=photos/b.jpg", "--control", "canny=photo.png", "--seed", "1",
                            "--init", "photos/b.jpg", "--inpaint-mask", "masks/b.png", "--out", "b.png")  # fmt: skip
    assert code == 0
    assert (np.asarray(Image.open("b.png")) == np.asarray(Image.open("many/b.png"))).all()


def test_a_control_hides_the_part_that_its_mask_says(there, run):
    words = ["--control", "inpaint=photo.png,mask=mask.png,model=meadow/canny,scale=0.5"]
    code, _, err = generate(run, *words, "--out", "made.png")
    assert (code, err) == (0, "notice: the control meadow/canny was trained on canny, and is given inpaint\n")
    assert read_recipe("made.png").units[0].hidden is not None
    plain = ["--control", "canny=photo.png,hidden=mask.png"]
    assert generate(run, *plain, "--out", "plain.png")[0] == 0
    assert read_recipe("plain.png").units[0].hidden is not None
    again(run, "made.png")


def test_a_kind_that_the_file_does_not_tell_is_replayed(there, run):
    from hackamore.controls.catalog import embedded
    from hackamore.controls.formats.convert import convert

    convert(embedded()["meadow/canny"], there / "told.safetensors", "diffusers")
    weights = load_file(there / "told.safetensors")
    (there / "untold").mkdir()
    save_file(weights, there / "untold" / "diffusion_pytorch_model.safetensors")
    (there / "untold" / "config.json").write_text((embedded()["meadow/canny"] / "config.json").read_text())
    assert generate(run, "--control", "canny=photo.png,model=untold", "--out", "made.png")[0] == 0
    assert read_recipe("made.png").units[0].kind == "canny"
    again(run, "made.png")


def test_reference_takes_the_picture_as_it_is(there, run):
    words = ["--control", "reference=photo.png,fidelity=0.3,scale=0.8", "--control", "reference=photo.png,end=0.5"]
    code, _, err = generate(run, *words, "--tile", "32", "--tile-overlap", "0", "--out", "made.png")
    assert (code, err) == (0, "")
    assert read_recipe("made.png").units[0].options == {"fidelity": 0.3}
    again(run, "made.png")


def test_a_control_file_that_is_named_twice_is_loaded_once(there, run, monkeypatch):
    from hackamore.controls import catalog

    loaded = []
    load = catalog.load_control
    monkeypatch.setattr(catalog, "load_control", lambda name, base: loaded.append(name) or load(name, base))
    words = ["--control", "canny=photo.png", "--control", "canny=photos/a.jpg,model=meadow/canny"]
    assert generate(run, *words, "--out", "made.png")[0] == 0
    assert loaded == ["meadow/canny"]


def test_json_prints_no_pictures(there, run):
    code, out, _ = generate(run, *WAYS["all"], "--control", "canny=photo.png", "--json", "--out", "made.png")
    told = json.loads(out)[0]
    assert code == 0
    assert (told["strength"], told["upscale"]["size"], told["tile"]) == (1.0, [128, 128], [64, 64])
    assert "init" not in told
    assert "hint" not in told["upscale"]["units"][0]


WRONG = {
    "strength without init": (["--strength", "0.5"], "strength without a start picture"),
    "strength out of range": (["--init", "photo.png", "--strength", "2"], "strength is out of range"),
    "mask without init": (["--inpaint-mask", "mask.png"], "mask without a start picture"),
    "mask all black": (["--init", "photo.png", "--inpaint-mask", "black.png"], "mask hides nothing"),
    "init missing": (["--init", "none.png"], "no such file"),
    "upscale a word": (["--upscale", "big"], "upscale is not understood"),
    "upscale smaller": (["--upscale", "32x32"], "not larger"),
    "upscale odd": (["--upscale", "100x100"], "size does not fit"),
    "tile too large": (["--tile", "128"], "tile is larger"),
    "tile odd": (["--tile", "60"], "tile does not fit"),
    "overlap alone": (["--tile-overlap", "16"], "--tile-overlap without --tile"),
    "overlap too large": (["--tile", "32", "--tile-overlap", "32"], "overlap is out of range"),
    "num and folder": (["--control", "canny=photos", "--num", "2"], "not the number of pictures"),
    "folders apart": (["--control", "canny=photos", "--init", "two"], "do not belong together"),
    "empty folder": (["--control", "canny=empty"], "holds no pictures"),
    "folder to a file": (["--control", "canny=photos", "--out", "made.png"], "a folder for several"),
    "unknown mode": (["--control", "canny=photo.png,mode=loud"], "unknown mode"),
    "weights and mode": (["--control", "canny=photo.png,mode=guess,weights=1/1"], "layer weights and mode"),
    "weights a word": (["--control", "canny=photo.png,weights=1/x"], "layer weights are not numbers"),
    "a kind that the control does not take": (
        ["--control", "ip-adapter=photo.png,model=meadow/canny"],
        "does not take",
    ),
    "no kind for a reference": (["--control", "canny=photo.png,model=reference"], "does not take canny"),
    "upscale strength alone": (["--upscale-strength", "0.3"], "without --upscale"),
    "upscale of no steps": (["--upscale", "2", "--upscale-steps", "0"], "steps is out of range"),
    "no such start": (["--base", "nowhere", "--init", "none.png"], "none.png"),
    "a mode before the base": (["--base", "nowhere", "--control", "canny=photo.png,model=x,mode=loud"], "unknown mode"),
    "steps before the base": (["--base", "nowhere", "--steps", "0"], "steps is out of range"),
    "type of no union": (["--control", "canny=photo.png,type=3"], "does not know 'type'"),
    "lora scale": (["--lora", "x.safetensors:99"], "scale of a LoRA"),
    "lora missing": (["--lora", "x.safetensors:0.5"], "x.safetensors"),
    "best with upscale": (["--control", "canny=photo.png", "--best-of", "2", "--upscale", "2"], "with --upscale"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_sentence_before_any_work(there, run, case):
    Image.new("RGB", (120, 90)).save("black.png")
    for folder in ("two", "empty"):
        (there / folder).mkdir()
    Image.fromarray(PHOTO).save("two/a.png")
    before = sorted(there.rglob("*"))
    words, expected = WRONG[case]
    code, out, err = generate(run, *words)
    assert (code, out) == (2, ""), err
    assert expected in err
    assert len(err.strip().splitlines()) <= 4
    assert "Traceback" not in err
    assert sorted(there.rglob("*")) == before


def test_loras_upscales_and_weights_are_read(there):
    assert parse_lora("a.safetensors") == ("a.safetensors", 1.0)
    assert parse_lora("C:/a.safetensors:0.5") == ("C:/a.safetensors", 0.5)
    assert parse_lora("C:/a.safetensors") == ("C:/a.safetensors", 1.0)
    assert parse_upscale("1.5", 0.4, 8, "pixels").factor == 1.5
    assert parse_control("canny=x.png,weights=1/0.5").unit["weights"] == [1.0, 0.5]
    assert parse_control("depth_midas=x.png,weights=models/annotators").parameters == {"weights": "models/annotators"}
    assert parse_control('{"kind": "canny", "image": "x", "weights": [1, 0]}').unit["weights"] == [1.0, 0.0]


def test_files_of_one_name_twice_are_refused(there):
    Image.fromarray(PHOTO).save("photos/a.png")
    with pytest.raises(HackamoreError, match="holds a twice"):
        count_of([there / "photos"], None)


def test_a_base_with_a_lora_is_replayed(sd1_folder, there, run):
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    from hackamore.bases.catalog import load_base

    unet = load_base(sd1_folder, device="cpu").unet
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    (there / "styles").mkdir()
    StableDiffusionPipeline.save_lora_weights(
        there / "styles", unet_lora_layers=get_peft_model_state_dict(unet), weight_name="ink.safetensors"
    )
    shutil.copytree(sd1_folder, "base")
    words = ["--base", "base", "--lora", "styles/ink.safetensors:0.7"]
    assert generate(run, *words, "--out", "made.png") == (0, "made.png\n", "")
    assert read_recipe("made.png").base_options == {"loras": [["ink.safetensors", 0.7]]}
    again(run, "made.png")
    assert generate(run, "--base", "base", "--out", "plain.png")[0] == 0
    assert not torch.equal(*(torch.from_numpy(np.array(Image.open(name))) for name in ("made.png", "plain.png")))


def test_two_kinds_of_one_union_run_it_once(sd1, sd1_folder, there, run):
    from hackamore.controls.formats.union import write_union
    from tests.control_models import lively_union

    write_union(lively_union(sd1), there / "union")
    shutil.copytree(sd1_folder, "base")
    words = ["--control", "canny=photo.png,model=union", "--control", "tile=photo.png,model=union,type=6,scale=0.5"]
    assert generate(run, "--base", "base", *words, "--tile", "32", "--tile-overlap", "0", "--out", "made.png") == (
        0,
        "made.png\n",
        "",
    )
    units = read_recipe("made.png").units
    assert [(unit.kind, unit.options["type"]) for unit in units] == [("canny", "canny"), ("tile", "6")]
    again(run, "made.png")
    code, _, err = generate(run, "--base", "base", "--control", "canny=photo.png,model=union,type=9")
    assert (code, "knows no hints of type" in err) == (2, True)
