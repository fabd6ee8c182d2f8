"""Small ControlNets with random weights, and the forms in which such files are published."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import ControlNetModel
from safetensors.torch import save_file

from hackamore.controls.formats.file import ControlFile
from hackamore.controls.formats.names import from_cldm, to_cldm

PUBLISHED = {
    "sd1": {"cross_attention_dim": 768, "attention_head_dim": 8},
    "sd2": {
        "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True,
        "upcast_attention": True,
    },
    "sdxl": {
        "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20],
        "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816, "transformer_layers_per_block": [1, 2, 10],
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    },
}  # fmt: skip
"""What the published U-Nets and their ControlNets are configured as, where it is not the library's default."""


def net_for(unet, seed=0, **changes):
    """A ControlNet for ``unet`` in which every layer says something."""
    net = ControlNetModel.from_unet(unet, conditioning_channels=3)
    if changes:
        net = ControlNetModel(**{name: value for name, value in net.config.items() if name[0] != "_"} | changes)
    generator = torch.Generator().manual_seed(seed)
    loud = (net.controlnet_cond_embedding.conv_out, net.controlnet_mid_block, *net.controlnet_down_blocks)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
        for layer in loud:
            for parameter in layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return net.eval().requires_grad_(False)


def cldm(net, prefix="control_model."):
    """The weights of ``net`` under the original layout's keys."""
    weights = net.state_dict()
    return {prefix + key: weights[name].clone() for name, key in to_cldm(weights).items()}


def save(tensors, path: Path, metadata=None):
    """Write weights as ``.safetensors`` or as a pickle, as the suffix says."""
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata)
    else:
        torch.save(tensors, path)
    return path


def whole(tensors, unet):
    """A whole model with a control inside, as the original training writes it."""
    rest = {f"model.diffusion_model.{key}": value for key, value in list(unet.state_dict().items())[:20]}
    rest["model.diffusion_model.input_blocks.0.0.weight"] = unet.conv_in.weight.detach().clone()
    rest |= {"first_stage_model.decoder.conv_in.weight": torch.zeros(8, 4, 3, 3), "betas": torch.zeros(1000)}
    return {"state_dict": tensors | rest, "global_step": 3, "optimizer_states": [{"state": {}}]}


def difference(tensors, unet, prefix="control_model."):
    """Weights minus the base's, where the base has them."""
    names = from_cldm(tensors)
    beneath = unet.state_dict()
    for name, key in names.items():
        if name in beneath:
            tensors[key] = tensors[key] - beneath[name]
    return tensors | {"difference": torch.tensor(())}


def control_lora(net, unet, rank=3, seed=0):
    """A Control-LoRA and the ControlNet that it stands for: factors of most weights, the rest whole or the base's."""
    generator = torch.Generator().manual_seed(seed)
    beneath, tensors, meant = unet.state_dict(), {"lora_controlnet": torch.tensor([])}, {}
    for name, key in to_cldm(net.state_dict()).items():
        mine = net.state_dict()[name]
        meant[name] = mine
        if name not in beneath or mine.ndim < 2 or ".norm" in name:
            tensors[key] = mine.clone()
            if name.endswith("to_out.0.bias"):  # what is left out is the base's
                del tensors[key]
                meant[name] = beneath[name]
        else:
            shape, stem = mine.shape, key.removesuffix(".weight")
            up = torch.randn(shape[0], rank, *([1, 1] if mine.ndim == 4 else []), generator=generator) * 0.1
            down = torch.randn(rank, *shape[1:], generator=generator) * 0.1
            tensors |= {f"{stem}.up": up, f"{stem}.down": down}
            meant[name] = beneath[name] + (up.flatten(1) @ down.flatten(1)).reshape(shape)
    stands_for = ControlNetModel.from_config(net.config)
    stands_for.load_state_dict(meant)
    return tensors, stands_for.eval().requires_grad_(False)


def shapes_of(network):
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def file_of(shapes, path, **told):
    return ControlFile(path, (path / "x.safetensors",), dict(shapes), **told)
