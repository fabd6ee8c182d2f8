"""Data sets as training uses them: hints by kind, mirrored and kept."""

import cv2
import numpy as np
import pytest
from PIL import Image

from hackamore.annotators.canny import Canny
from hackamore.core.errors import HackamoreError
from hackamore.core.image import load_picture
from hackamore.data.cache import stamps
from hackamore.data.dataset import open_dataset
from hackamore.data.pairs import read_pairs
from hackamore.data.settings import DataSettings
from hackamore.data.worlds import write_worlds

SIZE = (64, 64)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    return write_worlds(folder, 10, 64, seed=40, hints=("seg", "normal", "pose"), workers=1, people=1.0)


def opened(folder, kinds, **told):
    return open_dataset(DataSettings(path=str(folder), **told), kinds, SIZE)


def test_each_kind_of_a_world_comes_from_where_it_is_best_known(worlds):
    data = opened(worlds, ["seg", "normal", "pose", "canny"])
    name = f"{data.items[3].stem}.png"
    for kind in ("seg", "normal"):
        assert np.array_equal(data.hint(3, kind=kind), load_picture(worlds / kind / name))
    apart = np.abs(data.hint(3, kind="pose").astype(int) - load_picture(worlds / "pose" / name)).max(axis=2) > 8
    assert apart.mean() < 0.005  # drawn anew from key points, which are written with three digits
    made = Canny(density=0.095)(data.picture(3))
    assert np.array_equal(data.hint(3, kind="canny"), made)
    example = data.example(3)
    assert (example.caption, example.attributes) == (data.captions[3], data.items[3].attributes)
    assert set(example.given) == {"seg", "normal", "pose", "canny"}
    assert len(example.people.people) > 0
    with pytest.raises(HackamoreError, match="no such hints"):
        data.hint(3, kind="depth")


def test_the_index_is_not_taken_for_hints_of_another_kind(worlds):
    assert opened(worlds, ["softedge"]).makings["softedge"].kind == "softedge"
    with pytest.raises(HackamoreError, match="has no softedge hints"):
        opened(worlds, ["softedge"], annotate=False)
    assert "seg" in opened(worlds, ["seg"]).given
    with pytest.raises(HackamoreError, match="no hints are made"):
        opened(worlds, ["seg"], parameters={"density": 0.1})


def test_a_mirrored_variant_is_the_mirror_of_the_plain_one(worlds):
    data = opened(worlds, ["seg", "normal", "pose", "canny"], flip=True, crops=2)
    assert data.variants == 4
    for crop in range(2):
        plain, turned = crop, crop + 2
        assert np.array_equal(data.picture(1, turned), data.picture(1, plain)[:, ::-1])
        assert np.array_equal(data.hint(1, turned, "seg"), data.hint(1, plain, "seg")[:, ::-1])
        normal, other = data.hint(1, plain, "normal")[:, ::-1].astype(int), data.hint(1, turned, "normal").astype(int)
        known = cv2.erode((normal.max(axis=2) > 190).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        wanted = np.stack([255 - normal[..., 0], normal[..., 1], normal[..., 2]], axis=2)
        assert known.mean() > 0.2
        assert np.abs(other - wanted)[known].max() <= 2
        pose = data.hint(1, turned, "pose")
        assert (pose.any(axis=2) == data.hint(1, plain, "pose")[:, ::-1].any(axis=2)).mean() > 0.97
        assert not np.array_equal(pose, data.hint(1, plain, "pose")[:, ::-1])
        assert np.array_equal(data.hint(1, turned, "canny"), Canny(density=0.095)(data.picture(1, turned)))


def test_drawn_poses_without_key_points_are_not_mirrored(worlds, tmp_path):
    rows = (worlds / "metadata.jsonl").read_text()
    (tmp_path / "metadata.jsonl").write_text(rows)
    for part in ("pictures", "pose"):
        (tmp_path / part).symlink_to(worlds / part)
    assert opened(tmp_path, ["pose"]).hint(0).any()
    with pytest.raises(HackamoreError, match="cannot be mirrored"):
        opened(tmp_path, ["pose"], flip=True)


def test_hints_that_are_kept_are_made_once(worlds, tmp_path, monkeypatch):
    told = {"annotate": True, "parameters": {"density": [0.02, 0.2]}, "cache_hints": True, "cache": tmp_path / "kept"}
    first = opened(worlds, ["canny"], **told)
    made = [first.hint(place, u=(0.9, 0.1)) for place in range(3)]
    assert np.array_equal(made[0], Canny(density=0.11)(first.picture(0)))
    monkeypatch.setattr(Canny, "__call__", None)
    again = opened(worlds, ["canny"], **told)
    assert all(np.array_equal(again.hint(place), hint) for place, hint in enumerate(made))
    with pytest.raises(TypeError):
        again.hint(3)


def test_examples_are_held_back_by_name(worlds):
    data = opened(worlds, ["seg"])
    training, probe = data.held_back(3)
    assert len(training) == 7
    assert {item.stem for item in training.items} | {item.stem for item in probe.items} == {i.stem for i in data.items}
    fewer = data.subset(range(9)).held_back(3)[1]
    assert len({item.stem for item in fewer.items} & {item.stem for item in probe.items}) >= 2
    with pytest.raises(HackamoreError, match="cannot be held back"):
        data.held_back(10)


def test_the_key_is_of_the_contents_alone(worlds, tmp_path, monkeypatch):
    data = opened(worlds, ["seg"])
    monkeypatch.chdir(worlds.parent)
    assert opened(worlds.name, ["canny"]).key == data.key
    pairs, others = read_pairs(worlds), read_pairs(worlds.name)
    assert stamps([pair.picture for pair in pairs]) == stamps([pair.picture for pair in others])
    assert opened(worlds, ["seg"], crops=2).key != data.key
    assert open_dataset(DataSettings(path=str(worlds)), ["seg"], (32, 32)).key != data.key
    changed = tmp_path / "pictures"
    changed.mkdir()
    for item in data.items:
        (changed / f"{item.stem}.png").write_bytes(item.picture.read())
    copied = opened(tmp_path, ["canny"], captions="empty")
    assert copied.key == data.key
    Image.fromarray(255 - data.picture(0)).save(changed / f"{data.items[0].stem}.png")
    assert opened(tmp_path, ["canny"], captions="empty").key != data.key
