"""Tensors of the original layouts under the names that diffusers and transformers give them.

Each function takes tensors by their original names, the prefix of their part taken away, real ones or on the meta
device, and never changes the dictionary it is given. Where diffusers' own converters read every width they are used;
its converter for FLUX knows one width alone, so FLUX has a table here.
"""

from __future__ import annotations

import re
from types import SimpleNamespace

import torch
from torch import Tensor

Tensors = dict[str, Tensor]

_UNET = "model.diffusion_model."


def unet(tensors: Tensors, layers: int, added: bool) -> Tensors:
    """A U-Net of ``layers`` blocks a level, with SDXL's ``added`` conditions or without."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    config = {"layers_per_block": layers, "addition_embed_type": "text_time" if added else None}
    made: Tensors = convert_ldm_unet_checkpoint({_UNET + key: value for key, value in tensors.items()}, config)
    return made


def vae(tensors: Tensors) -> Tensors:
    """An autoencoder; one that has diffusers' names already keeps them, but for old names of its attention."""
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    if any(".down_blocks." in key for key in tensors):
        return {_new_attention(key): _flat(key, value) for key, value in tensors.items()}
    levels = {key.split(".")[2] for key in tensors if key.startswith("encoder.down.")}
    blocks = [None] * len(levels)
    made: Tensors = convert_ldm_vae_checkpoint(tensors, {"down_block_types": blocks, "up_block_types": blocks})
    return made


_OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def _new_attention(key: str) -> str:
    return re.sub(r"(?<=attentions\.0\.)(query|key|value|proj_attn)", lambda found: _OLD[found.group()], key)


def _flat(key: str, value: Tensor) -> Tensor:
    """Attention kept as 1×1 convolutions, as the linear layers they are."""
    return value.flatten(1) if ".attentions." in key and value.ndim > 2 else value


def clip(tensors: Tensors) -> Tensors:
    """A CLIP text encoder with transformers' names, with ``text_model.`` before them or without."""
    made = {key.removeprefix("text_model."): value for key, value in tensors.items()}
    return {key: value for key, value in made.items() if key not in ("embeddings.position_ids", "logit_scale")}


def open_clip(tensors: Tensors, *, projection: bool, layers: int | None = None) -> Tensors:
    """An OpenCLIP text encoder with its ``projection`` or without, its first ``layers`` layers, all where None."""
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint

    kept = {key: value for key, value in tensors.items() if layers is None or (block(key) or 0) < layers}
    if not projection:
        kept.pop("text_projection", None)
    width = SimpleNamespace(config=SimpleNamespace(hidden_size=tensors["token_embedding.weight"].shape[1]))
    return clip(convert_open_clip_checkpoint(width, kept, prefix=""))


def block(key: str) -> int | None:
    """The number of the OpenCLIP layer that ``key`` belongs to; None for the rest."""
    found = re.match(r"transformer\.resblocks\.(\d+)\.", key)
    return int(found.group(1)) if found else None


def t5(tensors: Tensors) -> Tensors:
    """A T5 encoder; its table of tokens, which it shares with itself, is kept once."""
    return {key: value for key, value in tensors.items() if key not in ("encoder.embed_tokens.weight", "logit_scale")}


def sd3(tensors: Tensors) -> Tensors:
    """An SD3 or SD3.5 transformer."""
    from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers

    left = dict(tensors)
    made: Tensors = convert_sd3_transformer_checkpoint_to_diffusers(left)
    return made | left  # what it does not know stays, to be named


_FLUX = {
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "txt_in": "context_embedder",
    "img_in": "x_embedder",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}
_FLUX_DOUBLE = {
    "img_mod.lin": "norm1.linear",
    "txt_mod.lin": "norm1_context.linear",
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
    "img_attn.qkv": "attn.to_q attn.to_k attn.to_v",
    "txt_attn.qkv": "attn.add_q_proj attn.add_k_proj attn.add_v_proj",
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
    "img_mlp.0": "ff.net.0.proj",
    "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj",
    "txt_mlp.2": "ff_context.net.2",
}
_FLUX_SINGLE = {
    "modulation.lin": "norm.linear",
    "norm.query_norm": "attn.norm_q",
    "norm.key_norm": "attn.norm_k",
    "linear1": "attn.to_q attn.to_k attn.to_v proj_mlp",
    "linear2": "proj_out",
}


def flux(tensors: Tensors) -> Tensors:
    """A FLUX.1 transformer of any width. Joined projections are split, the last norm's halves change places."""
    width = tensors["img_in.weight"].shape[0]
    made: Tensors = {}
    for key, value in tensors.items():
        found = re.match(r"(double|single)_blocks\.(\d+)\.(.*)", key)
        table, before, rest = _FLUX, "", key
        if found:
            table = _FLUX_DOUBLE if found.group(1) == "double" else _FLUX_SINGLE
            before = f"{'' if found.group(1) == 'double' else 'single_'}transformer_blocks.{found.group(2)}."
            rest = found.group(3)
        stem, _, leaf = rest.rpartition(".")
        if stem not in table:
            made[key] = value  # what is not known stays, to be named
            continue
        names = table[stem].split()
        if stem.startswith("final_layer.adaLN"):
            value = torch.cat(value.chunk(2)[::-1])  # (shift, scale) there, (scale, shift) here
        sizes = [width] * min(len(names), 3) + [value.shape[0] - 3 * width] * (len(names) - 3)
        parts = [value] if len(names) == 1 else [part.contiguous() for part in torch.split(value, sizes)]
        leaf = "weight" if leaf == "scale" else leaf
        made |= {f"{before}{name}.{leaf}": part for name, part in zip(names, parts, strict=True)}
    return made
