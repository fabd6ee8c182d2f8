"""The same few examples of training data in every layout."""

import csv
import io
import json
import tarfile

import datasets
import numpy as np
from PIL import Image

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


def same(one, other):
    assert (len(one), one.captions, one.sizes, one.key) == (len(other), other.captions, other.sizes, other.key)
    for place in range(len(one)):
        for variant in range(one.variants):
            assert np.array_equal(one.picture(place, variant), other.picture(place, variant))
            assert np.array_equal(one.hint(place, variant), other.hint(place, variant))
