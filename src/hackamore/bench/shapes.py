"""Bases of published shapes with random weights: what speed and memory are measured on where no weights are at hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

UNETS: dict[str, dict[str, Any]] = {
    "sd1": {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    "sdxl": {
        "sample_size": 128, "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20],
        "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": [1, 2, 10],
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}  # fmt: skip
"""Stable Diffusion 1.5's and XL's U-Nets."""
ENCODERS = {"sd1": ((768, None),), "sdxl": ((768, None), (1280, 1280))}
"""Width and projection of the text encoders."""
USUAL = {"meadow": ((128, 128), 20), "sd1": ((512, 512), 4), "sdxl": ((1024, 1024), 4)}
"""Size and steps by shape."""
LENGTH = 77
CONTROL = "control"


def write_shape(folder: Path, family: str, dtype: str = "fp32") -> Path:
    """A base of a ``family``'s U-Net and a ControlNet for it (in ``folder/control``), where they are not yet.

    Weights are random; autoencoder and tokenizer are Meadow's and the text encoders have two layers, since they are not
    what is measured. Whole or not at all: a folder that was left half written is written again.
    """
    import torch
    from diffusers import ControlNetModel, UNet2DConditionModel

    from hackamore.bases.catalog import MEADOW

    done = folder / "done"
    if done.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**UNETS[family]).to(kind)
    unet.save_pretrained(folder / "unet")
    control = ControlNetModel.from_unet(unet)
    del unet
    with torch.no_grad():
        for name, parameter in control.named_parameters():
            if "controlnet_" in name and float(parameter.abs().max()) == 0:
                parameter.normal_(std=0.01)  # fresh zero convolutions would say nothing
    control.save_pretrained(folder / CONTROL)
    del control
    shutil.copytree(MEADOW / "vae", folder / "vae")
    _write_text(folder, family, MEADOW / "tokenizer")
    _write_rest(folder, family)
    done.touch()
    return folder


def _write_text(folder: Path, family: str, tokenizer: Path) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    vocabulary = json.loads((tokenizer / "vocab.json").read_text(encoding="utf-8"))
    for place, (width, projection) in enumerate(ENCODERS[family]):
        end = f"_{place + 1}" if place else ""
        own = folder / f"tokenizer{end}"
        shutil.copytree(tokenizer, own)
        settings = json.loads((own / "tokenizer_config.json").read_text(encoding="utf-8"))
        (own / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": LENGTH}), "utf-8")
        config = CLIPTextConfig(
            vocab_size=len(vocabulary), hidden_size=width, intermediate_size=4 * width, num_hidden_layers=2,
            num_attention_heads=8, max_position_embeddings=LENGTH, projection_dim=projection or width,
            bos_token_id=len(vocabulary) - 2, eos_token_id=len(vocabulary) - 1, pad_token_id=len(vocabulary) - 1,
        )  # fmt: skip
        (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).save_pretrained(
            folder / f"text_encoder{end}"
        )


def _write_rest(folder: Path, family: str) -> None:
    scheduler = {
        "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000, "prediction_type": "epsilon", "steps_offset": 1, "clip_sample": False,
        "set_alpha_to_one": False,
    }  # fmt: skip
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler), encoding="utf-8")
    two = family == "sdxl"
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionXLPipeline" if two else "StableDiffusionPipeline",
        "scheduler": ["diffusers", "DDIMScheduler"], "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
    }  # fmt: skip
    if two:
        index |= {
            "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"], "force_zeros_for_empty_prompt": True,
        }  # fmt: skip
    else:
        none = [None, None]
        index |= {"safety_checker": none, "feature_extractor": none, "requires_safety_checker": False}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
