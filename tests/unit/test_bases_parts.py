"""Parts that a base is given: another autoencoder, embeddings, fewer layers of text."""

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from hackamore.bases.catalog import load_base
from hackamore.core.errors import HackamoreError
from tests.base_pictures import ours, pipeline, theirs
from tests.conftest import write_small_base
from tests.equivalence.agreement import agree


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
