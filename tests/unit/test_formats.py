"""Files are told by their keys alone: the published shapes, one entry a format, and a sentence for everything else."""

import pickle
import sys
from types import SimpleNamespace

import diffusers
import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from diffusers.models.controlnets import ControlNetXSAdapter, UNetControlNetXSModel
from safetensors.torch import save_file

from hackamore.bases.unet import sites_of
from hackamore.cli.weights import control
from hackamore.controls.catalog import load_control
from hackamore.controls.formats import table
from hackamore.controls.formats.convert import config_of
from hackamore.controls.formats.file import ControlFile, open_control
from hackamore.controls.formats.guess import condition_by_name
from hackamore.controls.formats.names import from_cldm, their_name, to_cldm
from hackamore.controls.formats.table import FORMATS, Format, format_of, read_control
from hackamore.controls.formats.unet import empty_branch
from hackamore.core.errors import HackamoreError
from tests.format_models import PUBLISHED, cldm, net_for, save

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


def shapes_of(network):
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def file_of(shapes, path, **told):
    return ControlFile(path, (path / "x.safetensors",), dict(shapes), **told)


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


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


def test_what_is_no_file_of_weights_is_told_and_never_run(sd1, tmp_path):
    whole = save(cldm(net_for(sd1.unet)), tmp_path / "whole.pth").read_bytes()
    safe = save(cldm(net_for(sd1.unet)), tmp_path / "whole.safetensors").read_bytes()
    torch.save({"state_dict": {"a": torch.zeros(2)}, "callback": Evil()}, tmp_path / "evil.ckpt")
    wrong = {
        "empty.pth": (b"", "is empty"),
        "page.safetensors": (b"\n<!DOCTYPE html><html>sign in</html>", "is a web page"),
        "pointer.bin": (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer to a large file"),
        "cut.pth": (whole[: len(whole) // 2], "is damaged"),
        "cut.safetensors": (safe[: len(safe) // 2], "is damaged"),
        "evil.pt": (pickle.dumps(Evil(), 2), "holds code"),
        "newer.pt": (pickle.dumps(Evil()), "is damaged"),
        "noise.ckpt": (bytes(range(256)) * 9, "is damaged"),
        "words.pth": (pickle.dumps({"a": "b"}), "is damaged"),
        "notes.txt": (b"hello", "is not a file of weights"),
    }
    for name, (content, words) in wrong.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(HackamoreError, match=words) as raised:
            load_control(tmp_path / name, sd1)
        assert len(str(raised.value).splitlines()) <= 4
    with pytest.raises(HackamoreError, match=r"holds code.*not run\nreceived: exec"):
        load_control(tmp_path / "evil.ckpt", sd1)
    for content, received in (
        ([1, 2], "one value of type list"),
        (None, "nothing"),
        ({}, "an empty table"),
        ({"epoch": 3, "state_dict": {}}, "epoch, state_dict, of which none is a tensor"),
        ({"a": 1, "b": "x", "c": [2], "d": 3}, "a, b, c, …, of which none is a tensor"),
        ({"state_dict": {"a": "b"}}, "a, of which none is a tensor"),
    ):
        torch.save(content, tmp_path / "empty.pth")
        with pytest.raises(HackamoreError, match=f"holds no weights\nreceived: {received}\nexpected: named tensors"):
            load_control(tmp_path / "empty.pth", sd1)
    checkpoint = {"step": 3, "run": {}, "weights": {"w": torch.zeros(2)}, "optimiser": {}, "log": {}}
    torch.save(checkpoint, tmp_path / "step-00000003.pt")
    with pytest.raises(HackamoreError, match="is a checkpoint of a training"):
        load_control(tmp_path / "step-00000003.pt", sd1)


def test_folders_that_are_not_whole(sd1, tmp_path):
    net = net_for(sd1.unet)
    net.save_pretrained(tmp_path / "shards", max_shard_size="500KB")
    next((tmp_path / "shards").glob("*-00002-of-*")).unlink()
    with pytest.raises(HackamoreError, match="lacks 1 of its"):
        open_control(tmp_path / "shards")
    (tmp_path / "none").mkdir()
    with pytest.raises(HackamoreError, match="neither a base nor a control"):
        open_control(tmp_path / "none")
    for name in ("a.safetensors", "b.safetensors"):
        save_file({"x": torch.zeros(1)}, tmp_path / "none" / name)
    with pytest.raises(HackamoreError, match="several files of weights"):
        open_control(tmp_path / "none")
    net.save_pretrained(tmp_path / "half", variant="fp16")
    assert load_control(tmp_path / "half", sd1).sites == sd1.sites
    (tmp_path / "half" / "config.json").write_text("{")
    with pytest.raises(HackamoreError, match="is not JSON"):
        load_control(tmp_path / "half", sd1)


@pytest.mark.parametrize("layout", ["cldm", "diffusers"])
def test_wrong_keys_are_named_as_the_file_names_them(sd1, tmp_path, layout):
    weights = cldm(net_for(sd1.unet), "") if layout == "cldm" else net_for(sd1.unet).state_dict()
    key = "middle_block.0.in_layers.2.weight" if layout == "cldm" else "mid_block.resnets.0.conv1.weight"
    changes = {
        f"lacks 1 tensors: {key}": {name: value for name, value in weights.items() if name != key},
        "has unexpected 1 tensors: strange.weight": weights | {"strange.weight": torch.zeros(1)},
        rf"has wrong shapes: 1 tensors: {key} \(3,\) for": weights | {key: torch.zeros(3)},
    }
    for words, tensors in changes.items():
        with pytest.raises(HackamoreError, match=words):
            load_control(save(tensors, tmp_path / "control.safetensors"), sd1)


def test_a_control_of_another_family_is_refused_by_its_text(sd1, sd2, tmp_path):
    net = net_for(sd2.unet)
    assert net.config.block_out_channels == sd1.unet.config.block_out_channels, "the same widths everywhere"
    for name, tensors in (("a.safetensors", cldm(net)), ("b.safetensors", net.state_dict())):
        with pytest.raises(HackamoreError, match=f"{name} does not fit the base .*\nreceived: a control of family sd2"):
            load_control(save(tensors, tmp_path / name), sd1)


def test_a_control_takes_the_type_of_its_base(sd1, tmp_path):
    net = net_for(sd1.unet)
    path = save({key: value.half() for key, value in cldm(net).items()}, tmp_path / "half.safetensors")
    branch = load_control(path, sd1)
    assert {p.dtype for p in branch.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in branch.parameters())


def test_the_reader_reads_what_the_file_says_and_nothing_else(sd1, tmp_path):
    file = open_control(save(cldm(net_for(sd1.unet)), tmp_path / "control.safetensors"))
    assert file.parameters == sum(p.numel() for p in read_control(file, sd1).parameters())
    assert format_of(file).name == "a ControlNet in the original layout (cldm)"
    assert set(file.dtypes.values()) == {"float32"}
    assert list(file.sha256) == ["control.safetensors"]


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


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("control_v11p_sd15_canny.pth", "canny"),
        ("control_v11f1p_sd15_depth_fp16.safetensors", "depth"),
        ("control_v11p_sd15s2_lineart_anime.pth", "lineart"),
        ("diffusers_xl_depth_full.safetensors", "depth"),
        ("t2iadapter_openpose_sd14v1.pth", "pose"),
        ("control-lora-recolor-rank128.safetensors", "recolor"),
        ("controlnet-depth-canny-sdxl.safetensors", None),
        ("my canny shop.safetensors", None),
    ],
)
def test_a_condition_guessed_by_a_well_known_name(name, condition):
    assert condition_by_name(name) == condition
