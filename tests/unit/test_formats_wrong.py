"""Files of controls that are strange in one thing: found, read as they are meant, or refused in one sentence."""

import pytest
import torch

from hackamore.bases.catalog import load_base
from hackamore.controls.catalog import load_control
from hackamore.controls.formats import unet
from hackamore.controls.formats.file import open_control
from hackamore.controls.formats.table import format_of
from tests.format_models import cldm, control_lora, difference, net_for, save


@pytest.mark.parametrize("variant", ["fp16", "bf16"])
def test_shards_of_a_variant_are_found(sd1, tmp_path, variant):
    net = net_for(sd1.unet)
    net.save_pretrained(tmp_path, variant=variant, max_shard_size="200KB")
    index = tmp_path / f"diffusion_pytorch_model.safetensors.index.{variant}.json"
    assert index.is_file()
    assert len(load_control(tmp_path, sd1).sha256) > 1
    index.rename(tmp_path / f"diffusion_pytorch_model.safetensors.{variant}.index.json")  # as diffusers once had it
    branch = load_control(tmp_path, sd1)
    assert torch.equal(branch.zero_mid.weight, net.controlnet_mid_block.weight)


@pytest.mark.parametrize("kind", ["difference", "control_lora"])
def test_sums_are_made_in_fp32_and_kept_in_the_type_of_the_base(sd1_folder, tmp_path, monkeypatch, kind):
    torch.manual_seed(0)
    base = load_base(sd1_folder, device="cpu", dtype="bf16")
    net, whole = net_for(base.unet.float(), conditioning_channels=3), base.unet.state_dict()
    tensors = difference(cldm(net), base.unet) if kind == "difference" else control_lora(net, base.unet)[0]
    base = load_base(sd1_folder, device="cpu", dtype="bf16")
    kept, fill = [], unet.fill

    def seen(module, values, *told):
        kept.extend(value.dtype for name, value in values.items() if name.removeprefix("trunk.") in whole)
        fill(module, values, *told)

    monkeypatch.setattr(unet, "fill", seen)
    branch = load_control(save(tensors, tmp_path / "control.safetensors"), base)
    assert kept.count(torch.bfloat16) > len(kept) * 0.4, "the rest is as the file has it"
    name = "down_blocks.0.resnets.0.conv1.weight"
    meant = net if kind == "difference" else control_lora(net, base.unet.float())[1]
    assert torch.equal(branch.trunk.state_dict()[name], meant.state_dict()[name].bfloat16())


@pytest.mark.parametrize("prefix", ["module.", "model.", "controlnet.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("layout", ["cldm", "diffusers"])
def test_what_a_trainer_put_before_all_keys_is_left_out(sd1, tmp_path, prefix, layout):
    net = net_for(sd1.unet)
    weights = cldm(net) if layout == "cldm" else net.state_dict()
    wrapped = {prefix + key: value for key, value in weights.items()}
    branch = load_control(save(wrapped, tmp_path / "control.safetensors"), sd1)
    assert torch.equal(branch.zero_mid.weight, net.controlnet_mid_block.weight)
    file = open_control(tmp_path / "control.safetensors")
    assert file.tensors().keys() == file.dtypes.keys() == weights.keys()


def test_what_is_no_control_keeps_what_stands_before_its_keys(tmp_path):
    keys = {"a base model": "model.diffusion_model.input_blocks.0.0.weight", "an upscaler": "model.0.weight"}
    more = {"a base model": "model.diffusion_model.out.2.weight", "an upscaler": "model.1.sub.0.weight"}
    for name, key in keys.items():
        file = open_control(save(dict.fromkeys([key, more[name]], torch.zeros(2)), tmp_path / "file.pth"))
        assert format_of(file).name == name
        assert key in file.shapes
    odd = open_control(save({"module.model.up_blocks.0.x": torch.zeros(2)}, tmp_path / "odd.pth"))
    assert list(odd.shapes) == ["module.model.up_blocks.0.x"]
