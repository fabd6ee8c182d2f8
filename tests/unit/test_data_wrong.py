"""Training data that is wrong is told in a plain sentence, when it is opened or when it is read."""

import json
import re

import datasets
import pytest

from hackamore.core.errors import HackamoreError
from hackamore.data.dataset import open_dataset
from hackamore.data.settings import DataSettings
from hackamore.data.sources.layouts import cache_of
from hackamore.data.sources.shards import expand
from tests.layouts import COUNT, EXAMPLES, SIZE, files, official, shard, table


def test_a_damaged_picture_and_a_hint_of_another_shape_are_named(tmp_path):
    files(tmp_path, captions=True)
    (tmp_path / "pictures" / "0001.png").write_bytes(EXAMPLES[1][1][:500])
    (tmp_path / "hints" / "0002.png").write_bytes(EXAMPLES[1][2])
    data = open_dataset(DataSettings(path=str(tmp_path)), ["circle"], SIZE)
    with pytest.raises(HackamoreError, match=r"0001\.png is damaged"):
        data.picture(1)
    with pytest.raises(HackamoreError, match=r"0002\.png has another aspect ratio"):
        data.hint(2)


def test_a_table_that_is_nowhere_or_holds_no_pictures_is_said(tmp_path):
    with pytest.raises(HackamoreError, match=r"nobody/nothing cannot be opened as a table.*"):
        open_dataset(DataSettings(path="datasets:nobody/nothing", cache=tmp_path), ["circle"], SIZE)
    datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(HackamoreError, match="no column of pictures"):
        open_dataset(DataSettings(path=str(tmp_path / "a.parquet")), ["circle"], SIZE)


@pytest.mark.parametrize("pattern", ["a{3..1}.tar", "a{0..999999}.tar", "{0..999}{0..999}"])
def test_braces_that_mean_nothing_or_too_much(pattern):
    with pytest.raises(HackamoreError):
        expand(pattern)


def broken(folder, name):
    """Data with one thing wrong."""
    if name == "two layouts":
        shard(files(folder, captions=True) / "a.tar", EXAMPLES)
        table(folder / "data")
    elif name == "pictures twice":
        files(files(folder, captions=True), "images", "hints")
    elif name == "hints twice":
        files(files(folder, captions=True), "pictures", "source")
    elif name == "missing file":
        (official(folder) / "target" / "0003.png").unlink()
    elif name == "missing hint":
        (files(folder, captions=True) / "hints" / "0003.png").unlink()
    elif name == "missing captions":
        (files(folder, captions=True) / "pictures" / "0003.txt").unlink()
        (folder / "pictures" / "0004.txt").write_text(" \n")
    elif name == "cut shard":
        path = shard(folder / "a.tar", EXAMPLES)
        path.write_bytes(path.read_bytes()[:9000])
    elif name == "held out":
        (official(folder) / "metadata.jsonl").write_text(
            "".join(json.dumps({"image": f"target/{n}.png", "seed": 9_000_000}) + "\n" for n, *_ in EXAMPLES)
        )
    elif name == "empty":
        folder.mkdir()
    elif name == "not an index":
        (official(folder) / "prompt.json").write_text('{"source": 3}\n')
    return str(folder)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("two layouts", "several layouts\nexpected: data.layout, one of webdataset, datasets"),
        ("pictures twice", "not clear where the pictures"),
        ("hints twice", "not clear where the hints"),
        ("missing file", "missing: .*0003.png"),
        ("missing hint", "1 of 6 pictures have no circle hint\nreceived: the first is .*0003"),
        ("missing captions", "2 of 6 pictures have no caption\nreceived: the first is .*0003"),
        ("cut shard", "cannot be read as a shard"),
        ("held out", "kept for evaluation"),
        ("empty", "holds no training data"),
        ("not an index", "line 1 of .* is not understood"),
        ("nowhere", "no such data"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path, name, words):
    with pytest.raises(HackamoreError) as caught:
        open_dataset(DataSettings(path=broken(tmp_path / "data", name)), ["circle"], SIZE)
    assert re.search(words, str(caught.value)), str(caught.value)


@pytest.mark.parametrize("told", [{"path": "~nobody-lives-here/x"}, {"path": "x", "cache": "~nobody-lives-here"}])
def test_a_home_of_nobody_is_said(told):
    with pytest.raises(HackamoreError, match="no such data: ~nobody-lives-here"):
        cache_of(DataSettings(**told))
    with pytest.raises(HackamoreError, match="no such data"):
        open_dataset(DataSettings(**told), ["circle"], SIZE)


def test_no_path_is_not_the_folder_that_one_is_in():
    with pytest.raises(ValueError, match="at least 1 character"):
        DataSettings(path="")


def test_a_layout_can_be_told_where_two_are_there_and_missing_captions_accepted(tmp_path):
    path = broken(tmp_path / "a", "two layouts")
    assert len(open_dataset(DataSettings(path=path, layout="paired"), ["circle"], SIZE)) == COUNT
    path = broken(tmp_path / "b", "missing captions")
    data = open_dataset(DataSettings(path=path, captions="empty"), ["circle"], SIZE)
    assert data.captions[3:5] == ["", ""]
    with pytest.raises(HackamoreError, match="has no index of the layout imagefolder"):
        open_dataset(DataSettings(path=path, layout="imagefolder"), ["circle"], SIZE)
    with pytest.raises(HackamoreError, match="another layout"):
        open_dataset(DataSettings(path="datasets:x", layout="paired"), ["circle"], SIZE)


def test_without_strictness_what_is_missing_is_found_when_it_is_read(tmp_path):
    path = broken(tmp_path / "a", "missing file")
    data = open_dataset(DataSettings(path=path, buckets=True), ["circle"], SIZE, multiple=8, strict=False)
    data.picture(2)
    with pytest.raises(HackamoreError, match=r"missing: .*0003\.png"):
        data.picture(3)
