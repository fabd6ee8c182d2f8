"""Layouts of training data: the same examples from each."""

import csv
import json
import shutil

import datasets
import numpy as np
import pytest
from PIL import Image

from hackamore.core.errors import HackamoreError
from hackamore.data.dataset import open_dataset
from hackamore.data.settings import DataSettings
from hackamore.data.sources.item import File, Part
from hackamore.data.sources.layouts import find_layout
from hackamore.data.sources.shards import expand
from hackamore.data.sources.tables import _named
from tests.layouts import (
    COUNT,
    EXAMPLES,
    SIZE,
    files,
    imagefolder,
    official,
    same,
    shard,
    shards,
    table,
)

LAYOUTS = {
    "lines": lambda f: str(official(f)),
    "array": lambda f: str(official(f, array=True)),
    "index itself": lambda f: str(official(f) / "prompt.json"),
    "imagefolder": lambda f: str(imagefolder(f)),
    "csv": lambda f: str(imagefolder(f, table=True)),
    "columns of the hub": lambda f: str(imagefolder(f, columns=("image", "conditioning_image", "caption"))),
    "split": lambda f: str(imagefolder(f / "train").parent),
    "paired": lambda f: str(files(f, captions=True)),
    "other names": lambda f: str(files(f, "images", "conditioning", captions=True)),
    "shards": lambda f: str(shards(f)),
    "braces": lambda f: f"{shards(f)}/a{{000..002}}.tar",
    "one shard": lambda f: str(shard(f / "all.tar", EXAMPLES)),
    "parquet": lambda f: str(table(f)),
    "parquet file": lambda f: str(table(f) / "train-00000.parquet"),
    "saved": lambda f: f"datasets:{table(f, saved=True)}",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_same_data(layout, tmp_path, wanted):
    settings = DataSettings(path=LAYOUTS[layout](tmp_path / "data"), crops=2, flip=True, buckets=True)
    same(open_dataset(settings, ["circle"], SIZE, multiple=8), wanted)
    assert [item.stem for item in wanted.items] == [name for name, *_ in EXAMPLES]


def test_the_data_is_the_pictures_and_captions_that_were_written(wanted):
    assert wanted.captions == [text for *_, text in EXAMPLES]
    plain = open_dataset(DataSettings(path=str(wanted.cache.parent)), ["circle"], (40, 40))
    assert np.array_equal(plain.picture(2), 255 - plain.hint(2))
    assert len(plain.groups) == 1
    assert len(wanted.groups) == len(set(wanted.sizes)) == 2


def test_a_caption_may_hold_any_character_that_its_index_may(tmp_path):
    texts = ["a\u2028b", "a\u0085b", "a\x0cb", "a line\nand a second one, with a comma", 'a "quoted" word', "plain"]
    rows = [{"file_name": f"images/{name}.png", "text": text} for (name, *_), text in zip(EXAMPLES, texts, strict=True)]
    lines, sheet = (files(tmp_path / name, "images", "hints") for name in ("lines", "sheet"))
    told = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (lines / "metadata.jsonl").write_text(told, encoding="utf-8")
    with (sheet / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for folder in (lines, sheet):
        assert open_dataset(DataSettings(path=str(folder)), ["canny"], SIZE).captions == texts


def test_a_limit_takes_the_first(tmp_path):
    data = open_dataset(DataSettings(path=str(shards(tmp_path)), limit=3), ["circle"], SIZE)
    assert data.captions == [text for *_, text in EXAMPLES[:3]]


def test_the_first_sub_folder_or_column_that_is_told_is_taken(tmp_path):
    folder = imagefolder(tmp_path / "a")
    shutil.copytree(folder / "images", folder / "others")
    data = open_dataset(DataSettings(path=str(folder), hint="others"), ["circle"], SIZE)
    assert np.array_equal(data.hint(1), data.picture(1))
    with pytest.raises(HackamoreError, match="no hints called nothing"):
        open_dataset(DataSettings(path=str(folder), hint="nothing"), ["circle"], SIZE)
    data = open_dataset(DataSettings(path=str(table(tmp_path / "b")), hint="image"), ["circle"], SIZE)
    assert np.array_equal(data.hint(1), data.picture(1))


def test_hints_may_lie_below_the_pictures(tmp_path):
    files(tmp_path, ".", "canny", captions=True)
    data = open_dataset(DataSettings(path=str(tmp_path)), ["canny"], (40, 40))
    assert len(data) == COUNT
    assert np.array_equal(data.hint(0), 255 - data.picture(0))


@pytest.mark.parametrize("saved", [False, True])
def test_a_split_of_a_table_is_chosen(tmp_path, saved):
    parts = {
        split: datasets.Dataset.from_dict(
            {"image": [{"bytes": picture, "path": None}], "caption": [split]},
            features=datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")}),
        )
        for split, (_, picture, *_) in zip(("train", "test"), EXAMPLES[:2], strict=True)
    }
    if saved:
        datasets.DatasetDict(parts).save_to_disk(tmp_path)
    else:
        for split, part in parts.items():
            part.to_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    for split in parts:
        data = open_dataset(DataSettings(path=str(tmp_path), split=split), ["canny"], SIZE)
        assert (data.captions, data.items[0].stem) == ([split], "00000000")
    with pytest.raises(HackamoreError, match=r"has no split dev[^$]*one of test, train"):
        open_dataset(DataSettings(path=str(tmp_path), split="dev"), ["canny"], SIZE)
    if not saved:  # what is no folder is opened by its name
        assert len(_named(datasets, str(tmp_path), "train+test")) == 2
        with pytest.raises(HackamoreError, match=r"has no split dev\[:5\][^$]*one of test, train"):
            _named(datasets, str(tmp_path), "dev[:5]")


def test_files_without_splits_are_one_table_and_a_folder_of_one_split_is_that_alone(tmp_path):
    folder = table(tmp_path / "a")
    assert len(open_dataset(DataSettings(path=str(folder), split="any"), ["circle"], SIZE)) == COUNT
    (file,) = folder.glob("*.parquet")
    (folder / "test").mkdir()
    file.rename(folder / "test" / "0.parquet")
    with pytest.raises(HackamoreError, match=r"has no split train[^$]*one of test\ntry: --set data.split=test "):
        open_dataset(DataSettings(path=f"datasets:{folder}"), ["circle"], SIZE)


def test_a_kind_named_member_or_column_is_the_hint_of_that_kind(tmp_path):
    shard(tmp_path / "a.tar", EXAMPLES, "depth")
    assert set(open_dataset(DataSettings(path=str(tmp_path / "a.tar")), ["depth"], SIZE).given) == {"depth"}
    made = open_dataset(DataSettings(path=str(tmp_path / "a.tar")), ["canny"], SIZE)
    assert set(made.makings) == {"canny"}
    both = open_dataset(DataSettings(path=str(tmp_path / "a.tar")), ["canny", "depth"], (40, 40))
    assert np.array_equal(both.hint(0, kind="depth"), 255 - both.picture(0))
    with pytest.raises(HackamoreError, match="hints of several kinds"):
        open_dataset(DataSettings(path=str(tmp_path / "a.tar"), hint="depth"), ["canny", "depth"], SIZE)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
def test_the_size_of_a_picture_is_that_which_is_shown(tmp_path, ending, orientation):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.new("RGB", (40, 24), "red").save(tmp_path / f"a.{ending}", exif=exif)
    for blob in (File(tmp_path / f"a.{ending}"), Part(tmp_path / f"a.{ending}", 0, 10_000, "a")):
        assert blob.size == blob.picture().shape[1::-1]
        assert blob.size == ((24, 40) if orientation in (6, 8) else (40, 24))


def test_pictures_alone_get_hints_from_an_annotator(tmp_path):
    for name, picture, _, text in EXAMPLES:
        (tmp_path / f"{name}.png").write_bytes(picture)
        (tmp_path / f"{name}.txt").write_text(text)
    data = open_dataset(DataSettings(path=str(tmp_path), parameters={"high": [100, 900]}), ["canny"], SIZE)
    assert find_layout(DataSettings(path=str(tmp_path)), ["canny"])[0] == "pictures"
    assert data.hint(0, u=(0.0, 0.0)).mean() > 2 * data.hint(0, u=(1.0, 0.0)).mean()
    assert data.captions[3] == "picture number 3"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a{000..002}.tar", ["a000.tar", "a001.tar", "a002.tar"]),
        ("a{8..10}.tar", ["a8.tar", "a9.tar", "a10.tar"]),
        ("{a,b}{0..1}", ["a0", "a1", "b0", "b1"]),
        ("plain.tar", ["plain.tar"]),
    ],
)
def test_braces(pattern, names):
    assert expand(pattern) == names
