"""Small real models: Stable Diffusion 1.x, 2.x and XL in structure, narrow in width, with random weights."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HACKAMORE_CACHE", str(Path(tempfile.gettempdir()) / "hackamore-tests"))
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # begun in the background of a script: children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from hackamore.bases.catalog import load_base
from hackamore.training.base import MODEL_INDEX
from hackamore.training.tokenizer import learn_tokenizer

SHAPES = {
    "sd1": {"cross_attention_dim": 768, "attention_head_dim": 4},
    "sd2": {"cross_attention_dim": 1024, "attention_head_dim": [2, 4, 4, 4], "use_linear_projection": True},
    "sdxl": {
        "cross_attention_dim": 2048,
        "attention_head_dim": [2, 4, 4],
        "use_linear_projection": True,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": [1, 1, 2],
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 64,
    },
}
XL_INDEX = MODEL_INDEX | {
    "_class_name": "StableDiffusionXLPipeline",
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "force_zeros_for_empty_prompt": True,
}
del XL_INDEX["safety_checker"], XL_INDEX["requires_safety_checker"]


def write_small_base(
    folder: Path, shape: str, prediction: str, channels: tuple[int, ...] = (16, 32, 32, 32), layers: int = 1
) -> Path:
    """A folder in diffusers' layout with SD's four levels and thirteen residual sites, or SDXL's three and ten.

    ``layers``: of the text encoder, one more for SDXL's.
    """
    torch.manual_seed(0)
    settings = SHAPES[shape]
    xl = shape == "sdxl"
    channels = channels[:3] if xl else channels
    UNet2DConditionModel(
        sample_size=8, block_out_channels=channels, norm_num_groups=8, layers_per_block=2, **settings
    ).save_pretrained(folder / "unet")
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        layers_per_block=1,
        latent_channels=4,
    ).save_pretrained(folder / "vae")
    words = ["a red circle", "a blue square at noon", "mountains with a lake"]
    tokenizer = learn_tokenizer(words, folder / "tokenizer")
    write_small_text_encoder(
        folder / "text_encoder", tokenizer, 768 if xl else settings["cross_attention_dim"], layers + xl
    )
    if xl:
        tokenizer.save_pretrained(folder / "tokenizer_2")
        write_small_text_encoder(folder / "text_encoder_2", tokenizer, 1280, 2, projection=64)
    (folder / "scheduler").mkdir()
    scheduler = {
        "_class_name": "DDIMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "prediction_type": prediction,
        "steps_offset": 1,
        "clip_sample": False,
        "set_alpha_to_one": False,
    }
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (folder / "model_index.json").write_text(json.dumps(XL_INDEX if xl else MODEL_INDEX))
    return folder


def write_small_text_encoder(folder: Path, tokenizer, width: int, layers: int, projection: int | None = None) -> None:
    """A CLIP text encoder; with ``projection``, OpenCLIP's of SDXL, whose pooled state has that width."""
    told = {"projection_dim": projection, "hidden_act": "gelu"} if projection else {}
    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    kind(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=64,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **told,
        )
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def sd1_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_base(tmp_path_factory.mktemp("small-sd1"), "sd1", "epsilon")


@pytest.fixture(scope="session")
def sd2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_base(tmp_path_factory.mktemp("small-sd2"), "sd2", "v_prediction")


@pytest.fixture(scope="session")
def sdxl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_base(tmp_path_factory.mktemp("small-sdxl"), "sdxl", "epsilon")


@pytest.fixture(scope="session")
def sd1(sd1_folder: Path):
    return load_base(sd1_folder, device="cpu")


@pytest.fixture(scope="session")
def sd2(sd2_folder: Path):
    return load_base(sd2_folder, device="cpu")


@pytest.fixture(scope="session")
def sdxl(sdxl_folder: Path):
    return load_base(sdxl_folder, device="cpu")


@pytest.fixture(scope="session")
def meadow():
    return load_base("meadow", device="cpu")


@pytest.fixture(params=["sd1", "sd2", "meadow"])
def base(request: pytest.FixtureRequest):
    return request.getfixturevalue(request.param)


def randomise(branch, seed: int = 0, size: float = 0.2):
    """Give every zero convolution of a control random weights, so that it says something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in (*branch.zero_skips, branch.zero_mid, branch.hint_encoder.conv_out):
            for parameter in (layer.weight, layer.bias):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
    return branch.eval().requires_grad_(False)
