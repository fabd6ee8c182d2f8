"""What is no base, damaged or incomplete is refused in one sentence, and nothing in it is run."""

import gzip
import pickle
import sys
from pathlib import Path

import pytest
import torch

from hackamore.bases import parts
from hackamore.bases.pieces import TEXTS, Source, denoiser_piece, piece_of
from hackamore.bases.single import describe_file, load_file, load_vae_file
from hackamore.bases.tokenizers import clip_tokenizer, packaged_vocabulary, read_vocabulary, t5_tokenizer
from hackamore.core.errors import HackamoreError
from hackamore.core.weights import WeightsFile, open_weights
from hackamore.training.tokenizer import learn_tokenizer
from tests.single_bases import write_base, write_file
from tests.transformer_models import WORDS

CPU, FULL = torch.device("cpu"), torch.float32
UNET = "model.diffusion_model."
IN = f"{UNET}input_blocks.0.0.weight"
TEXT = f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight"
PROJECTION = f"{UNET}input_blocks.4.1.proj_in.weight"


@pytest.fixture(scope="session")
def originals(tmp_path_factory):
    return {family: write_base(tmp_path_factory.mktemp(family) / "folder", family) for family in ("sd1", "sd3", "flux")}


@pytest.fixture(scope="session")
def tokens(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    learn_tokenizer(WORDS, folder / "tokenizer")
    return folder


def load(path, **told):
    return load_file(path, "small", CPU, FULL, **told)


def refused(path, **told) -> str:
    """The error of loading ``path``: one sentence, then what was received and expected."""
    with pytest.raises(HackamoreError) as error:
        load(path, **told)
    assert error.value.exit_code == 2
    assert "\n" not in error.value.what
    return str(error.value)


KINDS = {
    "a LoRA": {"lora_unet_down_blocks_0.lora_down.weight": (4, 8)},
    "a control": {"control_model.input_hint_block.0.weight": (16, 3, 3, 3)},
    "a control ": {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), "conv_in.weight": (8, 4, 3, 3)},
    "an IP-Adapter": {"image_proj.proj.weight": (8, 8), "ip_adapter.1.to_k_ip.weight": (8, 8)},
    "a textual inversion": {"emb_params": (2, 768)},
    "an upscaler": {"conv_first.weight": (64, 3, 3, 3)},
    "an autoencoder": {"decoder.conv_in.weight": (8, 4, 3, 3)},
    "an autoencoder ": {"first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3)},
    "a text encoder": {"text_model.embeddings.token_embedding.weight": (8, 8)},
    "a U-Net alone in diffusers' layout": {"conv_in.weight": (8, 4, 3, 3), "up_blocks.0.resnets.0.conv1.weight": (8,)},
    "an inpainting model (9 channels)": {IN: (8, 9, 3, 3)},
    "an editing model (InstructPix2Pix, 8 channels)": {IN: (8, 8, 3, 3)},
    "an upscaling model (7 channels)": {IN: (8, 7, 3, 3)},
    "a depth model (5 channels)": {IN: (8, 5, 3, 3)},
    "Stable Video Diffusion": {IN: (8, 8, 3, 3), f"{UNET}input_blocks.1.0.time_stack.in_layers.0.weight": (8,)},
    "Playground v2.5": {IN: (8, 4, 3, 3), "edm_mean": (4,), TEXT: (8, 2048), PROJECTION: (8, 8)},
    "the refiner of Stable Diffusion XL": {
        IN: (8, 4, 3, 3), TEXT: (8, 1280), PROJECTION: (8, 8), "conditioner.embedders.0.model.ln_final.weight": (8,),
    },
    "a latent diffusion model of an unknown family": {IN: (8, 4, 3, 3), TEXT: (8, 640), PROJECTION: (8, 8)},
    "FLUX.1 Fill (384 channels)": {
        "double_blocks.0.img_attn.norm.key_norm.scale": (8,), "single_blocks.0.linear1.weight": (8, 8),
        "img_in.weight": (8, 384),
    },
    "Chroma": {"distilled_guidance_layer.in_proj.bias": (8,)},
    "a model in quantised weights": {"double_blocks.0.img_attn.qkv.scale_weight": (1,)},
}  # fmt: skip


@pytest.mark.parametrize("words", KINDS)
def test_what_is_no_base_is_named(tmp_path, words):
    file = write_file({key: torch.zeros(shape) for key, shape in KINDS[words].items()}, tmp_path / "x.safetensors")
    assert f"x.safetensors is {words.strip()}, which is" in refused(file)
    assert describe_file(file)["kind"] == words.strip()


def test_what_is_of_no_kind_shows_its_first_keys(tmp_path):
    assert "2 tensors: a.weight, b.weight" in refused(
        write_file({"a.weight": torch.zeros(1), "b.weight": torch.zeros(1)}, tmp_path / "x.safetensors")
    )


class Code:
    """A pickle that would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_with_code_is_not_run(tmp_path):
    torch.save({"state_dict": {IN: torch.zeros(1)}, "more": Code(tmp_path / "ran")}, tmp_path / "x.ckpt")
    assert "holds code beside its weights, which was not run" in refused(tmp_path / "x.ckpt")
    (tmp_path / "y.pt").write_bytes(pickle.dumps(Code(tmp_path / "ran")))
    refused(tmp_path / "y.pt")
    assert not (tmp_path / "ran").exists()


def test_a_trainers_class_may_be_named_but_not_called(tmp_path, monkeypatch):
    from types import ModuleType

    module = ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.save({"state_dict": {"a": torch.zeros(1)}, "callback": module.ModelCheckpoint()}, tmp_path / "x.ckpt")
    monkeypatch.undo()
    assert "holds code" in refused(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.safetensors", b"<!DOCTYPE html><html>", "is a web page"),
        ("x.ckpt", b"  <html>", "is a web page"),
        ("x.safetensors", b"", "is empty"),
        ("x.ckpt", b"version https://git-lfs.github.com/spec/v1\n", "is a pointer to a large file"),
        ("x.gguf", b"GGUF\x03\x00\x00\x00", "quantised weights (GGUF)"),
        ("x.txt", b"words", "is not a file of weights"),
        ("x.safetensors", b"\xff" * 64, "is damaged"),
        ("x.ckpt", b"PK\x03\x04" + b"\0" * 64, "is damaged"),
        ("x.pt", pickle.dumps([1, 2], 2), "is damaged"),
    ],
)
def test_files_that_are_not_weights(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    assert words in refused(tmp_path / name)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"state_dict": {}}])
def test_checkpoints_without_tensors(tmp_path, content):
    torch.save(content, tmp_path / "x.ckpt")
    assert "holds no weights" in refused(tmp_path / "x.ckpt")


def test_truncated_files(tmp_path, originals):
    whole = write_file(originals["flux"], tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "is damaged" in refused(tmp_path / "x.safetensors")
    torch.save(originals["flux"], tmp_path / "x.ckpt")
    whole = (tmp_path / "x.ckpt").read_bytes()
    (tmp_path / "x.ckpt").write_bytes(whole[: len(whole) // 2])
    assert "is damaged" in refused(tmp_path / "x.ckpt")


def test_no_such_file(tmp_path):
    assert "cannot be read" in refused(tmp_path / "none.safetensors")


@pytest.mark.parametrize("family", ["sd1", "sd3", "flux"])
def test_missing_extra_and_misshapen_tensors_are_named(tmp_path, tokens, originals, family):
    key = {
        "sd1": f"{UNET}output_blocks.3.0.in_layers.2.bias", "sd3": f"{UNET}joint_blocks.1.x_block.mlp.fc1.bias",
        "flux": "double_blocks.1.img_mlp.0.bias",
    }[family]  # fmt: skip
    whole, before = originals[family], key.rpartition(".")[0]
    told = {"tokenizer": tokens}
    if family != "sd1":  # T5's is not there
        whole = {k: v for k, v in whole.items() if not k.startswith("text_encoders.t5xxl.")}
    if family == "flux":
        told["parts"] = write_file(
            {
                k.removeprefix("text_encoders.t5xxl.transformer."): v
                for k, v in originals["flux"].items()
                if "t5xxl" in k
            },
            tmp_path / "t5.safetensors",
        )
        t5_tokens(tokens)
    extra = write_file(whole | {f"{before}.more": torch.zeros(1)}, tmp_path / "extra.safetensors")
    assert "has unexpected 1 tensors" in (said := refused(extra, **told))
    assert ".more" in said
    lacking = write_file({k: v for k, v in whole.items() if k != key}, tmp_path / "lacking.safetensors")
    assert "lacks" in refused(lacking, **told)
    wrong = write_file(whole | {key: torch.zeros(3)}, tmp_path / "wrong.safetensors")
    assert "has wrong shapes: 1 tensors" in refused(wrong, **told)


@pytest.mark.parametrize(
    ("family", "key"),
    [
        ("sd1", f"{UNET}output_blocks.3.0.in_layers.2.weight"),
        ("sd1", "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight"),
        ("sd1", "first_stage_model.decoder.conv_in.weight"),
        ("flux", "double_blocks.0.img_attn.qkv.weight"),
        ("flux", "double_blocks.0.img_mlp.0.weight"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.int8, torch.int64])
def test_whole_numbers_are_no_weights(tmp_path, originals, family, key, dtype):
    whole = originals[family] | {key: originals[family][key].to(dtype)}
    whole |= {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None]}
    file = open_weights(write_file(whole, tmp_path / "whole.safetensors"))
    with pytest.raises(HackamoreError, match="no floating-point numbers") as told:
        build_part_of(key, file, family)
    assert f"{key} of type {str(dtype).removeprefix('torch.')}" in str(told.value)


def t5_tokens(folder: Path) -> None:
    from tests.transformer_models import write_t5

    write_t5(folder, "text_encoder_2")


@pytest.mark.parametrize("family", ["sd1", "sd3", "flux"])
def test_any_tensor_that_is_missing_or_misshapen_is_an_error_of_ours(originals, family):
    shapes = {key: tuple(value.shape) for key, value in originals[family].items()}
    for key in list(shapes)[::71]:
        for broken in (None, (3, 5)):
            changed = {name: shape for name, shape in shapes.items() if name != key}
            changed |= {} if broken is None else {key: broken}
            blank = {name: torch.empty(shape, device="meta") for name, shape in changed.items()}
            file = WeightsFile(Path("x.safetensors"), changed, dict.fromkeys(changed, "float32"), pickled=blank)
            with pytest.raises(HackamoreError):
                build_part_of(key, file, family)


def build_part_of(key, file, family):
    """Build the part that ``key`` belongs to."""
    marks = {"CLIP-L": "clip_l", "CLIP-G": "clip_g", "T5": "t5xxl"}
    for name, part in TEXTS[family].items():
        if key.startswith(("cond_stage_model.", f"text_encoders.{marks[part]}.")):
            piece = piece_of(file, part)
            if piece is None:
                raise Source(family, (file,), ()).missing(name, part)
            parts.text_encoder(piece, family, name, FULL)
    if key.startswith(("first_stage_model.", "vae.")):
        parts.autoencoder(piece_of(file, "autoencoder"), family, 512, FULL)
    if not key.startswith(("first_stage_model.", "vae.", "text_encoders.", "cond_stage_model.")):
        parts.denoiser(denoiser_piece(file), family, 512, FULL)


def test_parts_that_are_nowhere_say_what_to_give(tmp_path, tokens, originals):
    unet = {key: value for key, value in originals["sd1"].items() if key.startswith(UNET)}
    said = refused(write_file(unet, tmp_path / "unet.safetensors"), tokenizer=tokens)
    assert "has no text encoder CLIP-L inside" in said
    assert "parts=FOLDER, on the command line --parts FOLDER" in said
    assert "stable-diffusion-v1-5/stable-diffusion-v1-5" in said


def test_names_of_options(tmp_path, originals):
    whole = write_file(originals["sd1"], tmp_path / "whole.safetensors")
    assert "unknown prediction 'noise'" in refused(whole, prediction="noise")
    with pytest.raises(HackamoreError, match="unknown family 'sd9'"):
        load_vae_file(tmp_path / "x.safetensors", FULL, "sd9")
    file = write_file(
        {key: value for key, value in originals["sd1"].items() if "first" not in key}, tmp_path / "a.safetensors"
    )
    with pytest.raises(HackamoreError, match=r"is Stable Diffusion 1\.x, not an autoencoder"):
        load_vae_file(file, FULL)


def test_parts_of_a_name_that_is_nowhere(tmp_path, originals):
    said = refused(write_file(originals["flux"], tmp_path / "f.safetensors"), parts="someone/nothing")
    assert "someone/nothing is neither a folder nor on this machine" in said


def test_tokenizers_that_are_nowhere_say_what_to_give(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(HackamoreError) as error:
        t5_tokenizer([tmp_path], "tokenizer_3")
    assert "tokenizer=FOLDER, on the command line --tokenizer FOLDER" in str(error.value)
    with pytest.raises(HackamoreError, match="CLIP's tokenizer is not on this machine"):
        clip_tokenizer([tmp_path], "tokenizer", packages=False)
    with pytest.raises(HackamoreError, match="someone/nothing is neither a folder nor"):
        clip_tokenizer(["someone/nothing"], "tokenizer")


def test_the_vocabulary_in_a_package_is_found_without_importing_it(tmp_path, monkeypatch):
    learned = learn_tokenizer(WORDS, tmp_path / "learned")
    package = tmp_path / "packages" / "open_clip"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    with gzip.open(package / "bpe_simple_vocab_16e6.txt.gz", "wt", encoding="utf-8") as file:
        file.write((tmp_path / "learned" / "merges.txt").read_text(encoding="utf-8").rstrip("\n"))
    monkeypatch.syspath_prepend(tmp_path / "packages")
    assert packaged_vocabulary() == package / "bpe_simple_vocab_16e6.txt.gz"
    vocabulary, _ = read_vocabulary(package / "bpe_simple_vocab_16e6.txt.gz")
    assert vocabulary == learned.get_vocab()
    mine = clip_tokenizer([], "tokenizer", pad="!", length=8)
    assert mine("a red circle").input_ids == learned("a red circle").input_ids
    assert mine("a lake", padding="max_length").input_ids[-1] == vocabulary["!"] == 0
    assert mine("a lake!").input_ids[-2] == 0  # as the published tokenizers of SD 2.x and SDXL read it


def test_tokenizers_are_looked_for_in_order(tmp_path, tokens):
    learn_tokenizer(["other words entirely"], tmp_path / "tokenizer_2")
    first = clip_tokenizer([tmp_path, tokens], "tokenizer_2")
    assert first.get_vocab() != clip_tokenizer([tokens], "tokenizer").get_vocab()
    assert clip_tokenizer([tmp_path / "none", tokens / "tokenizer"], "tokenizer", length=5).model_max_length == 5


def test_a_tokenizer_of_another_kind_is_passed_over(tmp_path, tokens):
    t5_tokens(tmp_path)  # in tokenizer_2, as FLUX has it
    assert (
        clip_tokenizer([tmp_path, tokens], "tokenizer_2").get_vocab()
        == clip_tokenizer([tokens], "tokenizer").get_vocab()
    )
    assert t5_tokenizer([tokens / "tokenizer", tokens, tmp_path], "tokenizer_3").tokenize("a lake") == ["▁a", "▁lake"]
    (tmp_path / "tokenizer").mkdir()  # empty
    assert len(clip_tokenizer([tmp_path, tokens], "tokenizer")) > 2


def test_a_vocabulary_too_large_for_the_encoder(tmp_path, tokens, originals):
    key = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    file = write_file(originals["sd1"] | {key: originals["sd1"][key][:300]}, tmp_path / "sd1.safetensors")
    assert "the tokenizer does not fit the text_encoder" in refused(file, tokenizer=tokens)
    assert "no such file or folder" in refused(file, tokenizer=tmp_path / "none")
    assert "no such file or folder" in refused(file, parts="some/t5.safetensors")


def test_prediction_is_for_unets(tmp_path, originals):
    assert "prediction is for" in refused(
        write_file(originals["flux"], tmp_path / "f.safetensors"), prediction="epsilon"
    )


def test_numbers_beside_the_weights_are_told(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(2, 3)}, "global_step": 7, "name": "x"}, tmp_path / "x.ckpt")
    file = open_weights(tmp_path / "x.ckpt")
    assert (file.shapes, file.told, file.dtypes) == ({"a": (2, 3)}, {"global_step": 7}, {"a": "float32"})
