"""The published ControlNets' shapes, key by key, in both layouts."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

from hackamore.bases.unet import sites_of
from hackamore.controls.formats.convert import config_of
from hackamore.controls.formats.names import from_cldm, their_name, to_cldm
from hackamore.controls.formats.unet import empty_branch
from tests.format_models import PUBLISHED, cldm, file_of, shapes_of

UP = {"sd1": {}, "sd2": {}, "sdxl": {"up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")}}
MID = {
    "transformer_layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
}
SMALL = {
    "down_block_types": ("DownBlock2D",) * 3,
    "mid_block_type": "UNetMidBlock2D",
    "transformer_layers_per_block": 1,
}
SIZES = {
    "sd1": ("sd1", {}, 361_279_120),
    "sd2": ("sd2", {}, 364_228_240),
    "sdxl": ("sdxl", {}, 1_251_014_160),
    "sdxl mid": ("sdxl", MID, None),
    "sdxl small": ("sdxl", SMALL, None),
}


@pytest.fixture(scope="module", params=SIZES)
def published(request):
    """A published ControlNet and its base, at full size, without memory."""
    family, changes, count = SIZES[request.param]
    with torch.device("meta"):
        net = ControlNetModel(**PUBLISHED[family] | changes)
        unet = UNet2DConditionModel(**PUBLISHED[family] | UP[family])
    base = SimpleNamespace(
        unet=unet, bare=unet, name=family, family=family, sites=sites_of(unet), scale_factor=8,
        device=torch.device("meta"), dtype=torch.float32,
    )  # fmt: skip
    return net, base, count


def test_the_published_shapes_key_by_key_in_both_layouts(published, tmp_path):
    net, base, count = published
    theirs = shapes_of(net)
    branch = empty_branch(base, theirs)
    assert {their_name(name): tuple(p.shape) for name, p in branch.named_parameters()} == theirs
    if count is not None:
        assert sum(p.numel() for p in branch.parameters()) == count
    original = cldm(net, "")
    assert original.keys().isdisjoint(theirs)
    back = convert_controlnet_checkpoint(dict(original), net.config)  # the library's own converter
    known = {name for name in theirs if not name.startswith("add_embedding.")}  # it does not know SDXL's
    assert {name: tuple(value.shape) for name, value in back.items() if value is not None} == {
        name: theirs[name] for name in known
    }
    for prefix in ("", "control_model."):
        keys = {prefix + key: tuple(value.shape) for key, value in original.items()}
        assert from_cldm(keys) == {name: prefix + key for name, key in to_cldm(theirs).items()}
        told = config_of(file_of(keys, tmp_path))  # raises where one key or shape differs
        wanted = {n: v for n, v in net.config.items() if n in told and n not in ("_class_name", "attention_head_dim")}
        assert {name: _plain(told[name]) for name in wanted} == {name: _plain(v) for name, v in wanted.items()}


def _plain(value):
    return list(value) if isinstance(value, tuple) else value
