"""The tutorial's circles: exact, the same every time, and honest about wrong wishes."""

import json
import re

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hackamore.annotators.recognise import recognise
from hackamore.core.errors import HackamoreError
from hackamore.data.circles import APART, COLOUR_PAIRS, COLOURS, make_circle, write_circles
from hackamore.data.pairs import training_pairs
from tests.behaviour.conftest import run  # noqa: F401


@settings(max_examples=60, deadline=None)
@given(number=st.integers(0, 10**8), size=st.sampled_from([(32, 32), (64, 64), (96, 64), (64, 128)]))
def test_the_picture_is_what_hint_and_caption_say(number, size):
    circle = make_circle(number)
    picture, hint = circle.picture(size), circle.hint(size)
    assert picture.shape == hint.shape == (size[1], size[0], 3)
    assert set(np.unique(hint)) == {0, 255}
    seeds = np.zeros((size[1] + 2, size[0] + 2), np.uint8)
    _, filled, _, _ = cv2.floodFill(hint[..., 0].copy(), seeds, (0, 0), 128)  # 128: outside the outline
    outside, inside = filled == 128, filled == 0
    assert inside.any()
    assert (picture[inside] == COLOURS[circle.colour]).all(1).mean() > 0.97
    assert (picture[outside] == COLOURS[circle.ground]).all(1).mean() > 0.97
    border = np.concatenate([hint[0], hint[-1], hint[:, 0], hint[:, -1]])
    assert not border.any(), "an outline leaves the picture"
    assert re.fullmatch(r"an? (\w+) circle on an? (\w+) ground", circle.caption).groups() == (
        circle.colour,
        circle.ground,
    )


def test_the_hint_is_recognised_as_canny():
    seen = [recognise(make_circle(number).hint((128, 128)), "canny") for number in range(20)]
    assert all(one.is_hint and one.certain and not one.notices for one in seen)


def test_colours_are_those_of_css_and_well_apart(meadow):
    from PIL import ImageColor

    assert all(ImageColor.getrgb(name) == colour for name, colour in COLOURS.items())
    for colour, ground in COLOUR_PAIRS:
        assert np.linalg.norm(np.subtract(COLOURS[colour], COLOURS[ground])) >= APART
    assert {name for pair in COLOUR_PAIRS for name in pair} == set(COLOURS)
    captions = {make_circle(number).caption for number in range(300)}
    assert len(captions) > 60
    assert not any(meadow.words_lost(caption) for caption in captions)


def test_a_call_goes_on_where_another_stopped(tmp_path):
    whole = write_circles(tmp_path / "whole", 12, 32, seed=5)
    part = write_circles(tmp_path / "part", 7, (32, 32), seed=5)
    kept = (part / "target" / "00000006.png").stat().st_mtime_ns
    (part / "source" / "00000008.png").unlink()
    done = []
    write_circles(part, 12, 32, seed=5, progress=lambda k, n: done.append((k, n)))
    assert done == [(k, 12) for k in range(1, 13)]
    assert (part / "target" / "00000006.png").stat().st_mtime_ns == kept
    files = sorted(path.relative_to(whole) for path in whole.rglob("*.*"))
    assert files == sorted(path.relative_to(part) for path in part.rglob("*.*"))
    assert all((whole / name).read_bytes() == (part / name).read_bytes() for name in files)


def test_both_indexes_tell_the_same_and_training_reads_them(tmp_path):
    write_circles(tmp_path, 3, 32, seed=9_000_000)
    write_circles(tmp_path, 2, 32, seed=1)  # the first ones stay
    official = [json.loads(line) for line in (tmp_path / "prompt.json").read_text().splitlines()]
    pairs = training_pairs(tmp_path)
    assert len(pairs) == 5
    for row, pair in zip(official, pairs, strict=True):
        assert (tmp_path / row["target"], tmp_path / row["source"], row["prompt"]) == (
            pair.picture,
            pair.hint,
            pair.text,
        )
        circle = make_circle(int(pair.picture.stem))
        assert np.array_equal(np.asarray(Image.open(pair.picture)), circle.picture((32, 32)))
        assert np.array_equal(np.asarray(Image.open(pair.hint)), circle.hint((32, 32)))
        assert pair.text == circle.caption


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ({"count": 0}, "count"),
        ({"count": 10**9}, "count"),
        ({"count": 1, "seed": -1}, "seed"),
        ({"count": 1, "size": 8}, "size"),
        ({"count": 1, "size": (64, 9000)}, "size"),
    ],
)
def test_wrong_wishes_are_refused(tmp_path, told, what):
    with pytest.raises(HackamoreError, match=what) as caught:
        write_circles(tmp_path, **told)
    assert caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_other_data_is_never_overwritten(tmp_path):
    (tmp_path / "prompt.json").write_text('{"source": "a.png", "target": "b.png", "prompt": "mine"}\n')
    with pytest.raises(HackamoreError, match="other data"):
        write_circles(tmp_path, 1, 32)
    assert "mine" in (tmp_path / "prompt.json").read_text()


def test_another_size_in_the_same_folder_is_refused(tmp_path):
    write_circles(tmp_path, 1, 32)
    with pytest.raises(HackamoreError, match="another size") as caught:
        write_circles(tmp_path, 2, 64)
    assert "32×32" in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(HackamoreError, match="cannot write"):
        write_circles(tmp_path / "taken", 1, 32)


def test_the_command(tmp_path, run):  # noqa: F811
    code, out, err = run("circles", "--out", tmp_path / "c", "--count", 3, "--size", 32, "--seed", 7)
    assert (code, err) == (0, "")
    assert "3 circles" in out
    assert sorted(path.name for path in (tmp_path / "c" / "target").iterdir()) == [f"0000000{k}.png" for k in (7, 8, 9)]
    code, _, err = run("circles", "--out", tmp_path / "c", "--count", 3, "--size", "red")
    assert code == 2
    assert err.startswith("error: the size is not understood")
