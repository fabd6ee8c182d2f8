"""Loading bases: what saves memory changes no picture; the rest equals diffusers; wrong input is named."""

import json
import logging
import shutil
import time

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file

from hackamore.bases.catalog import load_base
from hackamore.bases.hub import is_hub_name, is_whole, needed
from hackamore.bases.memory import check_compiler, compiled, offloaded
from hackamore.bases.view import view_of
from hackamore.controls.branch import new_control
from hackamore.core.errors import HackamoreError
from hackamore.core.image import to_hint
from hackamore.generate import generate
from hackamore.sampling.schedulers import make_scheduler
from tests.conftest import randomise, write_small_base
from tests.equivalence.agreement import agree

PROMPT, STEPS = "a red circle at noon", 2
HINT = to_hint(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def pipeline(folder, base, xl=False):
    kind = StableDiffusionXLPipeline if xl else StableDiffusionPipeline
    scheduler = make_scheduler("ddim", base.scheduler_config)
    made = kind.from_pretrained(folder, scheduler=scheduler, torch_dtype=torch.float32)
    made.set_progress_bar_config(disable=True)
    return made


def theirs(made, prompt=PROMPT, **told):
    told |= {"num_inference_steps": STEPS, "guidance_scale": 5.0, "height": 64, "width": 64}
    return made(prompt, generator=[torch.Generator().manual_seed(5)], output_type="latent", **told).images


def ours(base, prompt=PROMPT, controls=()):
    told = {"seed": 5, "size": (64, 64), "steps": STEPS, "scheduler": "ddim", "guidance": 5.0}
    return generate(base, prompt, controls=controls, **told).latents


@pytest.mark.parametrize("kind", ["model", "sequential"])
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_offloading_changes_no_picture(request, family, kind):
    base = request.getfixturevalue(family)
    away = offloaded(base, kind, torch.device("cpu"))
    if kind == "sequential":
        assert all(parameter.is_meta for parameter in away.unet.parameters())
    assert torch.equal(ours(away), ours(base))
    assert not any(parameter.is_meta for parameter in base.unet.parameters())
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    assert torch.equal(away.encode(picture), base.encode(picture))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_what_an_offloaded_base_does_with_its_weights_moves_no_other(request, family):
    base = request.getfixturevalue(family)
    away = offloaded(base, "model", torch.device("cpu"))
    for name, part in away.parts().items():
        pairs = list(zip(part.parameters(), base.parts()[name].parameters(), strict=True))
        assert all(one is not other and one.data_ptr() == other.data_ptr() for one, other in pairs)
    away.unet.double()  # in place, as a move to another device
    assert {parameter.dtype for parameter in base.unet.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in away.bare.parameters()} == {torch.float64}


@pytest.mark.parametrize("kind", ["model", "sequential"])
def test_controls_beside_an_offloaded_base(sd1, kind):
    away = offloaded(sd1, kind, torch.device("cpu"))
    made = []
    for base in (away, sd1):
        torch.manual_seed(0)
        made.append(ours(base, controls=[randomise(new_control(base, "canny")).unit(HINT)]))
    assert torch.equal(*made)
    assert not torch.equal(made[0], ours(sd1))


@pytest.mark.parametrize("kind", ["model", "sequential"])
def test_what_is_put_into_a_view_of_an_offloaded_network_is_run(sd1, kind):
    away = offloaded(sd1, kind, torch.device("cpu"))
    view, seen = away.view(), []
    view.unet.mid_block.register_forward_hook(lambda *_: seen.append(True))
    view.unet.conv_out = torch.nn.Identity()
    x, t, text = torch.randn(1, 4, 8, 8), torch.tensor(300), away.encode_text(["a lake"])
    assert view.predict(x, t, text).shape[1] == 16
    assert seen == [True]
    assert torch.equal(away.predict(x, t, text), sd1.predict(x, t, text))
    assert seen == [True]


def test_views_bind_methods_and_calls_to_themselves():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2))
    network.bound = network.parameters
    view = view_of(network)
    view[0] = torch.nn.Linear(2, 3)
    assert [p.shape for p in view.bound()] == [p.shape for p in view[0].parameters()]
    assert [p.shape for p in network.bound()] == [p.shape for p in network[0].parameters()]


@pytest.mark.parametrize("layers", [1, 2])
def test_clip_skip_is_diffusers(tmp_path_factory, layers):
    folder = write_small_base(tmp_path_factory.mktemp("deep"), "sd1", "epsilon", layers=3)
    base, plain = load_base(folder, device="cpu", clip_skip=layers), load_base(folder, device="cpu")
    made = pipeline(folder, base)
    vars(made.text_encoder)["text_model"] = made.text_encoder  # where their clip_skip looks for the last norm
    agree(ours(base), theirs(made, clip_skip=layers), ours(plain), family="sd1", kind=f"clip_skip {layers}",
          beside="diffusers: StableDiffusionPipeline")  # fmt: skip
    assert base.options == {"clip_skip": layers}
    with pytest.raises(HackamoreError, match="clip_skip"):
        load_base(folder, device="cpu", clip_skip=3)


def test_clip_skip_of_sdxl_is_diffusers(sdxl, sdxl_folder):
    base = load_base(sdxl_folder, device="cpu", clip_skip=1)
    reference = theirs(pipeline(sdxl_folder, base, xl=True), clip_skip=1)
    agree(ours(base), reference, ours(sdxl), family="sdxl", kind="clip_skip 1",
          beside="diffusers: StableDiffusionXLPipeline")  # fmt: skip


def write_vae(folder, seed=7, latents=4, levels=4, width=32):
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=(width,) * levels, norm_num_groups=32, layers_per_block=1, latent_channels=latents,
    )  # fmt: skip
    vae.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("single", [False, True])
def test_another_autoencoder(sd1, sd1_folder, tmp_path, single):
    folder = write_vae(tmp_path / "other")
    given = folder / "diffusion_pytorch_model.safetensors" if single else folder
    base = load_base(sd1_folder, device="cpu", vae=given)
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    vae = AutoencoderKL.from_pretrained(folder)
    expected = vae.encode(picture).latent_dist.mode() * vae.config.scaling_factor
    torch.testing.assert_close(base.encode(picture), expected, rtol=0, atol=1e-5)
    assert not torch.equal(base.encode(picture), sd1.encode(picture))
    assert "vae/diffusion_pytorch_model.safetensors" in base.sha256
    assert base.options == {"vae": given.name}


@pytest.mark.parametrize("told", [{"latents": 16}, {"levels": 3}])
def test_an_autoencoder_of_other_latents_is_refused(sd1_folder, tmp_path, told):
    with pytest.raises(HackamoreError, match="autoencoder"):
        load_base(sd1_folder, device="cpu", vae=write_vae(tmp_path / "other", **told))


@pytest.mark.parametrize(
    ("layout", "vectors"), [("diffusers", 1), ("bin", 3), ("a1111", 3), ("safetensors", 2), ("alone", 2)]
)
def test_embeddings_are_diffusers(sd1, sd1_folder, tmp_path, layout, vectors):
    made = torch.randn(vectors, 768, generator=torch.Generator().manual_seed(2))
    word = "<cat-toy>" if layout in ("diffusers", "bin") else "toy"
    file = tmp_path / f"toy{'.pt' if layout in ('a1111', 'alone') else '.bin' if layout == 'bin' else '.safetensors'}"
    if layout == "a1111":
        torch.save({"string_to_param": {"*": made}, "name": "other"}, file)
    elif layout == "alone":
        torch.save(made, file)
    elif layout == "bin":
        torch.save({word: made if vectors > 1 else made[0]}, file)
    else:
        save_file({"emb_params" if layout == "safetensors" else word: made}, file)
    base = load_base(sd1_folder, device="cpu", embeddings=[file])
    reference = pipeline(sd1_folder, base)
    reference.load_textual_inversion({word: made}, token=word)
    prompt = f"a red {word} at noon"
    mine = ours(base, prompt)
    agree(mine, theirs(reference, prompt), ours(sd1, prompt), family="sd1", kind=f"embedding, {layout}, {vectors}",
          beside="diffusers: StableDiffusionPipeline")  # fmt: skip
    assert len(sd1.tokenizer) < len(base.tokenizer)
    assert torch.equal(ours(base), ours(sd1))
    assert f"embedding/{file.name}" in base.sha256


def test_embeddings_for_two_encoders(sdxl, sdxl_folder, tmp_path):
    made = {"clip_l": torch.randn(2, 768), "clip_g": torch.randn(2, 1280)}
    save_file(made, tmp_path / "toy.safetensors")
    base = load_base(sdxl_folder, device="cpu", embeddings=[tmp_path / "toy.safetensors"])
    reference = pipeline(sdxl_folder, base, xl=True)
    for key, part in (("clip_l", ""), ("clip_g", "_2")):
        encoder, words = getattr(reference, f"text_encoder{part}"), getattr(reference, f"tokenizer{part}")
        reference.load_textual_inversion({"toy": made[key]}, token="toy", text_encoder=encoder, tokenizer=words)
    mine = ours(base, "a toy at noon")
    agree(mine, theirs(reference, "a toy at noon"), ours(sdxl, "a toy at noon"), family="sdxl", kind="embedding",
          beside="diffusers: StableDiffusionXLPipeline")  # fmt: skip


class Bomb:
    def __reduce__(self):
        return (exit, ("run!",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"emb_params": torch.zeros(1, 1024)}, "does not fit"),
        ({"a": torch.zeros(1, 8), "b": torch.zeros(1, 8)}, "no textual inversion"),
        ({"clip_l": torch.zeros(1, 768), "clip_g": torch.zeros(1, 1280)}, "no textual inversion"),
        ({"circle</w>": torch.zeros(1, 768)}, "known already"),
        ({"emb_params": torch.tensor(1.0)}, "holds no vectors"),
        ({"string_to_param": {"*": torch.zeros(0, 768)}}, "holds no vectors"),
        ({"emb_params": torch.zeros(1, 768, dtype=torch.int64)}, "emb_params of type int64"),
        ({"string_to_param": {}, "name": "toy"}, "holds no weights"),
        (Bomb(), "holds code"),
    ],
)
def test_wrong_embeddings_are_refused(sd1_folder, tmp_path, content, words):
    torch.save(content, tmp_path / "toy.pt")
    with pytest.raises(HackamoreError, match=words):
        load_base(sd1_folder, device="cpu", embeddings=[tmp_path / "toy.pt"])


def test_two_embeddings_of_one_file_name(sd1_folder, tmp_path):
    files = [tmp_path / name / "learned.bin" for name in ("one", "two")]
    for file in files:
        file.parent.mkdir()
        torch.save({f"<{file.parent.name}>": torch.zeros(768)}, file)
    with pytest.raises(HackamoreError, match=r"two different files .* named learned\.bin"):
        load_base(sd1_folder, device="cpu", embeddings=files)


def test_tiles_and_slices_decode_nearly_the_same(meadow):
    made = generate(meadow, "mountains with a lake at noon", seed=1, num=2, batch=2, size=(160, 128), steps=2)
    latents = made.latents
    tiled = load_base("meadow", device="cpu", tiling=True, slicing=True)
    sliced = load_base("meadow", device="cpu", slicing=True)
    torch.testing.assert_close(sliced.decode(latents), meadow.decode(latents), rtol=0, atol=1e-5)
    tiled.vae.tile_latent_min_size, tiled.vae.tile_sample_min_size = 12, 96
    difference = (tiled.decode(latents) - meadow.decode(latents)).abs()
    assert 0 < float(difference.mean()) < 0.02
    assert not meadow.vae.use_tiling
    assert tiled.options == {"tiling": True, "slicing": True}


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_half_precision_is_near(request, family, dtype):
    base = request.getfixturevalue(family)
    half = load_base(request.getfixturevalue(f"{family}_folder"), device="cpu", dtype=dtype)
    whole, near = ours(base), ours(half)
    assert near.isfinite().all()
    assert float((near.float() - whole).norm() / whole.norm()) < 0.1
    assert half.decode(near).isfinite().all()
    kept = torch.float32 if (family, dtype) == ("sdxl", "fp16") else half.dtype
    assert half.vae.dtype == kept


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_networks_take_controls_and_views(meadow):
    mine = compiled(meadow, backend="eager")
    x, t, text = torch.randn(1, 4, 8, 8), torch.tensor(300), meadow.encode_text(["a lake"])
    control = randomise(new_control(mine, "canny"))
    told = control.residuals(x, t, text, control.prepare(HINT))
    torch.testing.assert_close(mine.predict(x, t, text, told), meadow.predict(x, t, text, told), rtol=0, atol=1e-4)
    view = mine.view()
    assert view.unet._compiled_call_impl is not None
    assert view.unet._compiled_call_impl is not mine.unet._compiled_call_impl
    assert meadow.unet._compiled_call_impl is None


def test_without_a_compiler_a_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(HackamoreError, match="cannot compile"):
        check_compiler(torch.device("cpu"))


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
