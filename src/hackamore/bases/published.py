"""The published configurations of each family, and what the shapes of a file say in their place.

Widths, depths and channels are read from the tensors. What no shape tells (heads, activations, scales of latents,
noise schedules) is what the families were published with: Rombach et al. 2022, Podell et al. 2023, Esser et al. 2024,
and the model cards.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]

SIZES = {"sd1": 512, "sd2": 512, "sd2-v": 768, "sdxl": 1024, "sd3": 1024, "flux": 1024}
"""Pixels a side that a family was trained on; ``sd2-v`` are the 2.x models that predict velocity."""

AUTOENCODERS: dict[str, dict[str, Any]] = {
    "sd1": {"scaling_factor": 0.18215},
    "sd2": {"scaling_factor": 0.18215},
    "sdxl": {"scaling_factor": 0.13025, "force_upcast": True},
    "sd3": {"scaling_factor": 1.5305, "shift_factor": 0.0609, "force_upcast": True},
    "flux": {"scaling_factor": 0.3611, "shift_factor": 0.1159, "force_upcast": True},
}
"""The scale of each family's latents."""

HEAD = 64
"""Width of an attention head in CLIP, in SD 2.x, XL and 3."""
CLIP_TOKENS = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
"""As published; with 2 as its end, a pooled state is read at the largest token number, which is CLIP's end mark."""

_NOISE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "clip_sample": False,
    "trained_betas": None,
}
_FLOW = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "base_image_seq_len": 256,
    "max_image_seq_len": 4096,
    "base_shift": 0.5,
    "max_shift": 1.15,
}


def scheduler_config(family: str, *, prediction: str = "epsilon", zero_end: bool = False, told: bool = True) -> Any:
    """The noise schedule of ``family``, as its scheduler_config.json says it.

    ``prediction``: ``epsilon`` or ``v_prediction``. ``zero_end``: trained down to a signal of nothing. ``told``: of
    FLUX, whether it is told its guidance (dev, whose noise shifts with the size) or not (schnell).
    """
    if family == "sd3":
        return {"_class_name": _FLOW["_class_name"], "num_train_timesteps": 1000, "shift": 3.0}
    if family == "flux":
        return _FLOW | {"shift": 3.0 if told else 1.0, "use_dynamic_shifting": told}
    config = _NOISE | {"prediction_type": prediction}
    if family == "sdxl":
        config |= {
            "_class_name": "EulerDiscreteScheduler",
            "interpolation_type": "linear",
            "sample_max_value": 1.0,
            "skip_prk_steps": True,
            "timestep_spacing": "leading",
            "use_karras_sigmas": False,
        }
    elif prediction == "v_prediction":
        config |= {"_class_name": "DDIMScheduler"}
    else:
        config |= {"_class_name": "PNDMScheduler", "skip_prk_steps": True}
    return config | ({"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if zero_end else {})


def unet_config(shapes: Shapes, size: int, pooled: int = 1280) -> dict[str, Any]:
    """The configuration of a U-Net in the original layout, its prefix taken away, for pictures of ``size``.

    ``pooled``: width of the pooled text that SDXL is told beside six numbers. Raises :class:`KeyError` for a tensor
    that is not there.
    """
    levels: list[list[int]] = [[]]
    for i in range(1, count(shapes, r"input_blocks\.(\d+)\.")):
        if f"input_blocks.{i}.0.op.weight" in shapes:
            levels.append([])
        else:
            levels[-1].append(i)
    widths = tuple(shapes[f"input_blocks.{level[-1]}.0.out_layers.3.weight"][0] for level in levels if level)
    depths = [count(shapes, rf"input_blocks\.{level[0]}\.1\.transformer_blocks\.(\d+)\.") for level in levels if level]
    middle = count(shapes, r"middle_block\.1\.transformer_blocks\.(\d+)\.")
    linear = len(shapes["middle_block.1.proj_in.weight"]) == 2
    layers = [depth or (middle if place == len(depths) - 1 else 1) for place, depth in enumerate(depths)]
    config = {
        "sample_size": size // 8,
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": widths,
        "layers_per_block": len(levels[0]),
        "down_block_types": tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths),
        "up_block_types": tuple("CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)),
        "transformer_layers_per_block": layers[0] if len(set(layers)) == 1 else tuple(layers),
        "cross_attention_dim": shapes["middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1],
        "attention_head_dim": tuple(max(1, width // HEAD) for width in widths) if linear else 8,
        "use_linear_projection": linear,
    }
    if "label_emb.0.0.weight" in shapes:
        told = shapes["label_emb.0.0.weight"][1]
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": (told - pooled) // 6,
            "projection_class_embeddings_input_dim": told,
        }
    return config


def vae_config(shapes: Shapes, family: str, size: int) -> dict[str, Any]:
    """The configuration of an autoencoder whose tensors have diffusers' names."""
    levels = count(shapes, r"encoder\.down_blocks\.(\d+)\.")
    layers = count(shapes, r"encoder\.down_blocks\.0\.resnets\.(\d+)\.")
    return {
        "sample_size": size,
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "block_out_channels": tuple(
            shapes[f"encoder.down_blocks.{level}.resnets.0.conv1.weight"][0] for level in range(levels)
        ),
        "layers_per_block": layers,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
    } | AUTOENCODERS[family]


def clip_config(shapes: Shapes, *, open_clip: bool) -> dict[str, Any]:
    """The configuration of a CLIP text encoder whose tensors have transformers' names, without ``text_model.``.

    ``open_clip``: of OpenCLIP (exact GELU), else of OpenAI (the quick one).
    """
    vocabulary, width = shapes["embeddings.token_embedding.weight"]
    return CLIP_TOKENS | {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": shapes["encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": count(shapes, r"encoder\.layers\.(\d+)\."),
        "num_attention_heads": max(1, width // HEAD),
        "max_position_embeddings": shapes["embeddings.position_embedding.weight"][0],
        "hidden_act": "gelu" if open_clip else "quick_gelu",
        "projection_dim": shapes.get("text_projection.weight", (width,))[0],
    }


def t5_config(shapes: Shapes) -> dict[str, Any]:
    """The configuration of a T5 v1.1 encoder (Raffel et al. 2020, gated GELU), all told by its shapes."""
    first = "encoder.block.0.layer.0.SelfAttention."
    vocabulary, width = shapes["shared.weight"]
    buckets, heads = shapes[first + "relative_attention_bias.weight"]
    return {
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": shapes[first + "q.weight"][0] // heads,
        "d_ff": shapes["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"][0],
        "num_layers": count(shapes, r"encoder\.block\.(\d+)\."),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": False,
        "use_cache": False,
    }


def sd3_config(shapes: Shapes, size: int) -> dict[str, Any]:
    """The configuration of an SD3 or SD3.5 transformer in the original layout, its prefix taken away."""
    width, channels, patch = shapes["x_embedder.proj.weight"][:3]
    dual = {int(found.group(1)) for key in shapes if (found := re.match(r"joint_blocks\.(\d+)\.x_block\.attn2\.", key))}
    return {
        "sample_size": size // 8,
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": shapes["final_layer.linear.weight"][0] // patch**2,
        "num_layers": count(shapes, r"joint_blocks\.(\d+)\."),
        "attention_head_dim": HEAD,
        "num_attention_heads": width // HEAD,
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "caption_projection_dim": shapes["context_embedder.weight"][0],
        "pooled_projection_dim": shapes["y_embedder.mlp.0.weight"][1],
        "pos_embed_max_size": math.isqrt(shapes["pos_embed"][1]),
        "dual_attention_layers": tuple(sorted(dual)),
        "qk_norm": "rms_norm" if "joint_blocks.0.x_block.attn.ln_q.weight" in shapes else None,
    }


def flux_config(shapes: Shapes) -> dict[str, Any]:
    """The configuration of a FLUX.1 transformer in the original layout, its prefix taken away.

    An eighth of a head turns with the picture's number, the rest with row and column in halves.
    """
    width, channels = shapes["img_in.weight"]
    head = shapes["double_blocks.0.img_attn.norm.key_norm.scale"][0]
    rows = (head - head // 8) // 2
    return {
        "patch_size": 1,
        "in_channels": channels,
        "num_layers": count(shapes, r"double_blocks\.(\d+)\."),
        "num_single_layers": count(shapes, r"single_blocks\.(\d+)\."),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": shapes["txt_in.weight"][1],
        "pooled_projection_dim": shapes["vector_in.in_layer.weight"][1],
        "guidance_embeds": "guidance_in.in_layer.weight" in shapes,
        "axes_dims_rope": (head - 2 * rows, rows, rows),
    }


def count(shapes: Shapes, pattern: str) -> int:
    """One more than the largest number that ``pattern`` finds at the beginning of a key; 0 where it finds none."""
    return 1 + max((int(found.group(1)) for key in shapes if (found := re.match(pattern, key))), default=-1)
