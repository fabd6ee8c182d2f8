"""The dry run finds what was spoilt, names it, and is silent about good data."""

import json
import pickle
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from hackamore.core import palette
from hackamore.data import check
from hackamore.data.check import check_data, look_at
from hackamore.data.check_report import Finding, Report
from hackamore.data.circles import write_circles
from hackamore.data.dataset import open_dataset
from hackamore.data.settings import DataSettings
from hackamore.data.worlds import write_worlds
from hackamore.training.unread import unread

COUNT = 20


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    hints = ("seg", "depth", "normal", "pose")
    return write_worlds(tmp_path_factory.mktemp("worlds"), 6, 64, seed=300, hints=hints, workers=1, people=1.0)


@pytest.fixture
def circles(tmp_path):
    return write_circles(tmp_path / "circles", COUNT, 64)


def look(folder, *kinds, size=(64, 64), told=None, **options):
    dataset = open_dataset(DataSettings(path=str(folder), **(told or {})), kinds or ("canny",), size, strict=False)
    return check_data(dataset, **options)


def found(report: Report) -> dict[str, Finding]:
    return {finding.code: finding for finding in report.findings}


def spoil(folder: Path, numbers, change, part="source"):
    for number in numbers:
        path = folder / part / f"{number:08d}.png"
        Image.fromarray(change(np.array(Image.open(path)))).save(path)


def recaption(folder: Path, numbers, text):
    """Other captions in the index that is read first."""
    (folder / "prompt.json").unlink()
    index = folder / "metadata.jsonl"
    rows = [json.loads(line) for line in index.read_text().splitlines()]
    for number in numbers:
        rows[number]["text"] = text
    index.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_good_data_is_passed_in_silence(circles, worlds):
    report = look(circles, need_captions=True)
    assert (report.problems, report.warnings) == ([], [])
    assert report.lines()[-1] == "nothing suspicious was found"
    for kinds in (("canny",), ("seg", "depth", "normal", "pose")):
        report = look(worlds, *kinds)
        assert (report.problems, report.warnings) == ([], []), kinds


def test_facts_are_those_of_the_files(circles):
    spoil(circles, [3], lambda p: cv2.resize(p, (128, 128)), "target")
    spoil(circles, [3], lambda p: cv2.resize(p, (128, 128), interpolation=cv2.INTER_NEAREST))
    report = look(circles, size=(64, 64))
    assert report.count == COUNT
    assert report.facts["picture sizes"] == "64×64 to 128×128, 64×64 in the middle"
    assert report.facts["trained at"] == "64×64 (20)"
    assert report.facts["canny hints"].startswith("read from the data (source); values 0 to 255")
    assert report.facts["captions"].startswith("7 words")


def test_broken_and_missing_files_are_named(circles):
    (circles / "target" / "00000004.png").write_bytes(b"no picture")
    whole = (circles / "source" / "00000005.png").read_bytes()
    (circles / "source" / "00000005.png").write_bytes(whole[: len(whole) // 2])
    (circles / "target" / "00000006.png").unlink()
    report = look(circles)
    broken = found(report)["broken"]
    assert broken.level == "problem"
    assert [any(f"{n:08d}.png" in place for place in broken.places) for n in (4, 5, 6, 7)] == [True, True, True, False]
    assert len(broken.places) == 3
    assert report.facts["pairs"] == "20, 17 of them whole"


def test_a_hint_of_another_aspect_is_named(circles):
    spoil(circles, [2], lambda p: p[:40])
    broken = found(look(circles))["broken"]
    assert len(broken.places) == 1
    assert "00000002.png" in broken.places[0]
    assert "aspect" in broken.places[0]


@pytest.mark.parametrize(("numbers", "level"), [(range(COUNT), "problem"), (range(5), "problem")])
def test_black_on_white(circles, numbers, level):
    spoil(circles, numbers, lambda p: 255 - p)
    polarity = found(look(circles))["polarity"]
    assert polarity.level == level
    assert len(polarity.places) == len(numbers)
    assert "black on white" in polarity.what


def test_one_of_many_is_a_warning(tmp_path):
    folder = write_circles(tmp_path, 60, 64)
    spoil(folder, [7], lambda p: 255 - p)
    report = look(folder)
    assert report.problems == []
    assert found(report)["polarity"].places == (str(folder / "target" / "00000007.png"),)


def test_hints_of_zero_and_one(circles):
    spoil(circles, range(COUNT), lambda p: p // 255)
    report = look(circles)
    assert found(report)["range"].level == "problem"
    assert "constant" not in found(report)
    assert "; values 0 to 1," in report.facts["canny hints"]


@pytest.mark.parametrize(("many", "level"), [(2, "warning"), (12, "problem")])
def test_constant_hints(circles, many, level):
    spoil(circles, range(many), np.zeros_like)
    constant = found(look(circles))["constant"]
    assert (constant.level, len(constant.places)) == (level, many)
    assert "shared-hints" not in found(look(circles)), "what says nothing is told once"


def test_a_hint_that_is_its_picture(circles):
    for number in range(COUNT):
        name = f"{number:08d}.png"
        (circles / "source" / name).write_bytes((circles / "target" / name).read_bytes())
    same = found(look(circles))["hint-is-picture"]
    assert (same.level, len(same.places)) == ("problem", COUNT)
    assert "hint-is-picture" not in found(look(circles, "tile", told={"hint": "source"}))


def test_a_hint_that_is_a_grey_copy_of_its_picture(worlds, tmp_path):
    folder = copied(worlds, tmp_path)
    for number in range(300, 306):
        Image.open(folder / "pictures" / f"{number:08d}.png").convert("L").save(folder / "depth" / f"{number:08d}.png")
    same = found(look(folder, "depth"))["hint-is-picture"]
    assert (same.level, len(same.places)) == ("problem", 6)


def test_duplicates_and_shared_hints(circles):
    for part in ("source", "target"):
        (circles / part / "00000009.png").write_bytes((circles / part / "00000002.png").read_bytes())
    (circles / "source" / "00000011.png").write_bytes((circles / "source" / "00000012.png").read_bytes())
    codes = found(look(circles))
    assert [Path(place).stem for place in codes["duplicates"].places] == ["00000009"]
    assert [Path(place).stem for place in codes["shared-hints"].places] == ["00000011", "00000012"]


def test_enlarged_pictures_are_counted(circles):
    report = look(circles, size=(128, 128))
    assert len(found(report)["enlarged"].places) == COUNT
    assert found(report)["enlarged"].level == "warning"


def test_captions(circles, meadow):
    recaption(circles, [1, 2], "")
    assert found(look(circles, need_captions=True))["empty-captions"].level == "problem"
    warned = found(look(circles))["empty-captions"]
    assert (warned.level, len(warned.places)) == ("warning", 2)
    asked = []

    def ends(caption):
        asked.append(caption)
        return caption[12:] if "black" in caption else ""

    report = look(circles, ends=ends)
    assert len(asked) == len(set(asked))
    assert found(report)["long-captions"].level == "warning"
    assert "long-captions" not in found(look(circles, ends=unread(meadow)))


@pytest.mark.parametrize("name", ["meadow", "sdxl"])
def test_a_caption_is_read_as_far_as_training_encodes_it(request, name):
    """Training takes the first chunk alone, whatever generation reads."""
    base = request.getfixturevalue(name)
    end, length = unread(base), base.encode_text([""]).tokens.shape[1]
    assert end("a lake") == ""
    long = "red " * length
    assert 0 < len(end(long).split()) == len(long.split()) - len(base.tokenizer(long).input_ids[1 : length - 1]) > 0
    kept = long[: -len(end(long)) - 1]
    assert end(kept) == ""
    with_end, without = (base.encode_text([text]).tokens[:, :length] for text in (long, kept))
    assert torch.allclose(with_end, without, atol=1e-5)


def test_captions_that_are_alike(circles):
    recaption(circles, range(18), "a circle")
    assert "3 of 20" in found(look(circles))["alike-captions"].what


def swapped(picture):
    return np.ascontiguousarray(picture[..., ::-1])


@pytest.mark.parametrize("kind", ["seg", "normal"])
def test_red_and_blue_exchanged(worlds, tmp_path, kind):
    folder = copied(worlds, tmp_path)
    spoil(folder, range(300, 306), swapped, kind)
    order = found(look(folder, kind))["colour-order"]
    assert order.level == "problem"
    assert len(order.places) >= 5, "a plain has few slopes to tell by"


def test_class_numbers_in_place_of_colours(worlds, tmp_path):
    folder = copied(worlds, tmp_path)
    spoil(folder, range(300, 306), lambda p: np.repeat(palette.read(p)[..., None], 3, axis=2), "seg")
    codes = found(look(folder, "seg"))
    assert codes["class-numbers"].level == "problem"
    assert not {"range", "unlike"} & set(codes)


def test_colours_of_no_palette(worlds, tmp_path):
    folder = copied(worlds, tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    spoil(folder, [301], lambda p: noise, "seg")
    assert [Path(place).stem for place in found(look(folder, "seg"))["unlike"].places] == ["00000301"]


def test_inverted_depth(worlds, tmp_path):
    folder = copied(worlds, tmp_path)
    spoil(folder, range(300, 306), lambda p: 255 - p, "depth")
    assert found(look(folder, "depth"))["inverted-depth"].level == "problem"


def test_the_report_in_words_and_in_json(circles):
    spoil(circles, range(5), np.zeros_like)
    (circles / "target" / "00000010.png").unlink()
    progress = []
    report = look(circles, progress=lambda done, count: progress.append((done, count)), workers=2)
    assert progress == [(k, COUNT) for k in range(1, COUNT + 1)]
    assert len(report.problems) + len(report.warnings) == 2
    assert any(line.startswith("problem: 1 pair cannot be read") for line in report.lines())
    assert any("and 2 more; try:" in line for line in report.problems)
    told = json.loads(json.dumps(report.json()))
    assert len(next(f for f in told["findings"] if f["code"] == "constant")["places"]) == 5
    more = report.beside({"memory": "1 GiB"}, [Finding("problem", "memory", "it does not fit")])
    assert more.facts["memory"] == "1 GiB"
    assert more.problems[-1] == "it does not fit"
    assert len(report.problems) == 2


def test_the_first_pairs_are_looked_at_together_and_told_as_they_come(circles, monkeypatch):
    meeting, looked, told = threading.Barrier(2), [], []

    def together(dataset, place):
        meeting.wait(10)
        looked.append(place)
        if place == COUNT - 1:
            assert told, "nothing was told before the end"
        return look_at(dataset, place)

    monkeypatch.setattr(check, "look_at", together)
    look(circles, workers=2, progress=lambda done, _: told.append(done))
    assert sorted(looked) == list(range(COUNT))


def test_what_is_known_of_contents_is_known_in_a_part(circles):
    dataset = open_dataset(DataSettings(path=str(circles)), ["canny"], (64, 64))
    dataset.hash_contents()
    prints = [dataset.fingerprint(place) for place in (3, 7)]
    for path in (circles / "target").iterdir():
        path.unlink()
    part = pickle.loads(pickle.dumps(dataset.subset([3, 7])))
    assert [part.fingerprint(place) for place in range(2)] == prints


def test_processes_see_what_threads_see(tmp_path, monkeypatch):
    folder = write_circles(tmp_path / "many", 150, 32)
    spoil(folder, [3, 70, 149], np.zeros_like)
    (folder / "target" / "00000100.png").unlink()
    alone = look(folder, workers=2)
    monkeypatch.setattr(check, "WORTH", 0.0)
    progress = []
    report = look(folder, workers=2, progress=lambda done, count: progress.append(done))
    assert report == alone
    assert len(found(report)["constant"].places) == 3
    assert progress == list(range(1, 151))


def copied(folder: Path, to: Path) -> Path:
    import shutil

    return Path(shutil.copytree(folder, to / "worlds", ignore=shutil.ignore_patterns(".cache")))
