"""Files of controls that are not whole, of another kind, or of no kind: told in a sentence, and nothing is run."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from hackamore.controls.catalog import load_control
from hackamore.controls.formats.file import open_control
from hackamore.controls.formats.guess import condition_by_name
from hackamore.controls.formats.table import format_of, read_control
from hackamore.core.errors import HackamoreError
from tests.format_models import cldm, net_for, save


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
