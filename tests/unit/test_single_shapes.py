"""The published shapes: every key of the original files goes to diffusers' key, shape by shape, on the meta device."""

import diffusers
import pytest
import torch
import transformers
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers

from hackamore.bases import layouts, parts, published
from hackamore.bases.kinds import family_of
from hackamore.bases.pieces import TEXTS, denoiser_piece, piece_of
from hackamore.core.weights import WeightsFile
from tests import single_models as original

XL = {
    "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "use_linear_projection": True,
    "transformer_layers_per_block": (1, 2, 10), "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816, "sample_size": 128,
}  # fmt: skip
SD2 = {"attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}
UNETS = {
    "sd1": {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    "sd2": {"sample_size": 64, "cross_attention_dim": 1024} | SD2,
    "sdxl": XL,
}
LEVELS = (128, 256, 512, 512)
SD3 = {"sample_size": 128, "num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536}
DUAL = tuple(range(13))
TRANSFORMERS = {
    "sd3-medium": ("sd3", SD3 | {"pos_embed_max_size": 192}, 2_028_328_000),
    "sd3.5-medium": (
        "sd3", SD3 | {"pos_embed_max_size": 384, "dual_attention_layers": DUAL, "qk_norm": "rms_norm"}, 2_243_171_520,
    ),
    "sd3.5-large": (
        "sd3",
        {"sample_size": 128, "num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432}
        | {"pos_embed_max_size": 192, "qk_norm": "rms_norm"},
        8_056_627_520,
    ),
    "flux-dev": ("flux", {"guidance_embeds": True}, 11_901_408_320),
    "flux-schnell": ("flux", {}, 11_891_178_560),
}  # fmt: skip
PUBLISHED = {"sd1": (1131, 859_520_964), "sd2": (1228, 865_910_724), "sdxl": (2515, 2_567_463_684)}
"""How many tensors the networks have in the original layout, and how many numbers the U-Net."""


def clip(width, layers, projected=False):
    config = transformers.CLIPTextConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=width // 64,
        projection_dim=width,
    )  # fmt: skip
    with torch.device("meta"):
        return (transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel)(config)


def texts_of(family):
    """The text encoders' original tensors, and the models that they come from."""
    ids = {"text_model.embeddings.position_ids": torch.empty(1, 77, device="meta")}
    if family == "sd2":
        models = [clip(1024, 23)]
        return original.open_clip(models[0], "cond_stage_model.model.", one_more=True), models
    before = "cond_stage_model.transformer." if family == "sd1" else "conditioner.embedders.0.transformer."
    models = [clip(768, 12)]
    made = original.clip(models[0], before) | {before + key: value for key, value in ids.items()}
    if family == "sdxl":
        models.append(clip(1280, 32, projected=True))
        made |= original.open_clip(models[1], "conditioner.embedders.1.model.")
    return made, models


def file_of(tensors):
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    return WeightsFile(None, shapes, dict.fromkeys(shapes, "float32"), pickled=tensors)


def same(mine, theirs):
    mine, theirs = mine.state_dict(), theirs.state_dict()
    assert {key: value.shape for key, value in mine.items()} == {key: value.shape for key, value in theirs.items()}


def settings(network):
    return {key: value for key, value in network.config.items() if not key.startswith("_")}


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_unet_families(family):
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**UNETS[family])
        vae = diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=LEVELS, layers_per_block=2,
        )  # fmt: skip
    tensors, models = texts_of(family)
    file = file_of(original.unet(unet) | original.vae(vae) | tensors)
    keys, parameters = PUBLISHED[family]
    assert (len(file.shapes), file.parameters("model.diffusion_model.")) == (keys, parameters)
    assert family_of(file) == family
    size = published.SIZES[family]
    mine = parts.denoiser(denoiser_piece(file), family, size, torch.float32)
    same(mine, unet)
    assert settings(mine) == settings(unet)
    same(parts.autoencoder(piece_of(file, "autoencoder"), family, size, torch.float32), vae)
    for (name, part), model in zip(TEXTS[family].items(), models, strict=True):
        same(parts.text_encoder(piece_of(file, part), family, name, torch.float32), model)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(name):
    family, config, parameters = TRANSFORMERS[name]
    kind = diffusers.SD3Transformer2DModel if family == "sd3" else diffusers.FluxTransformer2DModel
    with torch.device("meta"):
        network = kind(**config)
    tensors = (original.sd3 if family == "sd3" else original.flux)(network)
    file = file_of(tensors)
    assert family_of(file) == family
    mine = parts.denoiser(denoiser_piece(file), family, 1024, torch.float32)
    same(mine, network)
    assert settings(mine) == settings(network)
    assert sum(parameter.numel() for parameter in mine.parameters()) == parameters
    if name == "flux-dev":
        assert len(tensors) == 780


def test_flux_tensors_are_split_as_diffusers_splits_them():
    shape = {"num_layers": 1, "num_single_layers": 1, "guidance_embeds": True}
    with torch.device("meta"):
        blank = original.flux(diffusers.FluxTransformer2DModel(**shape))
    # one column of each weight: only rows are split
    tensors = {key: torch.rand(value.shape[0], *[1] * (value.ndim - 1)) for key, value in blank.items()}
    mine, theirs = layouts.flux(tensors), convert_flux_transformer_checkpoint_to_diffusers(dict(tensors))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], value) for key, value in theirs.items())
