"""The original layouts of single files, written from diffusers' modules by the inverse of every renaming."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Tensors = dict[str, Tensor]

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip


def unet(network: Any, prefix: str = "model.diffusion_model.") -> Tensors:
    """A ``UNet2DConditionModel`` in the original layout."""
    step = network.config.layers_per_block + 1

    def name(key: str) -> str:
        for theirs, original in ENDS.items():
            if key.startswith(f"{theirs}."):
                return key.replace(theirs, original, 1)
        if key.startswith("mid_block."):
            _, kind, place, rest = key.split(".", 3)
            return f"middle_block.{1 if kind == 'attentions' else 2 * int(place)}.{inner(kind, rest)}"
        side, level, kind, place, rest = key.split(".", 4)
        number = int(level) * step + int(place)
        if kind == "downsamplers":
            return f"input_blocks.{(int(level) + 1) * step}.0.op.{rest.removeprefix('conv.')}"
        if kind == "upsamplers":
            attends = "CrossAttn" in network.config.up_block_types[int(level)]
            return f"output_blocks.{(int(level) + 1) * step - 1}.{1 + attends}.{rest}"
        block = f"input_blocks.{number + 1}" if side == "down_blocks" else f"output_blocks.{number}"
        return f"{block}.{int(kind == 'attentions')}.{inner(kind, rest)}"

    def inner(kind: str, rest: str) -> str:
        if kind == "attentions":
            return rest
        first, _, leaf = rest.partition(".")
        return f"{RESNET[first]}.{leaf}"

    return {prefix + name(key): value for key, value in network.state_dict().items()}


def vae(network: Any, prefix: str = "first_stage_model.") -> Tensors:
    """An ``AutoencoderKL`` in the original layout: its attention as 1×1 convolutions."""
    levels = len(network.config.block_out_channels)
    swaps = [
        (r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2"), (r"mid_block\.resnets\.0", "mid.block_1"),
        (r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample"), (r"mid_block\.resnets\.1", "mid.block_2"),
        (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"), ("conv_shortcut", "nin_shortcut"),
        (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"), ("conv_norm_out", "norm_out"),
        (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
        (r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}.block.{m[2]}"),
        (r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample"),
    ]  # fmt: skip
    made = {}
    for key, value in network.state_dict().items():
        for pattern, replacement in swaps:
            key = re.sub(pattern, replacement, key)
        linear = ".attn_1." in key and key.endswith("weight") and ".norm." not in key
        made[prefix + key] = value[:, :, None, None] if linear else value
    return made


def clip(network: Any, prefix: str, *, wrapped: bool = True) -> Tensors:
    """A CLIP text encoder as transformers names it, ``text_model.`` before all but the projection."""
    made = {}
    for key, value in network.state_dict().items():
        key = key.removeprefix("text_model.")
        made[prefix + (key if not wrapped or key.startswith("text_projection") else f"text_model.{key}")] = value
    return made


def open_clip(network: Any, prefix: str, *, one_more: bool = False) -> Tensors:
    """A CLIP text encoder as OpenCLIP names it; with ``one_more`` a last layer that SD 2.x does not read."""
    state = {key.removeprefix("text_model."): value for key, value in network.state_dict().items()}
    ends = {
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias",
    }  # fmt: skip
    made = {original: state[key] for key, original in ends.items()}
    width = state["embeddings.token_embedding.weight"].shape[1]
    made["text_projection"] = (
        state["text_projection.weight"].T
        if "text_projection.weight" in state
        else (torch.zeros(width, width, device=state["final_layer_norm.weight"].device))
    )
    made["logit_scale"] = torch.tensor(4.6)
    layers = network.config.num_hidden_layers
    for layer in range(layers + one_more):
        before, block = f"encoder.layers.{min(layer, layers - 1)}.", f"transformer.resblocks.{layer}."
        for leaf in ("weight", "bias"):
            parts = [state[f"{before}self_attn.{name}_proj.{leaf}"] for name in "qkv"]
            made[f"{block}attn.in_proj_{leaf}"] = torch.cat(parts)
            for theirs, original in (
                ("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
            ):  # fmt: skip
                made[f"{block}{original}.{leaf}"] = state[f"{before}{theirs}.{leaf}"]
    return {prefix + key: value for key, value in made.items()}


def t5(network: Any, prefix: str) -> Tensors:
    """A T5 encoder, its table of tokens under both of its names."""
    return {prefix + key: value.clone() for key, value in network.state_dict().items()}


def _swapped(value: Tensor) -> Tensor:
    return torch.cat(value.chunk(2)[::-1])


def _joined(state: Mapping[str, Tensor], before: str, names: str, leaf: str) -> Tensor:
    return torch.cat([state[f"{before}{name}.{leaf}"] for name in names.split()])


def sd3(network: Any, prefix: str = "model.diffusion_model.") -> Tensors:
    """An ``SD3Transformer2DModel`` in the original layout."""
    state, layers = network.state_dict(), network.config.num_layers
    made = {"pos_embed": state["pos_embed.pos_embed"]}
    pairs = {
        "x_embedder.proj": "pos_embed.proj", "context_embedder": "context_embedder", "final_layer.linear": "proj_out",
        "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
        "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
        "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
        "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
        "final_layer.adaLN_modulation.1": "norm_out.linear",
    }  # fmt: skip
    for layer in range(layers):
        last = layer == layers - 1
        x, c, block = (
            f"joint_blocks.{layer}.x_block.",
            f"joint_blocks.{layer}.context_block.",
            f"transformer_blocks.{layer}.",
        )
        pairs |= {
            f"{x}attn.proj": f"{block}attn.to_out.0", f"{x}adaLN_modulation.1": f"{block}norm1.linear",
            f"{x}mlp.fc1": f"{block}ff.net.0.proj", f"{x}mlp.fc2": f"{block}ff.net.2",
            f"{c}adaLN_modulation.1": f"{block}norm1_context.linear",
            f"{x}attn.ln_q": f"{block}attn.norm_q", f"{x}attn.ln_k": f"{block}attn.norm_k",
            f"{c}attn.ln_q": f"{block}attn.norm_added_q", f"{c}attn.ln_k": f"{block}attn.norm_added_k",
            f"{x}attn2.proj": f"{block}attn2.to_out.0",
            f"{x}attn2.ln_q": f"{block}attn2.norm_q", f"{x}attn2.ln_k": f"{block}attn2.norm_k",
        }  # fmt: skip
        if not last:
            pairs |= {
                f"{c}attn.proj": f"{block}attn.to_add_out", f"{c}mlp.fc1": f"{block}ff_context.net.0.proj",
                f"{c}mlp.fc2": f"{block}ff_context.net.2",
            }  # fmt: skip
        for leaf in ("weight", "bias"):
            made[f"{x}attn.qkv.{leaf}"] = _joined(state, block, "attn.to_q attn.to_k attn.to_v", leaf)
            made[f"{c}attn.qkv.{leaf}"] = _joined(state, block, "attn.add_q_proj attn.add_k_proj attn.add_v_proj", leaf)
            if layer in network.config.dual_attention_layers:
                made[f"{x}attn2.qkv.{leaf}"] = _joined(state, block, "attn2.to_q attn2.to_k attn2.to_v", leaf)
    swapped = ("final_layer.adaLN_modulation.1", f"joint_blocks.{layers - 1}.context_block.adaLN_modulation.1")
    return {prefix + key: value for key, value in (made | _renamed(state, pairs, swapped)).items()}


def _renamed(state: Mapping[str, Tensor], pairs: dict[str, str], swapped: tuple[str, ...]) -> Tensors:
    made = {}
    for original, theirs in pairs.items():
        for leaf in ("weight", "bias"):
            if (value := state.get(f"{theirs}.{leaf}")) is not None:
                made[f"{original}.{leaf}"] = _swapped(value) if original in swapped else value
    return made


def flux(network: Any, prefix: str = "") -> Tensors:
    """A ``FluxTransformer2DModel`` in the original layout."""
    state, made = network.state_dict(), {}
    pairs = {
        "txt_in": "context_embedder", "img_in": "x_embedder", "final_layer.linear": "proj_out",
        "final_layer.adaLN_modulation.1": "norm_out.linear",
    } | {
        f"{original}.{layer}": f"time_text_embed.{theirs}.linear_{1 + (layer == 'out_layer')}"
        for original, theirs in (
            ("time_in", "timestep_embedder"), ("vector_in", "text_embedder"), ("guidance_in", "guidance_embedder"),
        )
        for layer in ("in_layer", "out_layer")
    }  # fmt: skip
    for layer in range(network.config.num_layers):
        here, block = f"double_blocks.{layer}.", f"transformer_blocks.{layer}."
        for side, more, norms, out, ff, q in (
            ("img", "", "norm_q norm_k", "to_out.0", "ff", "attn.to_q attn.to_k attn.to_v"),
            ("txt", "_context", "norm_added_q norm_added_k", "to_add_out", "ff_context",
             "attn.add_q_proj attn.add_k_proj attn.add_v_proj"),
        ):  # fmt: skip
            pairs |= {
                f"{here}{side}_mod.lin": f"{block}norm1{more}.linear", f"{here}{side}_attn.proj": f"{block}attn.{out}",
                f"{here}{side}_mlp.0": f"{block}{ff}.net.0.proj", f"{here}{side}_mlp.2": f"{block}{ff}.net.2",
            }  # fmt: skip
            for norm, theirs in zip(("query_norm", "key_norm"), norms.split(), strict=True):
                made[f"{here}{side}_attn.norm.{norm}.scale"] = state[f"{block}attn.{theirs}.weight"]
            for leaf in ("weight", "bias"):
                made[f"{here}{side}_attn.qkv.{leaf}"] = _joined(state, block, q, leaf)
    for layer in range(network.config.num_single_layers):
        here, block = f"single_blocks.{layer}.", f"single_transformer_blocks.{layer}."
        pairs |= {f"{here}modulation.lin": f"{block}norm.linear", f"{here}linear2": f"{block}proj_out"}
        for norm, theirs in (("query_norm", "norm_q"), ("key_norm", "norm_k")):
            made[f"{here}norm.{norm}.scale"] = state[f"{block}attn.{theirs}.weight"]
        for leaf in ("weight", "bias"):
            made[f"{here}linear1.{leaf}"] = _joined(state, block, "attn.to_q attn.to_k attn.to_v proj_mlp", leaf)
    renamed = _renamed(state, pairs, ("final_layer.adaLN_modulation.1",))
    return {prefix + key: value for key, value in (made | renamed).items()}
