"""One tensor of the wrong rank, or one strange setting, in a control of each kind: a sentence, never a traceback."""

import json
import sys
from contextlib import suppress

import pytest
import torch
from safetensors.torch import load_file, save_file

from hackamore.bases.catalog import load_base
from hackamore.cli.describe import describe
from hackamore.cli.main import main
from hackamore.controls.adapter import new_adapter
from hackamore.controls.blocks import new_blocks
from hackamore.controls.catalog import load_control
from hackamore.controls.formats.convert import convert
from hackamore.controls.formats.keys import strangeness_told
from hackamore.controls.formats.lllite import write_lllite
from hackamore.controls.formats.t2i import write_adapter
from hackamore.controls.formats.transformer import write_blocks
from hackamore.controls.formats.union import write_union
from hackamore.controls.formats.xs import write_xs
from hackamore.controls.lllite import new_lllite
from hackamore.controls.union import new_union
from hackamore.controls.union_types import PUBLISHED
from hackamore.controls.xs import new_xs
from hackamore.core.errors import HackamoreError
from tests.attached_models import ip_adapter_weights, write_ip_adapter
from tests.format_models import cldm, control_lora, difference, net_for, save
from tests.transformer_models import SD35, load, write_flux, write_sd3

WRITERS = {
    "t2i": ("sd1", lambda base, path: write_adapter(new_adapter(base), path)),
    "union": ("sd1", lambda base, path: write_union(new_union(base, PUBLISHED[:6]), path)),
    "xs": ("sd1", lambda base, path: write_xs(new_xs(base, size_ratio=0.5, own_time=True), base, path)),
    "lllite": ("sd1", lambda base, path: write_lllite(new_lllite(base), path / "l.safetensors", "sd1")),
    "ip-adapter": ("sd1", write_ip_adapter),
    "ip-adapter plus": ("sd1", lambda base, path: save(ip_adapter_weights(base, "plus"), path / "i.safetensors")),
    "diffusers": ("sd1", lambda base, path: net_for(base.unet).save_pretrained(path)),
    "cldm": ("sd1", lambda base, path: save(cldm(net_for(base.unet)), path / "c.safetensors")),
    "difference": (
        "sd1",
        lambda base, path: save(difference(cldm(net_for(base.unet)), base.unet), path / "d.safetensors"),
    ),
    "control-lora": (
        "sd1",
        lambda base, path: save(control_lora(net_for(base.unet), base.unet)[0], path / "l.safetensors"),
    ),
    "sd3": ("sd3", lambda base, path: write_blocks(new_blocks(base, "canny"), path)),
    "flux": ("flux", lambda base, path: write_blocks(new_blocks(base, "canny"), path)),
}
KEYS = {
    "t2i": ("adapter.conv_in.weight", "adapter.body.0.resnets.0.block1.weight", "adapter.body.1.in_conv.weight"),
    "union": ("task_embedding", "conv_in.weight", "control_add_embedding.linear_1.weight", "spatial_ch_projs.weight"),
    "xs": ("control_to_base_for_conv_in.weight", "down_blocks.0.ctrl_to_base.0.weight", "conv_in.weight"),
    "lllite": (
        "lllite_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.down.0.weight",
        "lllite_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.conditioning1.2.weight",
    ),
    "ip-adapter": ("ip_adapter.1.to_k_ip.weight", "image_proj.proj.weight"),
    "ip-adapter plus": ("image_proj.proj_in.weight", "image_proj.latents"),
    "diffusers": ("conv_in.weight", "controlnet_cond_embedding.conv_in.weight", "mid_block.resnets.0.conv1.weight"),
    "cldm": ("control_model.input_blocks.0.0.weight", "control_model.input_hint_block.0.weight"),
    "difference": ("control_model.input_blocks.0.0.weight", "control_model.input_hint_block.0.weight"),
    "control-lora": ("input_hint_block.0.weight", "input_blocks.1.0.in_layers.2.up"),
    "sd3": ("controlnet_blocks.0.weight", "pos_embed_input.proj.weight", "context_embedder.weight"),
    "flux": ("context_embedder.weight", "controlnet_x_embedder.weight", "controlnet_blocks.0.weight"),
}


@pytest.fixture(scope="module")
def sd3(tmp_path_factory):
    return load(write_sd3(tmp_path_factory.mktemp("small-sd3"), SD35))


@pytest.fixture(scope="module")
def flux(tmp_path_factory):
    return load(write_flux(tmp_path_factory.mktemp("small-flux")))


@pytest.fixture(scope="module")
def written(request, tmp_path_factory):
    """Kind → base, folder or file of a control, file of its weights; each is made once."""
    made = {}

    def write(kind):
        if kind not in made:
            name, writer = WRITERS[kind]
            base, folder = request.getfixturevalue(name), tmp_path_factory.mktemp("control")
            writer(base, folder)
            weights = next(folder.glob("*.safetensors"))
            made[kind] = base, folder if (folder / "config.json").exists() else weights, weights
        return made[kind]

    return write


def refused(path, base):
    with pytest.raises(HackamoreError) as raised:
        load_control(path, base)
    assert len(str(raised.value).splitlines()) <= 4
    return str(raised.value)


@pytest.mark.parametrize("shape", [(), (0,)], ids=["scalar", "empty"])
@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind, keys in KEYS.items() for key in keys])
def test_a_tensor_of_the_wrong_rank(written, kind, key, shape):
    base, path, weights = written(kind)
    tensors = load_file(weights)
    whole = weights.read_bytes()
    assert key in tensors
    save_file({name: value.contiguous() for name, value in (tensors | {key: torch.zeros(shape)}).items()}, weights)
    try:
        refused(path, base)
        with suppress(HackamoreError):  # what no shape is needed for is told
            assert describe(path)["kind"]
    finally:
        weights.write_bytes(whole)


SETTINGS = {
    "union": [("num_trans_head", value) for value in (None, "x", 7, 0)],
    "sd3": [("attention_head_dim", value) for value in (None, 0, "x")],
    "flux": [("attention_head_dim", value) for value in (None, 0, "x")],
    "xs": [
        *[("num_attention_heads", value) for value in (None, "a", 0)],
        *[("time_embedding_mix", value) for value in (None, "a", -1)],
        *[("max_norm_num_groups", value) for value in (None, 0, "a")],
        *[("conditioning_channel_order", value) for value in ("brg", None)],
    ],
}


@pytest.mark.parametrize(("kind", "name", "value"), [(kind, *one) for kind, told in SETTINGS.items() for one in told])
def test_a_strange_setting(written, kind, name, value):
    base, path, _ = written(kind)
    config = (path / "config.json").read_text()
    (path / "config.json").write_text(json.dumps(json.loads(config) | {name: value}))
    try:
        words = refused(path, base)
    finally:
        (path / "config.json").write_text(config)
    assert str(path) in words or "widths" in words
    load_control(path, base)


FITTING = {"attention_head_dim": [4, 4, 4, 4], "num_attention_heads": None, "addition_embed_type": None}
DIFFERENT = [
    ("attention_head_dim", 8),
    ("attention_head_dim", [4, 4, 2, 4]),
    ("attention_head_dim", [4, 4]),
    ("attention_head_dim", "x"),
    ("num_attention_heads", 2),
    ("addition_embed_type", "text"),
]


@pytest.mark.parametrize("kind", ["diffusers", "union"])
def test_settings_that_no_shape_tells_must_be_those_of_the_base(written, kind):
    base, path, _ = written(kind)
    whole = (path / "config.json").read_text()
    config = json.loads(whole)
    try:
        (path / "config.json").write_text(json.dumps(config | FITTING))
        load_control(path, base)
        (path / "config.json").write_text(json.dumps(config | FITTING | {"num_attention_heads": 4}))
        load_control(path, base)
        for name, value in DIFFERENT:
            (path / "config.json").write_text(json.dumps(config | FITTING | {name: value}))
            assert "does not fit the base" in refused(path, base)
    finally:
        (path / "config.json").write_text(whole)


def test_heads_of_a_level_that_does_not_attend_do_not_matter(sdxl, tmp_path):
    net_for(sdxl.unet).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    heads = config["attention_head_dim"]
    (tmp_path / "config.json").write_text(json.dumps(config | {"attention_head_dim": [99, *heads[1:]]}))
    load_control(tmp_path, sdxl)
    (tmp_path / "config.json").write_text(json.dumps(config | {"attention_head_dim": [*heads[:-1], 99]}))
    assert "attention heads of the levels: 2, 4, 99" in refused(tmp_path, sdxl)


def test_commands_end_with_code_2_on_strange_files(sd1, sd1_folder, tmp_path, capsys, monkeypatch):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["hackamore", *map(str, words)])
        with pytest.raises(SystemExit) as raised:
            main()
        assert "Traceback" not in capsys.readouterr().err
        return raised.value.code

    weights = cldm(net_for(sd1.unet))
    for key in ("control_model.input_blocks.0.0.weight", "control_model.input_hint_block.0.weight"):
        path = save(weights | {key: torch.tensor(1.0)}, tmp_path / "control.safetensors")
        assert run("convert", path, tmp_path / "out.safetensors", "--to", "diffusers") == 2
        assert run("transfer", path, tmp_path / "out.safetensors", "--from", sd1_folder, "--to", sd1_folder) == 2
    save({"task_embedding": torch.tensor(1.0), "control_add_embedding.linear_1.bias": torch.tensor(1.0)}, path)
    assert run("generate", "a lake", "--base", sd1_folder, "--control", f"canny={path},model={path}") == 2
    assert not (tmp_path / "out.safetensors").exists()


def test_only_errors_that_a_file_can_cause_are_turned_into_sentences():
    for error in (torch.OutOfMemoryError("a shape too large"), RuntimeError("the device is lost"), KeyboardInterrupt()):
        with pytest.raises(type(error)), strangeness_told("file"):
            raise error
    with pytest.raises(HackamoreError, match="file has tensors or settings"), strangeness_told("file"):
        torch.zeros(2) @ torch.zeros(3)
    with pytest.raises(HackamoreError, match=r"^as it is$"), strangeness_told("file"):
        raise HackamoreError("as it is")


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("kind", WRITERS)
def test_whole_numbers_are_no_weights(written, tmp_path, kind, dtype):
    base, _, weights = written(kind)
    key = KEYS[kind][-1]
    tensors = load_file(weights)
    tensors[key] = tensors[key].to(dtype)
    words = refused(save(tensors, tmp_path / "whole.safetensors"), base)
    assert "no floating-point numbers" in words
    assert key in words
    if kind in ("cldm", "diffusers"):
        with pytest.raises(HackamoreError, match="no floating-point numbers"):
            convert(tmp_path / "whole.safetensors", tmp_path / "out.safetensors", "cldm")


def test_counts_beside_the_weights_and_eight_bits_are_no_fault(sd1, tmp_path):
    weights = cldm(net_for(sd1.unet)) | {"cond_stage_model.position_ids": torch.arange(77)[None]}
    key = "control_model.middle_block.0.in_layers.2.weight"
    load_control(save(weights | {"model_ema.num_updates": torch.tensor(3)}, tmp_path / "whole.ckpt"), sd1)
    load_control(save(weights | {key: weights[key].to(torch.float8_e4m3fn)}, tmp_path / "fp8.safetensors"), sd1)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", WRITERS)
def test_weights_that_are_no_finite_numbers(written, tmp_path, kind, number):
    base, _, weights = written(kind)
    tensors = load_file(weights)
    tensors[KEYS[kind][-1]].flatten()[0] = number
    assert "no finite numbers" in refused(save(tensors, tmp_path / "odd.safetensors"), base)


def test_finite_weights_whose_sum_is_too_large_are_read(sd1_folder, tmp_path):
    base = load_base(sd1_folder, device="cpu", dtype="fp16")
    tensors = cldm(net_for(base.unet.float()))
    base = load_base(sd1_folder, device="cpu", dtype="fp16")
    tensors["control_model.middle_block_out.0.weight"].fill_(1000)
    load_control(save(tensors, tmp_path / "loud.safetensors"), base)
    tensors["control_model.middle_block_out.0.weight"].fill_(70000)
    assert "inf or nan in float16" in refused(save(tensors, tmp_path / "loud.safetensors"), base)
