"""The later stages of Meadow: both halves of an autoencoder together, a base that goes on, a LoRA for few steps."""

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file

from hackamore.bases.catalog import MEADOW, load_base
from hackamore.core.errors import HackamoreError
from hackamore.data.worlds import write_worlds
from hackamore.generate import generate
from hackamore.training.autoencoder import Codec, gradients, roughness, whiteness
from hackamore.training.config import read_stage
from hackamore.training.trainer import read_log, train


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    return write_worlds(folder, 12, 64, seed=100, workers=1, people=0.3, sights=0.5, styles=0.5)


def trained(told, worlds, tmp_path, file, **more):
    told = {"data": worlds, "output": tmp_path / file, "run.batch_size": 4, "run.log_every": 1} | told
    settings = read_stage(f"configs/meadow/{file}.toml", told)
    task = settings.task()
    train(task, settings.run.model_copy(update={"warmup": 0, "precision": "no", **more}), settings.output)
    return task, [row for row in read_log(tmp_path / file / "log.jsonl") if "loss" in row]


def test_white_latents_cost_nothing_and_collapsed_ones_do():
    z = torch.randn(8, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    assert float(whiteness(z)) < 1e-4
    z[:, 1] = z[:, 0]
    assert float(whiteness(z)) > 1e-3


@pytest.mark.parametrize(("encoder", "moves"), [("joint", True), ("still", False)])
def test_an_autoencoder_goes_on_with_both_halves_or_the_decoder_alone(worlds, tmp_path, encoder, moves):
    told = {"init": MEADOW / "vae", "run.steps": 3, "size": (64, 64), "encoder": encoder}
    _, rows = trained(told, worlds, tmp_path, "autoencoder-sharp", ema=None)
    before = AutoencoderKL.from_pretrained(MEADOW / "vae").state_dict()
    after = load_file(tmp_path / "autoencoder-sharp" / "vae" / "diffusion_pytorch_model.safetensors")
    assert set(after) == set(before)
    changed = {name.partition(".")[0] for name in after if not torch.equal(after[name].float(), before[name].float())}
    assert "decoder" in changed
    assert ("encoder" in changed) == moves
    assert {"texture", "energy"} <= set(rows[0])
    assert rows[0]["psnr"] > 14, "it begins where the other one stopped; a fresh one is below 8"


def test_specks_do_not_pass_for_texture():
    """A few bright pixels bring gradient energy, and hardly any roughness; nor does a mesh of single pixels."""
    flat = torch.zeros(1, 3, 64, 64)
    texture = flat + 0.16 * (torch.arange(64) // 2 % 2)
    mesh = flat + 0.16 * (torch.arange(64) % 2)
    specks = flat.clone()
    specks[..., ::16, ::16] = 1.0

    def energy(x):
        return sum(float(part.square().mean()) for part in gradients(x))

    assert energy(specks) > energy(texture)
    assert float(roughness(specks).mean()) < 0.5 * float(roughness(texture).mean())
    assert energy(mesh) > energy(texture)
    torch.testing.assert_close(roughness(mesh), roughness(flat))


def test_a_base_goes_on_from_another_with_the_words_they_share(worlds, tmp_path):
    told = {"init": MEADOW, "vae": MEADOW / "vae", "run.steps": 1, "run.lr": 1e-9, "size": (64, 64), "words": 700}
    task, rows = trained(told, worlds, tmp_path, "base", ema=None)
    assert rows[0]["loss"] < 0.8, "a fresh one has a loss of 1"
    theirs = json.loads((MEADOW / "tokenizer" / "vocab.json").read_text())
    mine = task.tokenizer.get_vocab()
    name = "text_model.embeddings.token_embedding.weight"
    made = load_file(tmp_path / "base" / "text_encoder" / "model.safetensors")
    first = load_file(MEADOW / "text_encoder" / "model.safetensors")
    name = next(key for key in made if key.endswith("token_embedding.weight"))
    old = first[next(key for key in first if key.endswith("token_embedding.weight"))]
    shared = [word for word in mine if word in theirs]
    assert len(shared) > 500
    assert any(mine[word] != theirs[word] for word in shared)
    for word in shared[::40]:
        torch.testing.assert_close(made[name][mine[word]].float(), old[theirs[word]].float(), atol=1e-3, rtol=1e-2)
    latents = Codec(MEADOW / "vae").encode(torch.zeros(1, 3, 64, 64))
    assert latents.shape == (1, 4, 8, 8)
    base = load_base(tmp_path / "base", device="cpu")
    assert generate(base, "a hut, watercolour", size=(64, 64), steps=2).images[0].pixels.shape == (64, 64, 3)


def test_a_lora_learns_the_bases_own_paths(worlds, tmp_path):
    told = {"base": "meadow", "paths": 8, "many": 8, "run.steps": 12, "run.lr": 2e-3, "rank": 4}
    _, rows = trained(told, worlds, tmp_path, "live", ema=None)
    assert rows[-1]["loss"] < rows[0]["loss"]
    file = tmp_path / "live" / "pytorch_lora_weights.safetensors"
    live = load_base("meadow", device="cpu", loras=[(file, 1.0)])
    plain = load_base("meadow", device="cpu")
    made, without = (generate(b, "hills at noon", seed=1, steps=4, guidance=1).images[0].pixels for b in (live, plain))
    wanted = generate(plain, "hills at noon", seed=1, steps=20).images[0].pixels
    far = [float(np.abs(p.astype(int) - wanted).mean()) for p in (made, without)]
    assert far[0] < far[1], "nearer to the guided picture than the base itself in as few steps"
    paths = sorted((tmp_path / "live" / "paths").glob("*.npy"))
    assert [np.load(p).shape for p in paths] == [(8, 5, 4, 16, 16)]


def test_steps_that_cannot_be_shared_out_are_refused(worlds, tmp_path):
    told = {"base": "meadow", "data": worlds, "output": tmp_path / "x", "few": 3, "many": 20}
    with pytest.raises(HackamoreError, match="cannot be shared out"):
        read_stage("configs/meadow/live.toml", told).task()
