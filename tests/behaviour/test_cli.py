"""The command line as a user meets it: what works, and one clear sentence for everything that does not."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hackamore.bases.catalog import MEADOW
from hackamore.core.recipe import read_recipe
from tests.behaviour.conftest import PHOTO


def generate(run, *words):
    return run("generate", "a lake at noon", "--steps", 2, "--size", "64x64", *words)


def test_generate_with_two_controls_and_replay_gives_the_same_bytes(here, run):
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[:, 32:] = 255
    Image.fromarray(mask).save("mask.png")
    controls = ["--control", "canny=photo.png,scale=0.8,end=0.7,low=50,high=120", "--control"]
    controls.append(json.dumps({"kind": "seg", "image": "painted.png", "schedule": "1@0/0@0.9", "mask": "mask.png"}))
    code, out, err = generate(run, *controls, "--seed", 4, "--out", "made.png", "--show-hint", "hint.png")
    assert (code, out.strip(), err) == (0, "made.png", "")
    recipe = read_recipe("made.png")
    assert [unit.control for unit in recipe.units] == ["meadow/canny", "meadow/seg"]
    assert Image.open("hint.png").size == (64, 64)
    code, out, err = run("replay", "made.png")
    assert (code, err) == (0, "")
    assert "made-replay.png: the same bytes" in out
    code, out, _ = run("info", "made.png")
    assert code == 0
    assert "a lake at noon" in out


def test_several_pictures_go_to_a_folder_and_json_tells_them(here, run):
    code, out, _ = generate(run, "--num", 2, "--out", "many", "--json")
    assert code == 0
    assert [told["seed"] for told in json.loads(out)] == [0, 1]
    assert sorted(p.name for p in (here / "many").iterdir()) == ["000.png", "001.png"]


def test_annotate_and_list(here, run):
    assert run("annotate", "canny", "photo.png", "-o", "edges.png", "--density", "0.2")[0] == 0
    assert set(np.unique(np.asarray(Image.open("edges.png")))) == {0, 255}
    code, out, _ = run("annotate", "--list")
    assert code == 0
    assert "density" in out


def test_info_of_base_and_control(run):
    code, out, _ = run("info", MEADOW)
    assert (code, "family: meadow" in out) == (0, True)
    code, out, _ = run("info", MEADOW / "controls" / "canny")
    assert (code, "condition: canny" in out) == (0, True)


def test_a_long_prompt_is_read_whole_and_an_empty_one_works(here, run):
    code, _, err = run("generate", "lake " * 1000, "--steps", 1, "--out", "a.png")
    assert (code, err) == (0, "")
    code, _, err = run("generate", "", "--steps", 1, "--out", "b.png")
    assert (code, err) == (0, "")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "GIF", "EXIF"])
def test_pictures_of_every_kind_work_as_hints(here, run, mode):
    name = "p.png"
    picture = Image.fromarray(PHOTO)
    if mode == "GIF":
        name = "p.gif"
        picture.save(name, save_all=True, append_images=[picture.rotate(90)])
    elif mode == "CMYK":
        name = "p.jpg"
        picture.convert("CMYK").save(name)
    elif mode == "I;16":
        Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257).save(name)
    elif mode == "EXIF":
        exif = Image.Exif()
        exif[0x0112] = 8
        picture.save(name, exif=exif)
    else:
        picture.convert(mode).save(name)
    code, _, err = generate(run, "--control", f"canny={name}", "--out", "made.png")
    assert (code, err) == (0, "")


def huge_png():
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


WRONG = {
    "missing file": (["--control", "canny=none.png"], "no such file"),
    "text named png": (["--control", "canny=text.png"], "cannot be read as a picture"),
    "truncated png": (["--control", "canny=half.png"], "damaged"),
    "truncated jpeg": (["--control", "canny=half.jpg"], "damaged"),
    "one pixel": (["--control", "canny=one.png"], "too small"),
    "huge picture": (["--control", "canny=huge.png"], "too large"),
    "size not a multiple of 8": (["--size", "130x61"], "128x64"),
    "size not understood": (["--size", "big"], "size is not understood"),
    "hint of another size": (["--control", "canny=photo.png,resize=none"], "resize mode none"),
    "scale nan": (["--control", "canny=photo.png,scale=nan"], "scale of a control"),
    "scale 1e9": (["--control", "canny=photo.png,scale=1e9"], "scale of a control"),
    "scale a word": (["--control", "canny=photo.png,scale=much"], "not a number"),
    "start after end": (["--control", "canny=photo.png,start=0.8,end=0.2"], "starts after it ends"),
    "malformed schedule": (["--control", "canny=photo.png,schedule=1@"], "schedule is not understood"),
    "schedule and scale": (["--control", "canny=photo.png,schedule=1@0,scale=1"], "schedule and scale"),
    "empty mask": (["--control", "canny=photo.png,mask=black.png"], "mask is empty"),
    "unknown annotator": (["--control", "cany=photo.png"], "did you mean canny"),
    "unknown control": (["--control", "invert=photo.png"], "no control invert of its own"),
    "unknown model": (["--control", "invert=photo.png,model=meadow/cany"], "unknown control"),
    "control json too deep": (["--control", '{"kind":' + "[" * 100_000], "not valid JSON"),
    "scale of many digits": (
        ["--control", '{"kind":"canny","image":"photo.png","scale":1' + "0" * 400 + "}"],
        "number",
    ),
    "picture's name too long": (["--control", "canny=" + "x" * 300], "no such file"),
    "out's name too long": (["--out", "x" * 300 + ".png"], "cannot have that name"),
    "size too large": (["--size", "16384x16384"], "too large"),
    "steps 0 with a hint to show": (
        ["--steps", "0", "--control", "canny=photo.png", "--show-hint", "left.png", "--out", "new/x.png"],
        "number of steps",
    ),
    "unknown scheduler": (["--scheduler", "eular"], "did you mean euler"),
    "unknown base": (["--base", "medow"], "did you mean meadow"),
    "unknown parameter": (["--control", "canny=photo.png,lo=3"], "parameters of canny: low, high"),
    "parameter out of range": (["--control", "canny=photo.png,high=9999"], "less than or equal to 1000"),
    "colours not in the palette": (["--control", "seg=photo.png"], "not in the palette"),
    "control not key=value": (["--control", "canny"], "not key=value"),
    "control bad json": (["--control", "{kind"], "not valid JSON"),
    "steps 0": (["--steps", "0"], "number of steps"),
    "guidance nan": (["--guidance", "nan"], "guidance is out of range"),
    "num 0": (["--num", "0"], "number of pictures"),
    "seed negative": (["--seed", "-1"], "seed is out of range"),
    "file exists": (["--out", "photo.png"], "exists already"),
    "out not writable": (["--out", "text.png/x/made.png"], "cannot write"),
    "out not png": (["--out", "made.jpg"], "ending in .png"),
    "control of another family": (["--control", "canny=photo.png,model=sd1-control"], "family sd1"),
    "truncated weights": (["--control", "canny=photo.png,model=cut-control"], "damaged"),
    "hostile weights": (["--control", "canny=photo.png,model=evil-control"], "damaged"),
    "dtype": (["--dtype", "fp8"], "unknown dtype"),
    "device": (["--device", "cuda:7"], "not usable here"),
}


@pytest.fixture(scope="module")
def sd1_control(sd1, tmp_path_factory):
    from hackamore.controls.branch import new_control
    from hackamore.controls.formats.diffusers import write_branch

    folder = tmp_path_factory.mktemp("controls") / "sd1-control"
    write_branch(new_control(sd1, "canny"), folder)
    return folder


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_sentence_and_exit_code_2(here, run, sd1_control, case):
    import pickle

    (here / "text.png").write_text("hello")
    (here / "huge.png").write_bytes(huge_png())
    Image.new("RGB", (1, 1)).save("one.png")
    Image.new("RGB", (64, 64)).save("black.png")
    for kind in ("png", "jpg"):
        Image.fromarray(PHOTO).save(f"half.{kind}")
        whole = (here / f"half.{kind}").read_bytes()
        (here / f"half.{kind}").write_bytes(whole[: len(whole) // 2])
    (here / "sd1-control").symlink_to(sd1_control)
    weights = "diffusion_pytorch_model.safetensors"
    for name, content in (
        ("cut-control", (sd1_control / weights).read_bytes()[:5000]),
        ("evil-control", pickle.dumps(Evil())),
    ):
        (here / name).mkdir()
        (here / name / weights).write_bytes(content)
    before = sorted(here.rglob("*"))
    words, expected = WRONG[case]
    code, out, err = run("generate", "a lake", "--steps", "2", *words)
    assert code == 2, err
    assert expected in err
    assert out == ""
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) <= 4
    assert "Traceback" not in err
    assert sorted(here.rglob("*")) == before


class Evil:
    """A pickle that would leave a file behind if anything unpickled it."""

    def __reduce__(self):
        return (os.system, ("touch owned",))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("replay", "photo.png"), "holds no recipe"),
        (("replay", "none.png"), "no such file"),
        (("info", "none.png"), "no such file"),
        (("info", "."), "neither a base nor a control"),
        (("train", "none.toml"), "no such file"),
        (("annotate", "canny", "photo.png", "-o", "photo.png"), "exists already"),
        (("annotate", "canny"), "something is missing"),
        (("world", "--out", "photo.png/w", "--count", "1"), "cannot write"),
        (("world", "--out", "w", "--count", "0"), "nothing to render"),
        (("world", "--out", "w", "--hint", "smell"), "unknown truth"),
        (("generate",), "Missing argument"),
        (("generate", "a", "--steps", "x"), "valid integer"),
        (("nothing",), "No such command"),
    ],
)
def test_other_commands_refuse_clearly(here, run, words, expected):
    code, _, err = run(*words)
    assert code == 2
    assert expected in err
    assert "Traceback" not in err


def test_ctrl_c_ends_quickly_and_leaves_nothing(here):
    words = ["generate", "a lake", "--steps", "1000", "--size", "256x256", "--out", "made.png"]
    process = subprocess.Popen(
        [sys.executable, "-m", "hackamore.cli.main", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    started = time.monotonic()
    while not _busy(process.pid) and time.monotonic() - started < 60:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.decode().strip() == "stopped"
    assert out == b""
    assert sorted(p.name for p in here.iterdir()) == ["painted.png", "photo.png"]


def _busy(pid: int) -> bool:
    """Whether the process has used fifteen seconds of CPU: it is past its imports then, and sampling."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") > 15


def test_the_command_begins_without_what_is_heavy():
    code = (
        "import sys, hackamore.cli.main; print([m for m in ('torch', 'numpy', 'pydantic', 'PIL') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[]"
