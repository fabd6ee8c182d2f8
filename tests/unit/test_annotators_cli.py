"""``hackamore annotate`` for poses, masks and legends, in a process's stead: main() with its exit code."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from hackamore.cli.main import main
from hackamore.core import palette
from hackamore.core.skeleton import People, Person, read_people, to_openpose

BODY = np.array([(20 + 12 * (i % 6), 30 + 25 * (i // 6), 1) for i in range(18)], np.float32)


@pytest.fixture
def annotate(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(load_sample_image("china.jpg")[:200, :300]).save("photo.png")
    (tmp_path / "people.json").write_text(json.dumps(to_openpose([People((Person(BODY),), (128, 128))])))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["hackamore", "annotate", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as error:
            code = int(error.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def size_of(path):
    return Image.open(path).size


def test_a_pose_from_key_points_and_its_key_points_at_the_new_size(annotate):
    assert annotate("pose_json", "people.json", "-o", "pose.png", "--size", "512x512")[0] == 0
    assert size_of("pose.png") == (512, 512)
    words = ("pose", "people.json", "-o", "small.png", "--size", "64x64", "--json", "small.json", "--hands", "false")
    assert annotate(*words)[0] == 0
    (moved,) = read_people("small.json")
    assert moved.size == (64, 64)
    assert moved.people[0].body[:, :2] == pytest.approx(BODY[:, :2] / 2, abs=1e-3)
    code, _, err = annotate(*words, "--overwrite")
    assert (code, err) == (0, "")
    assert "exists already" in annotate(*words[:2], "-o", "new.png", "--json", "small.json")[2]


def test_what_finds_no_people_writes_no_key_points(annotate):
    code, _, err = annotate("canny", "photo.png", "-o", "edges.png", "--json", "people.json", "--overwrite")
    assert code == 2
    assert "canny finds no key points" in err


def test_inpainting_takes_a_mask(annotate):
    mask = np.zeros((200, 300), np.uint8)
    mask[50:150, 100:200] = 255
    Image.fromarray(mask).save("mask.png")
    assert annotate("inpaint", "photo.png", "-o", "hint.png", "--mask", "mask.png")[0] == 0
    assert not np.asarray(Image.open("hint.png"))[60:140, 110:190].any()
    code, _, err = annotate("inpaint", "photo.png", "-o", "other.png")
    assert code == 2
    assert "needs mask" in err


def test_legends_of_a_palette_and_of_a_picture(annotate):
    assert annotate("--legend", "ade20k", "-o", "all.png")[0] == 0
    Image.fromarray(palette.paint(np.tile(np.uint8([0, 5]), (16, 8)))).save("painted.png")
    assert annotate("seg", "painted.png", "--legend", "worlds", "-o", "few.png")[0] == 0
    assert size_of("few.png")[1] < size_of("all.png")[1]
    for words, told in (
        (("--legend", "world", "-o", "x.png"), "did you mean worlds"),
        (("--legend", "worlds"), "the legend is not understood"),
        (("canny", "photo.png", "--legend", "worlds", "-o", "x.png"), "the legend is not understood"),
        (("seg", "photo.png", "--legend", "worlds", "-o", "x.png"), "not in the palette"),
        (("--legend", "worlds", "-o", "all.png"), "exists already"),
    ):
        code, _, err = annotate(*words)
        assert code == 2
        assert told in err


def test_the_list_names_every_annotator_its_parameters_and_the_other_names(annotate):
    code, out, _ = annotate("--list")
    assert code == 0
    for told in ("scribble_drawing", "--contrast 24", "--mask (required)", "lineart_standard = lineart"):
        assert told in out


def test_a_hint_without_edges_is_refused(annotate):
    Image.new("RGB", (64, 64), (90, 90, 90)).save("flat.png")
    code, _, err = annotate("canny", "flat.png", "-o", "edges.png")
    assert code == 2
    assert "canny finds no edges in the picture" in err
    assert "low=10" in err
