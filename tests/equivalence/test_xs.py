"""ControlNet-XS: our latents are those of diffusers' pipelines; the key sets of the published shapes are theirs."""

import pytest
import torch
from diffusers import (
    ControlNetXSAdapter,
    StableDiffusionControlNetXSPipeline,
    StableDiffusionXLControlNetXSPipeline,
    UNet2DConditionModel,
    UNetControlNetXSModel,
)

from hackamore.bases.unet import sites_of
from hackamore.controls.formats.file import open_control
from hackamore.controls.formats.xs import read_xs, shape_of
from hackamore.controls.xs import XS
from hackamore.sampling.schedulers import make_scheduler
from tests.attached_models import HINT, made, stirred, theirs
from tests.equivalence.agreement import agree

HEADS = {"sd1": 4, "sd2": [2, 4, 4, 4], "sdxl": [2, 4, 4]}
WIDTHS = {"sd1": [8, 16, 24, 24], "sd2": [8, 16, 24, 24], "sdxl": [8, 16, 24]}
PIPELINES = {"sdxl": StableDiffusionXLControlNetXSPipeline}


def adapter(base, family, seed=0, **told):
    torch.manual_seed(seed)
    network = ControlNetXSAdapter.from_unet(
        base.unet,
        block_out_channels=WIDTHS[family],
        num_attention_heads=HEADS[family],
        conditioning_embedding_out_channels=(8, 8, 8, 8),
        **told,
    )
    return stirred(network, seed)


def fused(base, network):
    """diffusers' joint network with the base's own epsilon; by itself it forgets that, and takes 1e-6 for 1e-5."""
    joint = UNetControlNetXSModel.from_unet(base.unet, network)
    parts = [part for block in joint.down_blocks for part in block.base_resnets]
    parts += [part for block in joint.up_blocks for part in block.resnets]
    for part in [*parts, *joint.mid_block.base_midblock.resnets]:
        part.norm1.eps = part.norm2.eps = base.unet.config.norm_eps
    return joint


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("ControlNet-XS", {}),
        ("ControlNet-XS, own time embedding", {"learn_time_embedding": True, "time_embedding_mix": 0.6}),
    ],
)
def test_latents_are_theirs(request, tmp_path, family, kind, told):
    base = request.getfixturevalue(family)
    network = adapter(base, family, **told)
    network.save_pretrained(tmp_path)
    control = read_xs(open_control(tmp_path), base)
    mine = made(base, control.unit(HINT, scale=0.8, start=0.25, end=0.75))
    pipeline = PIPELINES.get(family, StableDiffusionControlNetXSPipeline).from_pretrained(
        request.getfixturevalue(f"{family}_folder"),
        unet=fused(base, network),
        controlnet=None,
        scheduler=make_scheduler(base.scheduler, base.scheduler_config),
    )
    window = {"control_guidance_start": 0.25, "control_guidance_end": 0.75}
    reference = theirs(pipeline, image=HINT, controlnet_conditioning_scale=0.8, **window)
    beside = f"diffusers: {type(pipeline).__name__}"
    agree(mine, reference, made(base), family=family, kind=kind, beside=beside)


class Published:
    """The structure of a published base on the meta device."""

    def __init__(self, **config):
        with torch.device("meta"):
            self.unet = self.bare = UNet2DConditionModel(**config)
        self.name, self.device, self.dtype, self.scale_factor = "published", torch.device("meta"), torch.float32, 8
        self.sites = sites_of(self.unet)


SHAPES = {
    "sd21": {
        "cross_attention_dim": 1024,
        "attention_head_dim": [5, 10, 20, 20],
        "use_linear_projection": True,
        "upcast_attention": True,
    },
    "sdxl": {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": [1, 2, 10],
        "attention_head_dim": [5, 10, 20],
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}


@pytest.mark.parametrize(("shape", "ratio"), [("sd21", 0.25), ("sdxl", 0.25)])
def test_published_shapes_have_their_keys(shape, ratio):
    base = Published(**SHAPES[shape])
    with torch.device("meta"):
        network = ControlNetXSAdapter.from_unet(base.unet, size_ratio=ratio)
        expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        mine = XS(base, shape_of(expected, dict(network.config), base))
    assert {key: tuple(value.shape) for key, value in mine.state_dict().items()} == expected
    with torch.device("meta"):
        joint = UNetControlNetXSModel.from_unet(base.unet, network)
    for name, part in mine.named_modules():
        if isinstance(part, torch.nn.GroupNorm):
            where = name.replace(".midblock.", ".ctrl_midblock.")
            if where == name:
                where = name.replace(".resnets.", ".ctrl_resnets.").replace(".attentions.", ".ctrl_attentions.")
            assert part.num_groups == joint.get_submodule(where).num_groups, name
