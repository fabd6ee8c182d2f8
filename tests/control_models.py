"""Adapters and unions with random weights for the small bases of conftest, and published bases without weights."""

import torch
from diffusers import UNet2DConditionModel

from hackamore.bases.unet import sites_of
from hackamore.controls.union import new_union
from tests.conftest import randomise

PUBLISHED = {
    "sd1": {"cross_attention_dim": 768},
    "sdxl": {
        "block_out_channels": (320, 640, 1280),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
"""Family → how its published U-Net differs from what diffusers makes unasked."""


class PublishedBase:
    """A base of published shape whose weights take no memory."""

    name, scale_factor, device, dtype = "published", 8, torch.device("meta"), torch.float32

    def __init__(self, family):
        with torch.device("meta"):
            self.unet = self.bare = UNet2DConditionModel(**PUBLISHED[family])
        self.family, self.sites = family, sites_of(self.unet)


def lively_adapter(adapter, seed=0):
    """The adapter with random weights everywhere, so that it says something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            size = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
    return adapter.eval().requires_grad_(False)


def lively_union(base, seed=0, **told):
    """A union whose zero convolutions, projection and type embedding say something."""
    torch.manual_seed(seed)
    union = new_union(base, **told)
    randomise(union.branch, seed)
    generator = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        for layer in (union.fuser.spatial_ch_projs, union.fuser.control_add_embedding.linear_2):
            for parameter in (layer.weight, layer.bias):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return union.eval().requires_grad_(False)
