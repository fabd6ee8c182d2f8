"""Caches of latents and texts: by contents, shared, and whole after a kill."""

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from hackamore.bases.memory import tiled
from hackamore.data.dataset import open_dataset
from hackamore.data.settings import DataSettings
from hackamore.data.shelf import Shelf
from hackamore.training.caches import autoencoder_key, latents_of, reader_key, texts_of
from hackamore.training.draws import Draws
from tests import transformer_models


@pytest.fixture
def photos(tmp_path):
    """Pictures of two aspect ratios, alone."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(40):
        size = (48, 96, 3) if number % 3 == 0 else (64, 64, 3)
        picture = np.random.default_rng(number).integers(0, 256, size, dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{number:03d}.png")
        (folder / f"{number:03d}.txt").write_text(f"a picture, number {number % 7}")
    return folder


def photo_set(folder, **told):
    settings = DataSettings(path=str(folder), buckets=True, **told)
    return open_dataset(settings, ["canny"], (64, 64), multiple=16)


class Counting:
    """A base that counts what it encodes."""

    def __init__(self, base):
        self.base, self.pictures, self.captions = base, 0, 0

    def __getattr__(self, name):
        return getattr(self.base, name)

    def encode(self, pictures):
        self.pictures += len(pictures)
        return self.base.encode(pictures)

    def encode_text(self, prompts, **told):
        self.captions += len([prompt for prompt in prompts if prompt])
        return self.base.encode_text(prompts, **told)


def test_cached_latents_are_those_of_the_pictures(photos, sd1, tmp_path):
    data = photo_set(photos, flip=True)
    assert len(data.groups) == 2
    told = []
    kept = latents_of(data, sd1, "no", tmp_path / "cache", progress=lambda *now: told.append(now), rows=16)
    assert told[-1] == (80, 80)
    free = latents_of(data, sd1)
    for group in data.groups:
        places, variants = group[[0, 3, 5, 1]], np.array([0, 1, 1, 0])
        read = kept.read(places, variants)
        assert read.dtype == torch.float32
        torch.testing.assert_close(read, free.read(places, variants), atol=2e-3, rtol=2e-3)
        picture = torch.from_numpy(data.picture(int(places[1]), 1)).permute(2, 0, 1)[None] / 127.5 - 1
        torch.testing.assert_close(read[1:2], sd1.encode(picture), atol=2e-3, rtol=2e-3)


def test_only_new_pictures_are_encoded_and_never_by_path(photos, sd1, tmp_path, monkeypatch):
    base = Counting(sd1)
    latents_of(photo_set(photos), base, "no", tmp_path / "cache")
    assert base.pictures == 40
    training, _ = photo_set(photos).held_back(8)
    latents_of(training, base, "no", tmp_path / "cache")
    monkeypatch.chdir(photos.parent)
    latents_of(photo_set("photos"), base, "no", tmp_path / "cache")
    photos.rename(photos.parent / "moved")
    latents_of(photo_set(photos.parent / "moved"), base, "no", tmp_path / "cache")
    assert base.pictures == 40
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(photos.parent / "moved" / "001.png")
    latents_of(photo_set("moved"), base, "no", tmp_path / "cache")
    assert base.pictures == 41
    latents_of(photo_set("moved"), base, "bf16", tmp_path / "cache")
    assert base.pictures == 81


def forked(work):
    """Do ``work`` in a process of its own and return how it ended."""
    pid = os.fork()
    if pid == 0:
        torch.set_num_threads(1)  # threads of the parent are not here
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_kill_9_in_the_middle_of_caching_costs_the_rest_alone(photos, sd1, tmp_path):
    class Mortal(Counting):
        def encode(self, pictures):
            if self.pictures:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().encode(pictures)

    data = photo_set(photos)
    ended = forked(lambda: latents_of(data, Mortal(sd1), "no", tmp_path / "cache", rows=8))
    assert os.WTERMSIG(ended) == signal.SIGKILL
    (shard,) = (tmp_path / "cache" / "latents").rglob("*.safetensors")
    torn = shard.with_name("torn.safetensors")
    torn.write_bytes(shard.read_bytes()[:1000])
    base = Counting(sd1)
    kept = latents_of(data, base, "no", tmp_path / "cache", rows=8)
    assert base.pictures == 40 - min(16, len(data.groups[0]))
    assert not torn.exists()
    for group in data.groups:
        torch.testing.assert_close(kept.read(group), latents_of(data, sd1).read(group), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("name", ["sdxl", "meadow"])
def test_texts_are_those_of_the_captions_each_kept_once(name, request, tmp_path):
    plain = request.getfixturevalue(name)
    base = Counting(plain)
    captions = ["a red circle", "(a blue square) at noon:1.3", "a red circle", "", " ".join(["mountains"] * 100)]
    sizes = [(64, 64), (64, 64), (96, 48), (64, 64), (64, 64)]
    kept = texts_of(captions, base, tmp_path, sizes=sizes)
    assert base.captions == 3
    free = texts_of(captions, plain, None, sizes=sizes)
    assert texts_of(captions[1:3], base, tmp_path).read([1]).tokens.equal(kept.read([0]).tokens)
    assert base.captions == 3
    read, wanted = kept.read([0, 1, 2, 3, 4]), free.read([0, 1, 2, 3, 4])
    torch.testing.assert_close(read.tokens, wanted.tokens, atol=1e-2, rtol=1e-2)
    assert list(read.added) == list(plain.encode_text([""]).added)
    told = plain.encode_text(["a red circle"], size=(96, 48))
    torch.testing.assert_close(read.tokens[2:3], told.tokens, atol=1e-2, rtol=1e-2)
    for part, value in told.added.items():
        torch.testing.assert_close(read.added[part][2:3].float(), value.float(), atol=1e-2, rtol=1e-2)
    assert read.tokens.shape[1] == kept.empty.tokens.shape[1] == plain.encode_text([""]).tokens.shape[1]
    torch.testing.assert_close(kept.empty_at([0, 2]).tokens, plain.encode_text(["", ""]).tokens)
    assert not torch.equal(read.tokens[0], read.tokens[1])


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_texts_of_transformers_are_kept_with_what_else_they_are_told(family, tmp_path):
    write = transformer_models.write_flux if family == "flux" else transformer_models.write_sd3
    told = {} if family == "flux" else {"shape": transformer_models.SD3}
    base = transformer_models.load(write(tmp_path / "base", **told))
    kept = texts_of(["a red circle", "mountains"], base, tmp_path / "cache")
    wanted = base.encode_text(["mountains", "a red circle"])
    read = kept.read([1, 0])
    torch.testing.assert_close(read.tokens, wanted.tokens, atol=1e-2, rtol=1e-2)
    assert set(read.added) == set(wanted.added)
    for part, value in wanted.added.items():
        torch.testing.assert_close(read.added[part], value, atol=1e-2, rtol=1e-2)


def test_another_text_encoder_is_another_cache(sd1, sdxl, meadow):
    assert len({reader_key(base) for base in (sd1, sdxl, meadow)}) == 3


def test_numbers_too_large_for_fp16_are_kept_whole(tmp_path):
    shelf = Shelf(tmp_path)
    rows = torch.tensor([[1.0, 70000.0], [-3e6, 2.0]])
    shelf.fill(["a", "b"], [[0, 1]], lambda places: {"x": rows[places]})
    assert torch.equal(torch.stack([row["x"] for row in Shelf(tmp_path).read(["b", "a"])]), rows[[1, 0]])


def test_what_cannot_be_opened_now_is_kept_and_what_is_damaged_goes(tmp_path):
    away, damaged = tmp_path / "away.safetensors", tmp_path / "damaged.safetensors"
    away.symlink_to(tmp_path / "a disk that is not there" / "a.safetensors")
    damaged.write_bytes(b"damaged" * 9)
    assert Shelf(tmp_path).missing(["0" * 32]) == [0]
    assert away.is_symlink()
    assert not damaged.exists()


def test_of_several_who_fill_one_folder_one_does_the_work(tmp_path):
    keys, made, gate = [f"{number:032x}" for number in range(6)], [], threading.Barrier(4)

    def make(places):
        made.extend(places)
        return {"row": torch.tensor(places).float()[:, None]}

    def fill(_):
        shelf = Shelf(tmp_path / "shelf")
        gate.wait(10)
        shelf.fill(keys, [range(6)], make, batch=2)
        return [float(row["row"]) for row in shelf.read(keys)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fill, range(4))) == [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]] * 4
    assert sorted(made) == list(range(6))


def test_latents_of_tiles_are_kept_apart(sd1):
    whole = autoencoder_key(sd1)
    assert autoencoder_key(tiled(sd1, tiling=True, slicing=False)) != whole
    assert autoencoder_key(tiled(sd1, tiling=False, slicing=True)) == whole == autoencoder_key(sd1)


def test_two_shelves_of_one_folder_see_what_the_other_wrote(tmp_path):
    made = []

    def make(places):
        made.extend(places)
        return {"x": torch.tensor(places, dtype=torch.float32)[:, None]}

    one, other = Shelf(tmp_path), Shelf(tmp_path)
    one.fill(["a", "b", "a"], [[0, 1, 2]], make)
    assert sorted(made) == [0, 1]
    other.look()
    other.fill(["b", "a"], [[0, 1]], make)
    assert len(made) == 2


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_two_processes_give_the_batches_of_one(photos, tmp_path):
    """Real processes: each opens the data, draws its share of the same steps, and reads it."""

    def share(rank):
        told = drawn(photo_set(photos, flip=True), rank, 2)
        (tmp_path / f"{rank}.json").write_text(json.dumps(told))

    assert [forked(lambda rank=rank: share(rank)) for rank in range(2)] == [0, 0]
    shares = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for whole, *parts in zip(drawn(photo_set(photos, flip=True), 0, 1), *shares, strict=True):
        assert whole == [example for part in parts for example in part]
        assert len({tuple(size) for _, _, size in whole}) == 1


def drawn(data, rank, processes):
    """What a process sees in twelve steps: fingerprint, sum of the hint, size of each example."""
    steps = []
    for step in range(12):
        draws = Draws(1, step, 4, rank, processes)
        places, u = draws.places(data.groups).tolist(), draws.uniform(3).tolist()
        variants = [int(row[0] * data.variants) for row in u]
        steps.append(
            [
                [data.fingerprint(p, v), int(data.hint(p, v, u=row[1:]).sum()), list(data.sizes[p])]
                for p, v, row in zip(places, variants, u, strict=True)
            ]
        )
    return steps


def test_what_a_killed_process_left_on_a_shelf_is_removed_once_nobody_writes_it(tmp_path):
    old, new = (tmp_path / f".hackamore-{name}.safetensors" for name in ("old", "new"))
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    Shelf(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [new.name]
