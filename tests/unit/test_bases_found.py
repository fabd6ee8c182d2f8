"""Bases by name: which files are read, what a hub has, and plain sentences for what is none."""

import json
import logging
import shutil
import time

import pytest
import torch

from hackamore.bases.catalog import load_base
from hackamore.bases.hub import is_hub_name, is_whole, needed
from hackamore.core.errors import HackamoreError
from tests.base_pictures import ours

FILES = [
    "model_index.json", "README.md", "v1-5-pruned.safetensors", "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.bin", "vae/config.json", "vae/diffusion_pytorch_model.fp16.safetensors",
    "text_encoder/config.json", "text_encoder/pytorch_model.bin", "text_encoder/flax_model.msgpack",
    "tokenizer/vocab.json", "tokenizer/merges.txt", "safety_checker/model.safetensors",
    "scheduler/scheduler_config.json",
]  # fmt: skip


def test_of_a_repository_only_what_is_needed():
    assert set(needed(FILES)) == {
        "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors", "text_encoder/config.json", "text_encoder/pytorch_model.bin",
        "tokenizer/vocab.json", "tokenizer/merges.txt", "scheduler/scheduler_config.json",
    }  # fmt: skip
    assert needed(["README.md"]) == []


def test_a_hub_name_is_found_in_the_cache(sd1, sd1_folder, tmp_path, monkeypatch):
    repository = tmp_path / "models--someone--small"
    shutil.copytree(sd1_folder, repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    base = load_base("someone/small", device="cpu")
    assert base.name == "someone/small"
    assert torch.equal(ours(base), ours(sd1))
    shutil.rmtree(repository / "snapshots" / ("0" * 40) / "vae")
    assert not is_whole(repository / "snapshots" / ("0" * 40))
    with pytest.raises(HackamoreError, match="not whole in the local cache"):
        load_base("someone/small", device="cpu")


def test_a_path_is_no_hub_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_hub_name("models/sd15")
    (tmp_path / "models").mkdir()
    for name in ("models/sd15", "weights/sd15.safetensors", "./sd15", "a/b/c", str(tmp_path / "sd15"), "sd15.ckpt"):
        assert not is_hub_name(name)
        with pytest.raises(HackamoreError, match="no such file or folder"):
            load_base(name, device="cpu")


def test_a_hub_that_does_not_answer_is_told_soon_and_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "handlers", [caplog.handler])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    start = time.perf_counter()
    with pytest.raises(HackamoreError, match="cannot be downloaded"):
        load_base("someone/nothing", device="cpu")
    assert time.perf_counter() - start < 5
    assert not caplog.records


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_part_without_weights_is_told_in_one_sentence(sd1_folder, tmp_path, caplog, monkeypatch, part):
    for name in ("diffusers", "transformers"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [caplog.handler])
    folder = shutil.copytree(sd1_folder, tmp_path / "bare")
    for file in (folder / part).glob("*.safetensors"):
        file.unlink()
    with pytest.raises(HackamoreError, match=f"the {part} of .*bare cannot be loaded"):
        load_base(folder, device="cpu")
    assert not caplog.records


def test_fp16_files_alone_are_read(sd1, sd1_folder, tmp_path):
    folder = shutil.copytree(sd1_folder, tmp_path / "half")
    for file in (*folder.glob("*/diffusion_pytorch_model.safetensors"), *folder.glob("*/model.safetensors")):
        file.rename(file.with_name(file.stem + ".fp16.safetensors"))
    base = load_base(folder, device="cpu")
    assert torch.equal(ours(base), ours(sd1))
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in base.sha256


def changed(folder, tmp_path, part, name="config.json", **told):
    copy = shutil.copytree(folder, tmp_path / "changed", dirs_exist_ok=True)
    file = copy / part / name
    file.write_text(json.dumps(json.loads(file.read_text()) | told))
    return copy


@pytest.mark.parametrize(
    ("part", "told", "words"),
    [
        ("unet", {"in_channels": 9}, "9 input channels"),
        ("unet", {"in_channels": 8}, "8 input channels"),
        ("unet", {"cross_attention_dim": 1024}, "attends to width 1024"),
        ("unet", {"addition_embed_type": "text_time"}, "added conditions"),
        ("unet", {"time_cond_proj_dim": 256}, "latent consistency"),
        ("unet", {"mid_block_type": None}, "without a mid block"),
    ],
)
def test_kinds_that_are_not_supported_are_named(sd1_folder, tmp_path, part, told, words):
    with pytest.raises(HackamoreError, match="not supported yet") as error:
        load_base(changed(sd1_folder, tmp_path, part, **told), device="cpu")
    assert words in str(error.value)


def test_the_refiner_is_named(sdxl_folder, tmp_path):
    folder = shutil.copytree(sdxl_folder, tmp_path / "refiner")
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(HackamoreError, match="not supported yet") as error:
        load_base(folder, device="cpu")
    assert "refiner" in str(error.value)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"offload": "disk"}, "offload"),
        ({"clip_skip": -1}, "clip_skip"),
        ({"vae": "nowhere"}, "no such file"),
        ({"embeddings": ["nowhere.pt"]}, "no such file"),
        ({"tokenizer": "folder"}, "single files"),
        ({"dtype": "fp8"}, "dtype"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_wrong_options_are_refused(sd1_folder, told, words):
    with pytest.raises(HackamoreError, match=words):
        load_base(sd1_folder, **({"device": "cpu"} | told))


def test_unknown_names(tmp_path):
    with pytest.raises(HackamoreError, match="unknown base"):
        load_base("medow")
    with pytest.raises(HackamoreError, match="cannot be downloaded"):
        load_base("nobody/nothing", device="cpu")
