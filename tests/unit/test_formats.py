"""Formats of controls: each is told by its keys, and by no other's."""

import sys

import diffusers
import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.controlnets import ControlNetXSAdapter, UNetControlNetXSModel

from hackamore.cli.weights import control
from hackamore.controls.catalog import load_control
from hackamore.controls.formats import table
from hackamore.controls.formats.table import FORMATS, Format
from hackamore.core.errors import HackamoreError
from tests.format_models import cldm, file_of, save, shapes_of

SMALL_NETS = {
    "ControlNetModel": lambda: ControlNetModel(**NARROW),
    "UNet2DConditionModel": lambda: UNet2DConditionModel(**NARROW),
    "ControlNetUnionModel": lambda: diffusers.ControlNetUnionModel(
        **NARROW, num_trans_channel=32, num_proj_channel=32, encoder_hid_dim_type=None,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=80,
    ),
    "SparseControlNetModel": lambda: diffusers.SparseControlNetModel(block_out_channels=WIDTHS, norm_num_groups=8),
    "SparseControlNetModel rgb": lambda: diffusers.SparseControlNetModel(
        block_out_channels=WIDTHS, norm_num_groups=8, use_simplified_condition_embedding=False
    ),
    "MotionAdapter": lambda: diffusers.MotionAdapter(block_out_channels=WIDTHS, motion_norm_num_groups=8),
    "ControlNetXSAdapter": lambda: ControlNetXSAdapter(
        block_out_channels=(4, 8, 16, 16), base_block_out_channels=WIDTHS, cross_attention_dim=768,
        num_attention_heads=1, max_norm_num_groups=4,
    ),
    "UNetControlNetXSModel": lambda: UNetControlNetXSModel(
        block_out_channels=WIDTHS, norm_num_groups=8, cross_attention_dim=768, ctrl_max_norm_num_groups=4
    ),
    "T2IAdapter": lambda: diffusers.T2IAdapter(channels=list(WIDTHS)),
    "T2IAdapter light": lambda: diffusers.T2IAdapter(channels=list(WIDTHS), adapter_type="light_adapter"),
    "T2IAdapter xl": lambda: diffusers.T2IAdapter(
        channels=list(WIDTHS), adapter_type="full_adapter_xl", downscale_factor=16
    ),
    "SD3ControlNetModel": lambda: diffusers.SD3ControlNetModel(
        **JOINT, caption_projection_dim=16, joint_attention_dim=32, pooled_projection_dim=32
    ),
    "SD3ControlNetModel 8b": lambda: diffusers.SD3ControlNetModel(
        **JOINT, caption_projection_dim=16, joint_attention_dim=None, pooled_projection_dim=32, use_pos_embed=False,
        pos_embed_type=None,
    ),
    "FluxControlNetModel": lambda: diffusers.FluxControlNetModel(**FLUX, num_single_layers=1),
    "FluxControlNetModel union": lambda: diffusers.FluxControlNetModel(**FLUX, num_single_layers=0, num_mode=7),
    "FluxControlNetModel xlabs": lambda: diffusers.FluxControlNetModel(
        **FLUX, num_single_layers=0, conditioning_embedding_channels=16
    ),
    "QwenImageControlNetModel": lambda: diffusers.QwenImageControlNetModel(
        **JOINT, joint_attention_dim=32, axes_dims_rope=(2, 2, 4)
    ),
    "ZImageControlNetModel": lambda: diffusers.ZImageControlNetModel(
        control_layers_places=[0, 1], control_refiner_layers_places=[0, 1], control_in_dim=16, dim=64, n_heads=2,
        n_kv_heads=2, n_refiner_layers=1,
    ),
    "SanaControlNetModel": lambda: diffusers.SanaControlNetModel(
        **JOINT, num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, caption_channels=16
    ),
    "HunyuanDiT2DControlNetModel": lambda: diffusers.HunyuanDiT2DControlNetModel(
        transformer_num_layers=6, hidden_size=32, num_attention_heads=2, attention_head_dim=16, in_channels=4,
        patch_size=2, sample_size=8,
    ),
    "CosmosControlNetModel": lambda: diffusers.CosmosControlNetModel(
        n_controlnet_blocks=1, num_attention_heads=2, attention_head_dim=16, model_channels=32, text_embed_dim=16,
        encoder_hidden_states_channels=16,
    ),
    "SD3Transformer2DModel": lambda: diffusers.SD3Transformer2DModel(
        **JOINT, caption_projection_dim=16, joint_attention_dim=32, pooled_projection_dim=32
    ),
    "FluxTransformer2DModel": lambda: diffusers.FluxTransformer2DModel(**FLUX, num_single_layers=1),
    "AutoencoderKL": lambda: diffusers.AutoencoderKL(block_out_channels=(32,)),
}  # fmt: skip
WIDTHS = (32, 64, 64, 64)
NARROW = {"block_out_channels": WIDTHS, "cross_attention_dim": 768, "norm_num_groups": 8, "attention_head_dim": 4}
JOINT = {"num_layers": 1, "num_attention_heads": 2, "attention_head_dim": 8}
FLUX = JOINT | {"joint_attention_dim": 32, "pooled_projection_dim": 32, "axes_dims_rope": [2, 2, 4]}

NAMES = {
    "ControlNetModel": "a ControlNet in diffusers' layout",
    "UNet2DConditionModel": "a U-Net or transformer alone",
    "ControlNetUnionModel": "a union ControlNet",
    "SparseControlNetModel": "a SparseCtrl control for films",
    "SparseControlNetModel rgb": "a SparseCtrl control for films",
    "MotionAdapter": "a motion module of AnimateDiff",
    "ControlNetXSAdapter": "a ControlNet-XS in diffusers' layout",
    "UNetControlNetXSModel": "a ControlNet-XS with its base inside",
    "T2IAdapter": "a T2I-Adapter",
    "T2IAdapter light": "a T2I-Adapter",
    "T2IAdapter xl": "a T2I-Adapter",
    "SD3ControlNetModel": "a ControlNet for Stable Diffusion 3",
    "SD3ControlNetModel 8b": "a ControlNet for Stable Diffusion 3",
    "FluxControlNetModel": "a ControlNet for FLUX.1",
    "FluxControlNetModel union": "a ControlNet for FLUX.1",
    "FluxControlNetModel xlabs": "a ControlNet for FLUX.1",
    "QwenImageControlNetModel": "a ControlNet for Qwen-Image",
    "ZImageControlNetModel": "a ControlNet for Z-Image",
    "SanaControlNetModel": "a ControlNet for Sana",
    "HunyuanDiT2DControlNetModel": "a ControlNet for HunyuanDiT",
    "CosmosControlNetModel": "a ControlNet for Cosmos",
    "SD3Transformer2DModel": "a U-Net or transformer alone",
    "FluxTransformer2DModel": "a U-Net or transformer alone",
    "AutoencoderKL": "an autoencoder",
}
LISTED = {
    "a Control-LoRA": "lora_controlnet input_blocks.0.0.bias input_blocks.1.0.in_layers.2.up zero_convs.0.0.weight "
    "input_blocks.1.0.in_layers.2.down input_hint_block.0.weight",
    "a ControlLLLite": "lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.down.0.weight "
    "lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.conditioning1.0.weight",
    "an IP-Adapter": "image_proj.proj.weight image_proj.norm.weight ip_adapter.1.to_k_ip.weight",
    "a ControlNet for FLUX.1 by XLabs": "double_blocks.0.img_attn.norm.key_norm.scale input_hint_block.0.weight "
    "controlnet_blocks.0.weight pos_embed_input.weight",
    "a CtrLoRA": "control_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.lora_layer.down.weight "
    "control_model.zero_convs.0.0.weight",
    "a BrushNet": "conv_in_condition.weight brushnet_down_blocks.0.weight brushnet_mid_block.weight",
    "a PuLID": "pulid_ca.0.norm1.weight pulid_encoder.latents",
    "a Control-LoRA for FLUX.1": "img_in.lora_A.weight img_in.lora_B.weight double_blocks.0.img_attn.qkv.lora_A.weight",
    "a ControlNet-XS in its authors' layout": "enc_zero_convs_out.0.0.weight enc_zero_convs_in.0.0.weight "
    "control_model.input_blocks.0.0.weight input_hint_block.0.weight middle_block_out.0.weight",
    "a style adapter of T2I-Adapter": "style_embedding proj ln_post.weight transformer_layes.0.ln_1.weight",
    "the fuser of CoAdapter": "spatial_feat_mapping.0.0.weight task_embedding seq_proj.weight",
    "a LoRA": "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight lora_unet_x.lora_up.weight",
    "a base model": "model.diffusion_model.input_blocks.0.0.weight first_stage_model.decoder.conv_in.weight "
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
    "a text encoder": "text_model.embeddings.token_embedding.weight text_model.final_layer_norm.weight",
    "an image encoder": "vision_model.embeddings.class_embedding visual_projection.weight",
    "a textual inversion": "emb_params",
    "an upscaler": "conv_first.weight body.0.rdb1.conv1.weight conv_last.weight",
}


def cases(tmp_path):
    """Key sets of every format, by what each is."""
    with torch.device("meta"):
        for name, make in SMALL_NETS.items():
            network = make()
            yield NAMES[name], shapes_of(network)
            if name == "ControlNetModel":
                yield (
                    "a ControlNet in the original layout (cldm)",
                    {k: tuple(v.shape) for k, v in cldm(network).items()},
                )
                changed = {k: tuple(v.shape) for k, v in cldm(network).items()} | {"difference": (0,)}
                yield "a ControlNet stored as its difference to the base", changed
    for name, keys in LISTED.items():
        yield name, dict.fromkeys(keys.split(), (8, 8))
    yield (
        "the face adapter of InstantID",
        {
            "ip_adapter.1.to_k_ip.weight": (8, 8),
            "image_proj.latents": (1, 16, 1280),
            "image_proj.proj_in.weight": (1280, 512),
        },
    )


def test_one_entry_and_no_other_tells_each_format(tmp_path):
    seen = set()
    for name, shapes in cases(tmp_path):
        file = file_of(shapes, tmp_path)
        assert [entry.name for entry in FORMATS if entry.tells(file)] == [name]
        seen.add(name)
    assert seen == {entry.name for entry in FORMATS}, "every entry is tried"


def test_formats_without_a_reader_are_named(sd1, tmp_path):
    for name, keys in LISTED.items():
        entry = next(entry for entry in FORMATS if entry.name == name)
        if entry.reader is None:
            path = save({key: torch.zeros(8, 8) for key in keys.split()}, tmp_path / "file.safetensors")
            with pytest.raises(HackamoreError, match=f"{entry.name}, which is not"):
                load_control(path, sd1)


def test_an_unknown_file_shows_its_first_keys(sd1, tmp_path):
    path = save({"b.weight": torch.zeros(2), "a.weight": torch.zeros(2)}, tmp_path / "odd.safetensors")
    with pytest.raises(HackamoreError, match=r"no format that is known\nreceived: 2 tensors: a.weight, b.weight"):
        load_control(path, sd1)


PRETEND = """
from types import SimpleNamespace

def read_pretend(file, base, loud=False):
    return SimpleNamespace(loud=loud)
"""


def test_options_reach_the_reader_and_unknown_ones_are_refused(sd1, tmp_path, monkeypatch):
    (tmp_path / "pretend.py").write_text(PRETEND)
    monkeypatch.syspath_prepend(tmp_path)
    line = Format("a pretence", "pretence", lambda file: "pretence" in file.shapes, "pretend:read_pretend")
    monkeypatch.setattr(table, "FORMATS", (*FORMATS, line))
    path = save({"pretence": torch.zeros(1)}, tmp_path / "new.safetensors")
    assert load_control(path, sd1, loud=True).loud
    assert load_control(path, sd1).name == "new.safetensors"
    with pytest.raises(HackamoreError, match="not loaded with the option 'quiet'"):
        load_control(path, sd1, quiet=True)
    sys.modules.pop("pretend")


TOLD = {
    "ControlNetModel": "sd1",
    "ControlNetUnionModel": "sd1",
    "ControlNetXSAdapter": "sd1",
    "T2IAdapter": "sd1 or sd2",
    "T2IAdapter light": "sd1 or sd2",
    "T2IAdapter xl": "sdxl",
    "SD3ControlNetModel": "sd3",
    "FluxControlNetModel": "flux",
}


@pytest.mark.parametrize("name", TOLD)
def test_info_tells_the_family_of_every_kind(name, tmp_path):
    network = SMALL_NETS[name]()
    told = control(save(network.state_dict(), tmp_path / "file.safetensors"))
    assert (told["kind"], told["family"]) == (NAMES[name], TOLD[name])
    assert told["parameters"] == f"{sum(value.numel() for value in network.state_dict().values()):,}"
    assert str(told["use"]).endswith(f"--control KIND=IMAGE,model={tmp_path / 'file.safetensors'}")
