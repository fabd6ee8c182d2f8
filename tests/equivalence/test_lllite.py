"""ControlLLLite: beside its rule written out in plain torch, and the names and shapes of the published files."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch.nn.functional import conv2d, linear, relu

from hackamore.bases.unet import sites_of
from hackamore.bases.walk import original_names, walk
from hackamore.controls.formats.file import open_control
from hackamore.controls.formats.lllite import read_lllite, shapes_of, write_lllite
from hackamore.controls.lllite import new_lllite
from tests.attached_models import HINT, made, stirred
from tests.equivalence.agreement import agree


def shifted(weights, name, x, hint, scale):
    """kohya's rule: x + scale · up(relu(mid([encoded hint, relu(down(x))]))), the hint in [−1, 1]."""
    w = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
    features = hint * 2 - 1
    for number in (0, 2, 4):
        if f"conditioning1.{number}.weight" in w:
            kernel, bias = w[f"conditioning1.{number}.weight"], w[f"conditioning1.{number}.bias"]
            features = conv2d(relu(features) if number else features, kernel, bias, stride=kernel.shape[-1])
    tokens = features.flatten(2).transpose(1, 2).repeat(len(x), 1, 1)
    inside = torch.cat([tokens, relu(linear(x, w["down.0.weight"], w["down.0.bias"]))], 2)
    return x + scale * linear(
        relu(linear(inside, w["mid.0.weight"], w["mid.0.bias"])), w["up.0.weight"], w["up.0.bias"]
    )


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "meadow"])
def test_latents_follow_the_rule(request, tmp_path, family):
    base = request.getfixturevalue(family)
    path = write_lllite(stirred(new_lllite(base, "canny")), tmp_path / "edges.safetensors", family)
    control = read_lllite(open_control(path), base)
    assert (control.name, control.condition) == ("edges.safetensors", "canny")
    mine = made(base, control.unit(HINT, scale=0.7))
    weights, reference = load_file(path), base.view()
    for name in {key.split(".")[0] for key in weights}:
        layer = reference.unet.get_submodule(control.places[name].path)
        layer.register_forward_pre_hook(lambda _, args, name=name: (shifted(weights, name, args[0], HINT, 0.7),))
    agree(mine, made(reference), made(base), family=family, kind="LLLite", beside="its rule in plain torch")


def test_sdxl_files_have_their_layers_shapes_and_depths():
    config = {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": [1, 2, 10],
        "attention_head_dim": [5, 10, 20],
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
    }

    class Published:
        name, family, device, dtype = "published", "sdxl", torch.device("meta"), torch.float32

    with torch.device("meta"):
        Published.unet = Published.bare = UNet2DConditionModel(**config)
        Published.sites = sites_of(Published.unet)
        mine = new_lllite(Published, hint_width=32, width=64)
    keys = {key: tuple(value.shape) for key, value in mine.parts.state_dict().items()}
    blocks = {"input_blocks_4": 2, "input_blocks_5": 2, "input_blocks_7": 10, "input_blocks_8": 10, "middle_block": 10}
    layers = ("attn1_to_q", "attn1_to_k", "attn1_to_v", "attn2_to_q")
    named = [
        f"lllite_unet_{block}_1_transformer_blocks_{k}_{layer}"
        for block, depth in blocks.items() for k in range(depth) for layer in layers
    ]  # fmt: skip
    assert {key.split(".")[0] for key in keys} == set(named)
    assert len(named) == 136
    first, last = named[0], named[-1]
    assert keys[f"{first}.conditioning1.2.weight"] == (32, 16, 4, 4)
    assert keys[f"{last}.conditioning1.4.weight"] == (32, 16, 2, 2)
    assert (keys[f"{first}.down.0.weight"], keys[f"{last}.down.0.weight"]) == ((64, 640), (64, 1280))
    assert (keys[f"{last}.mid.0.weight"], keys[f"{last}.up.0.weight"]) == ((64, 96), (1280, 64))
    assert shapes_of(keys) == {name: mine.parts[name].shape for name in named}


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_the_walk_names_the_parts_as_the_original_code_does(request, family):
    unet = request.getfixturevalue(family).unet
    parts = {part.original: part.path for part in walk(unet)}
    names = original_names(unet)
    if family == "sdxl":
        assert parts["input_blocks.3.0"] == "down_blocks.0.downsamplers.0"
        assert parts["input_blocks.8.1"] == "down_blocks.2.attentions.1"
        assert parts["output_blocks.2.2"] == "up_blocks.0.upsamplers.0"
        assert parts["output_blocks.8.0"] == "up_blocks.2.resnets.2"
    else:
        assert parts["input_blocks.4.1"] == "down_blocks.1.attentions.0"
        assert parts["output_blocks.2.1"] == "up_blocks.0.upsamplers.0"
        assert parts["output_blocks.5.2"] == "up_blocks.1.upsamplers.0"
        assert parts["output_blocks.11.1"] == "up_blocks.3.attentions.2"
    assert parts["middle_block.1"] == "mid_block.attentions.0"
    assert names["input_blocks.4.0.skip_connection"].path == "down_blocks.1.resnets.0.conv_shortcut"
    assert all(unet.get_submodule(part.path) is not None for part in names.values())
