"""Small real SD3 and FLUX models: every part diffusers' own, narrow and shallow, with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel, SD3Transformer2DModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from hackamore.bases.transformer import TransformerBase
from hackamore.bases.transformer_folder import load_folder
from hackamore.training.tokenizer import learn_tokenizer

WORDS = ["a red circle", "a blue square at noon", "mountains with a lake"]
WIDTH, POOLED_L, POOLED_G = 64, 24, 40
SIZE = (64, 64)
SD3 = {
    "sample_size": 16,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 5,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 64,
    "caption_projection_dim": 32,
    "pooled_projection_dim": POOLED_L + POOLED_G,
    "pos_embed_max_size": 12,
}
SD35 = SD3 | {"qk_norm": "rms_norm", "dual_attention_layers": (0, 1)}
FLUX = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 4,
    "num_single_layers": 5,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 64,
    "pooled_projection_dim": POOLED_L,
    "axes_dims_rope": (4, 6, 6),
}
DYNAMIC = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "shift": 3.0}


def write_vae(folder: Path) -> None:
    """An autoencoder of 16 channels whose posterior has no spread, so that a sample of it is its mode."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        layers_per_block=1,
        latent_channels=16,
        scaling_factor=1.5305,
        shift_factor=0.0609,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    with torch.no_grad():
        vae.encoder.conv_out.weight[16:] = 0
        vae.encoder.conv_out.bias[16:] = -30
    vae.save_pretrained(folder / "vae")


def write_clip(folder: Path, part: str, width: int, kind: type) -> None:
    """A CLIP text encoder of two layers, ``width`` wide, and its tokenizer."""
    tokenizer = learn_tokenizer(WORDS, folder / part.replace("text_encoder", "tokenizer"))
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        projection_dim=width,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    kind(config).save_pretrained(folder / part)


def write_t5(folder: Path, part: str) -> None:
    """A T5 encoder of two layers and a unigram tokenizer over single letters and our words."""
    words = {f"▁{word}" for line in WORDS for word in line.split()}
    letters = [chr(code) for code in range(33, 127)] + ["▁"]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(word, -2.0) for word in sorted(words)] + [(letter, -5.0) for letter in letters]
    tokenizer = T5TokenizerFast(vocab=vocabulary, extra_ids=0, model_max_length=512)
    tokenizer.save_pretrained(folder / part.replace("text_encoder", "tokenizer"))
    T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=WIDTH,
            d_kv=16,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
        )
    ).save_pretrained(folder / part)


def write_scheduler(folder: Path, settings: dict[str, object]) -> None:
    """A flow-matching scheduler's configuration."""
    told = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000} | settings
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(told))


def write_index(folder: Path, pipeline: str, parts: dict[str, tuple[str, str]]) -> Path:
    """The index by which diffusers finds the parts."""
    told = {"_class_name": pipeline, "_diffusers_version": "0.42.1"} | {name: list(of) for name, of in parts.items()}
    (folder / "model_index.json").write_text(json.dumps(told))
    return folder


def write_sd3(folder: Path, shape: dict[str, object], scheduler: dict[str, object] | None = None) -> Path:
    """A Stable Diffusion 3 folder with all three text encoders."""
    torch.manual_seed(0)
    SD3Transformer2DModel(**shape).save_pretrained(folder / "transformer")
    write_vae(folder)
    write_clip(folder, "text_encoder", POOLED_L, CLIPTextModelWithProjection)
    write_clip(folder, "text_encoder_2", POOLED_G, CLIPTextModelWithProjection)
    write_t5(folder, "text_encoder_3")
    write_scheduler(folder, scheduler or {"shift": 3.0})
    clip, fast = ("transformers", "CLIPTextModelWithProjection"), ("transformers", "CLIPTokenizer")
    return write_index(
        folder,
        "StableDiffusion3Pipeline",
        {
            "transformer": ("diffusers", "SD3Transformer2DModel"),
            "vae": ("diffusers", "AutoencoderKL"),
            "text_encoder": clip,
            "text_encoder_2": clip,
            "text_encoder_3": ("transformers", "T5EncoderModel"),
            "tokenizer": fast,
            "tokenizer_2": fast,
            "tokenizer_3": ("transformers", "T5TokenizerFast"),
            "scheduler": ("diffusers", "FlowMatchEulerDiscreteScheduler"),
        },
    )


def write_flux(folder: Path, *, guidance: bool = True, **shape: object) -> Path:
    """A FLUX.1 folder: dev, which is told its guidance, or schnell."""
    torch.manual_seed(0)
    FluxTransformer2DModel(**(FLUX | shape), guidance_embeds=guidance).save_pretrained(folder / "transformer")
    write_vae(folder)
    write_clip(folder, "text_encoder", POOLED_L, CLIPTextModel)
    write_t5(folder, "text_encoder_2")
    write_scheduler(folder, DYNAMIC if guidance else {"shift": 1.0, "use_dynamic_shifting": False})
    return write_index(
        folder,
        "FluxPipeline",
        {
            "transformer": ("diffusers", "FluxTransformer2DModel"),
            "vae": ("diffusers", "AutoencoderKL"),
            "text_encoder": ("transformers", "CLIPTextModel"),
            "text_encoder_2": ("transformers", "T5EncoderModel"),
            "tokenizer": ("transformers", "CLIPTokenizer"),
            "tokenizer_2": ("transformers", "T5TokenizerFast"),
            "scheduler": ("diffusers", "FlowMatchEulerDiscreteScheduler"),
        },
    )


def load(folder: Path, dtype: torch.dtype = torch.float32) -> TransformerBase:
    """The base in ``folder``, on the CPU."""
    return load_folder(folder, folder.name, torch.device("cpu"), dtype)


def randomise(net: torch.nn.Module, seed: int = 0, size: float = 0.1) -> torch.nn.Module:
    """Random weights in place of every zero-initialised layer, so that a control says something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
    return net.eval().requires_grad_(False)
