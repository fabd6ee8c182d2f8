"""Small real bases whose heads, norms and marks are the published ones: as a folder, and as the same single file."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from hackamore.training.base import MODEL_INDEX
from hackamore.training.tokenizer import learn_tokenizer
from tests import single_models as original
from tests.conftest import XL_INDEX
from tests.transformer_models import WORDS, write_index, write_t5

CLIP_L, CLIP_H, CLIP_G, T5_WIDTH = 768, 1024, 1280, 64
UNETS: dict[str, dict[str, Any]] = {
    "sd1": {"cross_attention_dim": CLIP_L, "attention_head_dim": 8, "block_out_channels": (32, 32, 32, 64)},
    "sd2": {
        "cross_attention_dim": CLIP_H, "attention_head_dim": (1, 1, 1, 2), "block_out_channels": (32, 32, 64, 128),
        "use_linear_projection": True,
    },
    "sdxl": {
        "cross_attention_dim": CLIP_L + CLIP_G, "attention_head_dim": (1, 1, 1), "block_out_channels": (32, 32, 64),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 1, 2), "use_linear_projection": True, "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + CLIP_G,
    },
}  # fmt: skip
SAMPLES = {"sd1": 64, "sd2": 96, "sdxl": 128}
LATENTS = {
    "sd1": {"scaling_factor": 0.18215}, "sd2": {"scaling_factor": 0.18215}, "sdxl": {"scaling_factor": 0.13025},
    "sd3": {"scaling_factor": 1.5305, "shift_factor": 0.0609},
    "flux": {"scaling_factor": 0.3611, "shift_factor": 0.1159},
}  # fmt: skip
NOISE = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1,
}  # fmt: skip
SCHEDULES: dict[str, dict[str, Any]] = {
    "sd1": NOISE | {"_class_name": "PNDMScheduler", "skip_prk_steps": True},
    "sd2": NOISE | {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"},
    "sdxl": NOISE
    | {"_class_name": "EulerDiscreteScheduler", "prediction_type": "epsilon", "timestep_spacing": "leading"},
    "sd3": {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0},
    "flux": {
        "_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0,
        "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256,
        "max_image_seq_len": 4096,
    },
}  # fmt: skip
SD3 = {
    "sample_size": 128, "num_layers": 3, "num_attention_heads": 2, "joint_attention_dim": CLIP_L + CLIP_G,
    "caption_projection_dim": 128, "pooled_projection_dim": CLIP_L + CLIP_G, "pos_embed_max_size": 8,
    "qk_norm": "rms_norm", "dual_attention_layers": (0,),
}  # fmt: skip
FLUX = {
    "num_layers": 2, "num_single_layers": 2, "attention_head_dim": 32, "num_attention_heads": 2,
    "joint_attention_dim": T5_WIDTH, "pooled_projection_dim": CLIP_L, "axes_dims_rope": (4, 14, 14),
    "guidance_embeds": True,
}  # fmt: skip
SD3_PARTS = {
    "transformer": ("diffusers", "SD3Transformer2DModel"), "vae": ("diffusers", "AutoencoderKL"),
    "scheduler": ("diffusers", "FlowMatchEulerDiscreteScheduler"), "tokenizer": ("transformers", "CLIPTokenizer"),
    "tokenizer_2": ("transformers", "CLIPTokenizer"), "tokenizer_3": ("transformers", "T5TokenizerFast"),
    "text_encoder": ("transformers", "CLIPTextModelWithProjection"),
    "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
    "text_encoder_3": ("transformers", "T5EncoderModel"),
}  # fmt: skip
PREFIXES = {
    "sd1": ("cond_stage_model.transformer.",), "sd2": ("cond_stage_model.model.",),
    "sdxl": ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."),
    "sd3": tuple(f"text_encoders.{name}.transformer." for name in ("clip_l", "clip_g", "t5xxl")),
}  # fmt: skip


def write_vae(folder: Path, family: str) -> AutoencoderKL:
    """A narrow autoencoder of the family's latents."""
    flow = family in ("sd3", "flux")
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 32, 32, 32), layers_per_block=1, latent_channels=16 if flow else 4,
        use_quant_conv=not flow, use_post_quant_conv=not flow, **LATENTS[family],
    )  # fmt: skip
    vae.save_pretrained(folder / "vae")
    return vae


def write_clip(folder: Path, part: str, width: int, pad: str, *, projected: bool, layers: int = 2) -> Any:
    """A shallow CLIP text encoder with a tokenizer of ours that pads as published."""
    tokenizer = learn_tokenizer(WORDS, folder / "learned")
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    network = kind(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=width, intermediate_size=64, num_hidden_layers=layers,
            num_attention_heads=width // 64, max_position_embeddings=tokenizer.model_max_length, projection_dim=width,
            hidden_act="quick_gelu" if width == CLIP_L else "gelu", bos_token_id=0, eos_token_id=2, pad_token_id=1,
        )
    )  # fmt: skip
    network.save_pretrained(folder / part)
    here = type(tokenizer).from_pretrained(folder / "learned", pad_token=pad)
    here.save_pretrained(folder / part.replace("text_encoder", "tokenizer"))
    return network


END = "<|endoftext|>"


def write_base(folder: Path, family: str) -> dict[str, torch.Tensor]:
    """A folder in diffusers' layout, and what its single file in the original layout holds (for FLUX all parts too)."""
    torch.manual_seed(0)
    (folder / "scheduler").mkdir(parents=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULES[family]))
    vae = write_vae(folder, family)
    if family in UNETS:
        unet = UNet2DConditionModel(sample_size=SAMPLES[family], **UNETS[family])
        unet.save_pretrained(folder / "unet")
        (folder / "model_index.json").write_text(json.dumps(XL_INDEX if family == "sdxl" else MODEL_INDEX))
        return original.unet(unet) | original.vae(vae) | _texts_of_unet(folder, family)
    if family == "sd3":
        network = SD3Transformer2DModel(**SD3)
        texts = _texts_of_sd3(folder)
    else:
        network = FluxTransformer2DModel(**FLUX)
        clip = write_clip(folder, "text_encoder", CLIP_L, END, projected=False)
        write_t5(folder, "text_encoder_2")
        t5 = T5EncoderModel.from_pretrained(folder / "text_encoder_2")
        texts = original.clip(clip, PREFIXES["sd3"][0]) | original.t5(t5, PREFIXES["sd3"][2])
    network.save_pretrained(folder / "transformer")
    layout = original.sd3 if family == "sd3" else original.flux
    prefix = "model.diffusion_model." if family == "sd3" else ""
    write_index(folder, "Pipeline", SD3_PARTS if family == "sd3" else {})
    return layout(network, prefix) | original.vae(vae, "first_stage_model." if family == "sd3" else "vae.") | texts


def _texts_of_unet(folder: Path, family: str) -> dict[str, torch.Tensor]:
    names = PREFIXES[family]
    if family == "sd2":
        clip = write_clip(folder, "text_encoder", CLIP_H, "!", projected=False)
        return original.open_clip(clip, names[0], one_more=True)
    made = original.clip(write_clip(folder, "text_encoder", CLIP_L, END, projected=False), names[0])
    if family == "sdxl":
        made |= original.open_clip(write_clip(folder, "text_encoder_2", CLIP_G, "!", projected=True), names[1])
    return made


def _texts_of_sd3(folder: Path) -> dict[str, torch.Tensor]:
    clip = write_clip(folder, "text_encoder", CLIP_L, END, projected=True)
    with torch.no_grad():
        clip.text_projection.weight.copy_(torch.eye(CLIP_L))  # as SD3 uses it: its file has none
    clip.save_pretrained(folder / "text_encoder")
    wide = write_clip(folder, "text_encoder_2", CLIP_G, "!", projected=True)
    write_t5(folder, "text_encoder_3")
    config = T5Config.from_pretrained(folder / "text_encoder_3")
    config.d_model = CLIP_L + CLIP_G  # as wide as the transformer's text
    t5 = T5EncoderModel(config)
    t5.save_pretrained(folder / "text_encoder_3")
    first = {k: v for k, v in original.clip(clip, PREFIXES["sd3"][0]).items() if "text_projection" not in k}
    return first | original.clip(wide, PREFIXES["sd3"][1]) | original.t5(t5, PREFIXES["sd3"][2])


def write_file(tensors: dict[str, torch.Tensor], path: Path, **metadata: str) -> Path:
    """The tensors as a ``.safetensors`` file."""
    kept = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    save_file(kept, path, metadata={"format": "pt"} | metadata)
    return path
