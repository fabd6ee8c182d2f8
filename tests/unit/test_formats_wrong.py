"""Files of controls that are strange in one thing: found, read as they are meant, or refused in one sentence."""

import pytest
import torch

from hackamore.controls.catalog import load_control
from tests.format_models import net_for


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
