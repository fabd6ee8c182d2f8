"""Mirrored pictures are told in mirrored words."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hackamore.core.image import to_hint
from hackamore.data.check import check_data
from hackamore.data.dataset import open_dataset
from hackamore.data.settings import DataSettings
from hackamore.data.sides import mirrored, names_sides
from hackamore.training.build import build
from hackamore.training.config import stage_from
from hackamore.training.draws import Draws
from hackamore.training.forms import make_form

CAPTIONS = ("a tree on the left", "a lake", "Right-hand side: a tree", "bright hills")
OTHERS = ("a tree on the right", "a lake", "Left-hand side: a tree", "bright hills")


@pytest.mark.parametrize(
    ("told", "other"),
    [
        *zip(CAPTIONS, OTHERS, strict=True),
        ("from left to right", "from right to left"),
        ("the Leftmost of them, LEFT", "the Rightmost of them, RIGHT"),
        ("looking_left, left_side", "looking_right, right_side"),
        ("rightmost, righthanded; left.", "leftmost, lefthanded; right."),
        (
            "upright, copyright, brightly, leftover, cleft, rights",
            "upright, copyright, brightly, leftover, cleft, rights",
        ),
        ("", ""),
    ],
)
def test_sides_are_exchanged_and_nothing_else(told, other):
    assert mirrored(told) == other
    assert mirrored(other) == told
    assert names_sides(told) == (told != other)


@given(
    st.lists(st.sampled_from(["left", "Right", "LEFT", "leftmost", "a", "bright", "-hand", ",", "_", "é"]), max_size=8)
)
def test_a_mirror_of_a_mirror_is_the_caption(words):
    for caption in (" ".join(words), "".join(words)):
        assert mirrored(mirrored(caption)) == caption


@pytest.fixture
def pairs(tmp_path):
    numbers, rows = np.random.default_rng(0), []
    for k, caption in enumerate(CAPTIONS):
        for part in ("pictures", "hints"):
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(numbers.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / part / f"{k}.png")
        rows.append({"file_name": f"pictures/{k}.png", "conditioning_image": f"hints/{k}.png", "text": caption})
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.mark.parametrize("cache", [True, False])
def test_a_step_reads_what_is_true_of_the_picture_as_it_is_seen(pairs, sd1, cache):
    told = {"data": {"path": str(pairs), "flip": True, "crops": 2}, "kind": "mine", "output": str(pairs / "o")}
    told |= {"size": (64, 64), "probe": {"every": 0}, "memory": {"cache": cache}, "base": sd1.name}
    stage = stage_from(told | {"objective": {"prompt_dropout": 0}, "run": {"batch_size": 8}}, "the test")
    task = build(sd1, lambda: make_form(sd1, stage.control, stage.kinds), stage)
    batch = task.batch(Draws(0, 0, 8))
    task.restore()
    flips = []
    for row, place in enumerate(batch["places"].tolist()):
        views = [to_hint(task.dataset.hint(place, variant))[0] for variant in range(4)]
        (flip,) = {v >= 2 for v, view in enumerate(views) if torch.equal(view, batch["hint"][row])}
        mine, other = (OTHERS, CAPTIONS) if flip else (CAPTIONS, OTHERS)
        true, false = sd1.encode_text([mine[place], other[place]]).tokens
        apart = float((batch["text"][row] - true).abs().max())
        assert apart < 5e-3
        assert mine[place] == other[place] or apart < 0.1 * float((true - false).abs().max())
        flips += [flip] if place in (0, 2) else []
    assert set(flips) == {True, False}


def test_captions_are_as_they_were_where_nothing_is_mirrored_and_the_check_counts_those_that_are_not(pairs):
    plain, flipped = (
        open_dataset(DataSettings(path=str(pairs), flip=flip), ["mine"], (64, 64)) for flip in (False, True)
    )
    assert plain.texts == plain.captions == flipped.captions == list(CAPTIONS)
    assert flipped.texts == [*CAPTIONS, *OTHERS]
    assert [flipped.text(1, variant) for variant in range(2)] == [1, 5]
    assert "mirrored" not in {finding.code for finding in check_data(plain).findings}
    (finding,) = [finding for finding in check_data(flipped).findings if finding.code == "mirrored"]
    assert (finding.level, len(finding.places)) == ("note", 2)
