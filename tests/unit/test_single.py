"""A single file in its original layout is the base that a folder with the same weights is."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file as read_tensors

from hackamore.bases.catalog import load_base
from hackamore.bases.single import describe_file, load_file, load_vae_file
from hackamore.bases.transformer_folder import load_folder as load_transformer
from hackamore.core.errors import HackamoreError
from hackamore.core.files import sha256
from hackamore.generate import generate
from tests.single_bases import SCHEDULES, write_base, write_file

CPU, FULL = torch.device("cpu"), torch.float32
FAMILIES = ("sd1", "sd2", "sdxl", "sd3", "flux")
OPTIONS = {"sd2": {"prediction": "v_prediction"}}


class Written:
    """A base as a folder, as tensors by original names, and as a file that holds all of them."""

    def __init__(self, folder: Path, family: str) -> None:
        self.family, self.folder = family, folder / "folder"
        self.tensors = write_base(self.folder, family)
        self.file = write_file(self.tensors, folder / f"{family}.safetensors")

    def loaded(self, file: Path | None = None, **told):
        told = {"tokenizer": self.folder} | OPTIONS.get(self.family, {}) | told
        return load_file(file or self.file, "small", CPU, told.pop("dtype", FULL), **told)


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    made = {}

    def of(family):
        if family not in made:
            made[family] = Written(tmp_path_factory.mktemp(family), family)
        return made[family]

    return of


def networks(base):
    return base.parts()


def aligned(base):
    """Weights mapped from disk begin anywhere in memory, and sums are rounded differently there: copy them all."""
    for network in networks(base).values():
        for parameter in network.parameters():
            parameter.data = parameter.data.clone()
    return base


def picture(base):
    told = {} if base.family == "flux" else {"negative": "a lake"}
    return generate(base, "a red circle! at noon", seed=3, size=(64, 64), steps=2, **told).latents


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_is_the_folder_bit_for_bit(written, family):
    here = written(family)
    file = here.loaded()
    folder = (load_transformer if family in ("sd3", "flux") else _folder)(here.folder, "small", CPU, FULL)
    assert file.family == folder.family == family
    assert file.size == folder.size
    assert file.sha256 == {here.file.name: sha256(here.file)}
    for name, network in networks(folder).items():
        mine = networks(file)[name].state_dict()
        assert mine.keys() == network.state_dict().keys()
        assert all(torch.equal(mine[key], value) for key, value in network.state_dict().items()), name
    assert torch.equal(picture(aligned(file)), picture(aligned(folder)))


def _folder(folder, name, device, dtype):
    return load_base(folder, device="cpu", dtype=dtype)


@pytest.mark.parametrize("family", FAMILIES)
def test_noise_schedules_are_the_published_ones(written, family):
    config = written(family).loaded().scheduler_config
    expected = SCHEDULES[family]
    assert {key: config.get(key) for key in expected} == expected


def test_a_checkpoint_of_lightning_is_read_and_nothing_in_it_is_run(written, tmp_path, monkeypatch):
    import sys
    from types import ModuleType

    module = ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    content = {
        "state_dict": written("sd1").tensors, "global_step": 470_000,
        "callbacks": {module.ModelCheckpoint: {"best_model_score": torch.tensor(1.0)}},
    }  # fmt: skip
    torch.save(content, tmp_path / "v1.ckpt")
    monkeypatch.undo()
    base = written("sd1").loaded(tmp_path / "v1.ckpt")
    assert torch.equal(picture(aligned(base)), picture(aligned(written("sd1").loaded())))


@pytest.mark.parametrize(
    ("metadata", "extra", "asked", "prediction", "size"),
    [
        ({}, (), "v_prediction", "v_prediction", 768),
        ({}, (), "epsilon", "epsilon", 512),
        ({"modelspec.prediction_type": "v"}, (), None, "v_prediction", 768),
        ({"modelspec.prediction_type": "epsilon"}, (), None, "epsilon", 512),
        ({}, ("v_pred",), None, "v_prediction", 768),
        ({}, (), None, "epsilon", 512),  # measured: random weights lie near their input
    ],
)
def test_what_sd2_predicts(written, tmp_path, metadata, extra, asked, prediction, size):
    tensors = written("sd2").tensors | {key: torch.zeros(1) for key in extra}
    file = write_file(tensors, tmp_path / "sd2.safetensors", **metadata)
    base = written("sd2").loaded(file, prediction=asked)
    assert base.scheduler_config["prediction_type"] == prediction
    assert base.size == (size, size)


def test_sd2_that_predicts_velocity_is_measured(written, tmp_path):
    tensors = dict(written("sd2").tensors)
    tensors["model.diffusion_model.out.2.bias"] = torch.full((4,), -3.0)
    base = written("sd2").loaded(write_file(tensors, tmp_path / "v.safetensors"), prediction=None)
    assert base.scheduler_config["prediction_type"] == "v_prediction"


def test_sd21_base_is_told_by_its_training_step(written, tmp_path):
    tensors = dict(written("sd2").tensors)
    tensors["model.diffusion_model.out.2.bias"] = torch.full((4,), -3.0)
    torch.save({"state_dict": tensors, "global_step": 875_000}, tmp_path / "base.ckpt")
    base = written("sd2").loaded(tmp_path / "base.ckpt", prediction=None)
    assert base.scheduler_config["prediction_type"] == "epsilon"


def test_a_zero_terminal_signal_is_read_from_its_mark(written, tmp_path):
    tensors = written("sdxl").tensors | {"v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)}
    config = written("sdxl").loaded(write_file(tensors, tmp_path / "v.safetensors")).scheduler_config
    assert config["prediction_type"] == "v_prediction"
    assert config["rescale_betas_zero_snr"]


def test_half_precision_files_and_bases(written, tmp_path):
    half = {key: value.half() for key, value in written("sd1").tensors.items()}
    file = write_file(half, tmp_path / "half.safetensors")
    whole, kept = written("sd1").loaded(file), written("sd1").loaded(file, dtype=torch.float16)
    assert whole.dtype == FULL
    assert kept.dtype == torch.float16
    assert torch.equal(whole.unet.conv_in.weight, kept.unet.conv_in.weight.float())
    assert describe_file(file)["dtype"] == "float16"


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_files_in_eight_bits_are_widened(written, tmp_path, family):
    small = {key: value.to(torch.float8_e4m3fn) for key, value in written(family).tensors.items()}
    base = written(family).loaded(write_file(small, tmp_path / "fp8.safetensors"))
    assert {parameter.dtype for parameter in base.transformer.parameters()} == {FULL}
    assert picture(base).isfinite().all()


def test_older_names_and_what_else_lies_in_a_file(written, tmp_path):
    here = written("sd1")
    before = "cond_stage_model.transformer."
    tensors = {key.replace(f"{before}text_model.", before): value for key, value in here.tensors.items()}
    tensors |= {
        f"{before}embeddings.position_ids": torch.arange(32)[None], "betas": torch.rand(1000),
        "control_model.input_hint_block.0.weight": torch.zeros(16, 3, 3, 3), "model_ema.decay": torch.zeros(()),
    }  # fmt: skip
    base = here.loaded(write_file(tensors, tmp_path / "control_sd1.safetensors"))
    assert torch.equal(picture(aligned(base)), picture(aligned(here.loaded())))


def test_sd3_without_its_prefix(written, tmp_path):
    tensors = {key.removeprefix("model.diffusion_model."): value for key, value in written("sd3").tensors.items()}
    base = written("sd3").loaded(write_file(tensors, tmp_path / "sd3.safetensors"))
    assert base.family == "sd3"


def test_a_file_is_a_base_like_any_other(written):
    here = written("sd1")
    base = load_base(here.file, device="cpu", tokenizer=here.folder, prediction="epsilon")
    assert base.name == "sd1.safetensors"
    assert base.options == {"tokenizer": "folder", "prediction": "epsilon"}


def test_half_precision_keeps_what_overflows(written):
    assert written("sdxl").loaded(dtype=torch.float16).vae.dtype == FULL
    t5 = written("flux").loaded(dtype=torch.float16).parts()["text_encoder_2"]
    assert t5.encoder.block[0].layer[1].DenseReluDense.wo.weight.dtype == FULL
    assert t5.encoder.embed_tokens.weight is t5.shared.weight


def test_averaged_weights_on_request(written, tmp_path):
    prefix = "model.diffusion_model."
    averaged = {
        "model_ema.diffusion_model" + key.removeprefix(prefix).replace(".", ""): value + 1
        for key, value in written("sd1").tensors.items()
        if key.startswith(prefix)
    }
    file = write_file(written("sd1").tensors | averaged, tmp_path / "ema.safetensors")
    plain, ema = written("sd1").loaded(file), written("sd1").loaded(file, ema=True)
    assert torch.equal(ema.unet.conv_in.weight, plain.unet.conv_in.weight + 1)
    assert describe_file(file)["averaged weights"]
    with pytest.raises(HackamoreError, match="no averaged weights"):
        written("sd1").loaded(ema=True)


def test_flux_borrows_its_parts(written, tmp_path):
    here = written("flux")
    alone = {key: value for key, value in here.tensors.items() if key.split(".")[0] not in ("vae", "text_encoders")}
    file = write_file(alone, tmp_path / "flux1-dev.safetensors")
    with pytest.raises(HackamoreError, match="has no text encoder CLIP-L and text encoder T5 inside"):
        here.loaded(file)
    lent = here.loaded(file, parts=here.folder)
    assert torch.equal(picture(aligned(lent)), picture(aligned(here.loaded())))
    assert sorted(lent.sha256) == [
        "flux1-dev.safetensors", "text_encoder/model.safetensors", "text_encoder_2/model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]  # fmt: skip


def test_what_the_file_has_is_not_borrowed(written):
    assert list(written("sd1").loaded(parts=written("sd1").folder).sha256) == ["sd1.safetensors"]


def test_flux_borrows_from_files_and_knows_the_prefix_of_whole_models(written, tmp_path):
    here = written("flux")
    prefixes = {"ae": "vae.", "clip_l": "text_encoders.clip_l.transformer.", "t5": "text_encoders.t5xxl.transformer."}
    parts = []
    for name, prefix in prefixes.items():
        part = {key.removeprefix(prefix): value for key, value in here.tensors.items() if key.startswith(prefix)}
        parts.append(write_file(part, tmp_path / f"{name}.safetensors"))
    rest = {key: value for key, value in here.tensors.items() if not key.startswith(tuple(prefixes.values()))}
    file = write_file({f"model.diffusion_model.{key}": v for key, v in rest.items()}, tmp_path / "flux.safetensors")
    base = here.loaded(file, parts=parts)
    assert torch.equal(picture(aligned(base)), picture(aligned(here.loaded())))
    assert sorted(base.sha256) == ["ae.safetensors", "clip_l.safetensors", "flux.safetensors", "t5.safetensors"]


def test_sd3_does_without_some_text_encoders(written, tmp_path):
    here = written("sd3")
    kept = {key: value for key, value in here.tensors.items() if not key.startswith("text_encoders.t5xxl.")}
    base = here.loaded(write_file(kept, tmp_path / "sd3.safetensors"))
    assert base.absent == ("text_encoder_3",)
    bare = {key: value for key, value in kept.items() if not key.startswith("text_encoders.")}
    with pytest.raises(HackamoreError, match="inside") as error:
        here.loaded(write_file(bare, tmp_path / "bare.safetensors"))
    assert "parts=FOLDER" in str(error.value)


@pytest.mark.parametrize("layout", ["original", "diffusers", "whole model", "old diffusers"])
def test_an_autoencoder_alone(written, tmp_path, layout):
    here = written("sd1")
    theirs = read_tensors(here.folder / "vae" / "diffusion_pytorch_model.safetensors")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = {
        "original": {k.removeprefix("first_stage_model."): v for k, v in here.tensors.items() if "first_stage" in k}
        | {"loss.logvar": torch.zeros(())},
        "diffusers": theirs,
        "whole model": here.tensors,
        "old diffusers": {_renamed(key, old): value for key, value in theirs.items()},
    }[layout]
    vae = load_vae_file(write_file(tensors, tmp_path / "vae.safetensors"), FULL, "sdxl")
    assert vae.config.scaling_factor == 0.13025
    mine = vae.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], value) for key, value in theirs.items())


def _renamed(key, names):
    for new, old in names.items():
        key = key.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
    return key


def test_a_file_is_described_from_its_header(written):
    told = describe_file(written("sdxl").file)
    assert told["family"] == "sdxl"
    assert told["size"] == "1024×1024"
    assert told["parts inside"] == "autoencoder, CLIP-L, OpenCLIP"
    assert told["prediction"] == "epsilon"
    assert told["use"].startswith(f"hackamore generate PROMPT --base {written('sdxl').file}")
    assert told["sha256 sdxl.safetensors"] == sha256(written("sdxl").file)
    assert json.dumps(told)


def test_a_file_is_told_with_the_options_that_it_needs(written, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("hackamore.bases.tokenizers.CARRIERS", ())
    folder = tmp_path / "with blanks"
    folder.mkdir()
    shutil.copy(written("sd1").file, folder / "sd1.safetensors")
    use = f"hackamore generate PROMPT --base '{folder}/sd1.safetensors'"
    assert describe_file(folder / "sd1.safetensors")["use"] == f"{use} --tokenizer FOLDER"
    shutil.copytree(written("sd1").folder / "tokenizer", folder / "tokenizer")
    assert describe_file(folder / "sd1.safetensors")["use"] == use
    bare = {key: value for key, value in written("sd1").tensors.items() if not key.startswith("cond_stage_model.")}
    told = describe_file(write_file(bare, folder / "sd1.safetensors"))
    assert (told["lacks"], told["use"]) == ("CLIP-L", f"{use} --parts FOLDER")
