"""Layouts of training data: the same examples from each, shards fetched for real, and plain sentences."""

import csv
import io
import json
import re
import shutil
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.data.dataset import open_dataset
from hackamore.data.settings import DataSettings
from hackamore.data.sources import fetch as fetching
from hackamore.data.sources.fetch import fetch
from hackamore.data.sources.item import File, Part
from hackamore.data.sources.layouts import cache_of, find_layout
from hackamore.data.sources.shards import expand
from hackamore.data.sources.tables import _named

COUNT = 6
SIZE = (32, 32)


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def made(number):
    """Name, picture, hint and caption of an example, as files."""
    picture = np.random.default_rng(number).integers(0, 256, (40 + 24 * (number % 2), 40, 3), dtype=np.uint8)
    return f"{number:04d}", png(picture), png(255 - picture), f"picture number {number}"


EXAMPLES = [made(number) for number in range(COUNT)]


def files(folder, pictures="pictures", hints="hints", captions=False):
    for name, picture, hint, text in EXAMPLES:
        for part, content in ((pictures, picture), (hints, hint)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            (folder / part / f"{name}.png").write_bytes(content)
        if captions:
            (folder / pictures / f"{name}.txt").write_text(text + "\n")
    return folder


def official(folder, array=False):
    files(folder, "target", "source")
    rows = [
        {"source": f"source/{name}.png", "target": f"target/{name}.png", "prompt": text}
        for name, _, _, text in EXAMPLES
    ]
    lines = json.dumps(rows) if array else "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "prompt.json").write_text(lines)
    return folder


def imagefolder(folder, table=False, columns=("file_name", "conditioning_image_file_name", "text")):
    files(folder, "images", "conditioning_images")
    rows = [
        dict(zip(columns, (f"images/{name}.png", f"conditioning_images/{name}.png", text), strict=True))
        for name, _, _, text in EXAMPLES
    ]
    if table:
        with (folder / "metadata.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
    else:
        (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def shard(path, examples, hint="hint"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for number, (name, picture, drawn, text) in enumerate(examples):
            told = ("json", json.dumps({"prompt": text}).encode()) if number % 2 else ("txt", text.encode())
            for ending, content in (("png", picture), (f"{hint}.png", drawn), told):
                member = tarfile.TarInfo(f"{name}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def shards(folder):
    for part in range(3):
        shard(folder / f"a{part:03d}.tar", EXAMPLES[2 * part : 2 * part + 2], ("hint", "conditioning", "source")[part])
    return folder


def table(folder, saved=False):
    folder.mkdir(parents=True)
    rows = {
        "image": [{"bytes": picture, "path": f"{name}.png"} for name, picture, _, _ in EXAMPLES],
        "conditioning_image": [{"bytes": hint, "path": None} for _, _, hint, _ in EXAMPLES],
        "text": [text for *_, text in EXAMPLES],
    }
    picture = datasets.Image()
    features = {"image": picture, "conditioning_image": picture, "text": datasets.Value("string")}
    made = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    if saved:
        made.save_to_disk(folder)
    else:
        made.to_parquet(folder / "train-00000.parquet")
    return folder


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


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    folder = imagefolder(tmp_path_factory.mktemp("wanted"))
    return open_dataset(DataSettings(path=str(folder), crops=2, flip=True, buckets=True), ["circle"], SIZE, multiple=8)


def same(one, other):
    assert (len(one), one.captions, one.sizes, one.key) == (len(other), other.captions, other.sizes, other.key)
    for place in range(len(one)):
        for variant in range(one.variants):
            assert np.array_equal(one.picture(place, variant), other.picture(place, variant))
            assert np.array_equal(one.hint(place, variant), other.hint(place, variant))


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


def test_a_damaged_picture_and_a_hint_of_another_shape_are_named(tmp_path):
    files(tmp_path, captions=True)
    (tmp_path / "pictures" / "0001.png").write_bytes(EXAMPLES[1][1][:500])
    (tmp_path / "hints" / "0002.png").write_bytes(EXAMPLES[1][2])
    data = open_dataset(DataSettings(path=str(tmp_path)), ["circle"], SIZE)
    with pytest.raises(HackamoreError, match=r"0001\.png is damaged"):
        data.picture(1)
    with pytest.raises(HackamoreError, match=r"0002\.png has another aspect ratio"):
        data.hint(2)


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


def test_a_table_that_is_nowhere_or_holds_no_pictures_is_said(tmp_path):
    with pytest.raises(HackamoreError, match=r"nobody/nothing cannot be opened as a table.*"):
        open_dataset(DataSettings(path="datasets:nobody/nothing", cache=tmp_path), ["circle"], SIZE)
    datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(HackamoreError, match="no column of pictures"):
        open_dataset(DataSettings(path=str(tmp_path / "a.parquet")), ["circle"], SIZE)


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


class Server(BaseHTTPRequestHandler):
    """Files of a folder with ranges and ETags; a connection breaks off after ``budget`` bytes of one answer."""

    def do_GET(self):
        path = Path(self.server.folder) / self.path.lstrip("/")
        if not path.is_file():
            return self.send_error(404)
        content, etag, start = path.read_bytes(), f'"{path.stat().st_mtime_ns}"', 0
        told = self.headers.get("Range")
        if told and self.headers.get("If-Range") == etag:
            start = int(told.removeprefix("bytes=").rstrip("-"))
        self.server.asked.append(start)
        self.send_response(206 if start else 200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + self.server.budget])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    running.folder, running.asked, running.budget = tmp_path / "served", [], 1 << 30
    running.folder.mkdir()
    running.address = f"http://127.0.0.1:{running.server_address[1]}"
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def test_shards_are_streamed_into_the_cache_and_asked_for_once(server, tmp_path, wanted):
    shards(server.folder)
    settings = DataSettings(
        path=f"{server.address}/a{{000..002}}.tar", cache=tmp_path / "cache", crops=2, flip=True, buckets=True
    )
    told = []
    same(open_dataset(settings, ["circle"], SIZE, multiple=8, progress=lambda *now: told.append(now)), wanted)
    assert told == [(1, 3), (2, 3), (3, 3)]
    same(open_dataset(settings, ["circle"], SIZE, multiple=8), wanted)
    assert server.asked == [0, 0, 0]


def test_a_limit_fetches_no_more_than_it_needs(server, tmp_path):
    shards(server.folder)
    settings = DataSettings(path=f"{server.address}/a{{000..002}}.tar", cache=tmp_path / "cache", limit=2)
    assert len(open_dataset(settings, ["circle"], SIZE)) == 2
    assert server.asked == [0]


def test_who_wants_the_same_shard_at_once_waits_for_it(server, tmp_path):
    whole = shard(server.folder / "a.tar", EXAMPLES).read_bytes()
    with ThreadPoolExecutor(6) as pool:
        gate = threading.Barrier(6)

        def get(_):
            gate.wait(10)
            return fetch(f"{server.address}/a.tar", tmp_path / "cache")

        paths = list(pool.map(get, range(6)))
    assert server.asked == [0]
    assert {path.read_bytes() for path in paths} == {whole}
    assert [file.name for file in paths[0].parent.iterdir()] == [paths[0].name]


def test_a_broken_connection_is_gone_on_with(server, tmp_path):
    whole = shard(server.folder / "a.tar", EXAMPLES).read_bytes()
    server.budget = len(whole) // 4
    with pytest.raises(WorkFailed, match="could not be fetched"):
        fetch(f"{server.address}/a.tar", tmp_path / "cache")
    assert server.asked == [0, server.budget, 2 * server.budget]
    server.budget = len(whole)
    path = fetch(f"{server.address}/a.tar", tmp_path / "cache")
    assert server.asked[3:] == [3 * (len(whole) // 4)]
    assert path.read_bytes() == whole
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_that_has_changed_is_begun_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "TRIES", 1)
    first = shard(server.folder / "a.tar", EXAMPLES[:3])
    server.budget = 5000
    with pytest.raises(WorkFailed):
        fetch(f"{server.address}/a.tar", tmp_path / "cache")
    first.unlink()
    whole = shard(first, EXAMPLES[3:]).read_bytes()
    server.budget = len(whole)
    assert fetch(f"{server.address}/a.tar", tmp_path / "cache").read_bytes() == whole


def test_what_is_not_there_is_said_at_once(server, tmp_path):
    with pytest.raises(WorkFailed, match=r"nothing\.tar could not be fetched"):
        fetch(f"{server.address}/nothing.tar", tmp_path / "cache")
    assert server.asked == []
