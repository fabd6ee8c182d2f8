"""``convert``, ``transfer`` and ``info`` as a user meets them."""

import hashlib
import json
import shlex
import shutil

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors import safe_open

from hackamore.bases.catalog import MEADOW, load_base
from hackamore.bases.unet import FAMILIES
from hackamore.cli.options import parse_control
from hackamore.controls.catalog import embedded, load_control
from hackamore.controls.formats.file import open_control
from hackamore.controls.formats.transfer import transfer
from hackamore.controls.formats.unet import names_of
from hackamore.controls.formats.union import write_union
from hackamore.controls.union import new_union
from hackamore.core.errors import HackamoreError
from tests.format_models import cldm, control_lora, difference, net_for, save

BYTES = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module", params=["sd1", "sd2", "sdxl"])
def folder(request, tmp_path_factory):
    """A ControlNet in diffusers' layout."""
    base = request.getfixturevalue(request.param)
    net_for(base.unet).save_pretrained(made := tmp_path_factory.mktemp(request.param) / "control-canny")
    return made


def tensors(path):
    file = open_control(path)
    return {name: file.tensors(key)[key] for name, key in names_of(file).items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a)


def test_there_and_back_is_exact_and_writing_twice_gives_the_same_bytes(here, run, folder):
    for name in ("one", "two"):
        code, out, err = run("convert", folder, f"{name}.safetensors", "--to", "cldm")
        assert (code, out.strip(), err) == (0, f"{name}.safetensors", "")
        assert run("convert", f"{name}.safetensors", name, "--to", "diffusers")[0] == 0
        assert run("convert", name, f"{name}-again.safetensors", "--to", "cldm")[0] == 0
    original = tensors(folder)
    for name in ("one.safetensors", "one", "one-again.safetensors"):
        assert equal(original, tensors(here / name))
    assert all(key.startswith("control_model.") for key in open_control(here / "one.safetensors").shapes)
    written = {(here / f"{name}{file}.safetensors").read_bytes() for name in ("one", "two") for file in ("", "-again")}
    assert len(written) == 1
    assert (here / "one" / BYTES).read_bytes() == (here / "two" / BYTES).read_bytes()
    net = ControlNetModel.from_pretrained(here / "one", torch_dtype=torch.float32)
    assert equal(original, net.state_dict())
    told, said = (json.loads((path / "config.json").read_text()) for path in (folder, here / "one"))
    assert {name: value for name, value in told.items() if name[0] != "_"} == {
        k: v for k, v in said.items() if k[0] != "_"
    }


def test_what_is_written_says_what_it_is(here, run, sd1):
    net_for(sd1.unet).save_pretrained(here / "folder")
    assert run("convert", "folder", "half.safetensors", "--to", "diffusers", "--dtype", "fp16")[0] == 0
    with safe_open(here / "half.safetensors", "pt") as file:
        told = file.metadata()
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    assert told["modelspec.architecture"] == "stable-diffusion-v1/controlnet"
    assert told["modelspec.implementation"] == "diffusers"
    assert told["modelspec.title"] == "folder"
    data = (here / "half.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    assert told["modelspec.hash_sha256"] == "0x" + hashlib.sha256(data[start:]).hexdigest()


def test_a_trained_control_keeps_its_condition(here, run, meadow):
    assert run("convert", MEADOW / "controls" / "canny", "edges.safetensors", "--to", "cldm")[0] == 0
    code, out, _ = run("info", "edges.safetensors")
    assert (code, "condition: canny" in out, "family: meadow" in out) == (0, True, True)
    one, two = load_control("edges.safetensors", meadow), load_control("meadow/canny", meadow)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_transfer_adds_what_sets_two_bases_apart(here, run, sd1, sd1_folder):
    shutil.copytree(sd1_folder, here / "other")
    unet = UNet2DConditionModel.from_pretrained(here / "other" / "unet")
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7)) * 0.1)
    unet.save_pretrained(here / "other" / "unet")
    other = load_base(here / "other", device="cpu")
    net = net_for(sd1.unet)
    net.conv_in.bias.neg_().mul_(0)  # zeros of both signs
    net.save_pretrained(here / "control")
    assert run("transfer", "control", "same", "--from", sd1_folder, "--to", sd1_folder)[0] == 0
    same, mine = tensors(here / "same"), tensors(here / "control")
    assert all(torch.equal(mine[name].view(torch.uint8), same[name].view(torch.uint8)) for name in mine)
    assert run("transfer", "control", "moved", "--from", sd1_folder, "--to", "other")[0] == 0
    assert run("transfer", "moved", "back", "--from", "other", "--to", sd1_folder)[0] == 0
    before, moved, back = (tensors(here / name) for name in ("control", "moved", "back"))
    mine, theirs = sd1.unet.state_dict(), other.unet.state_dict()
    for name, value in before.items():
        if name in mine:
            torch.testing.assert_close(moved[name], value + theirs[name] - mine[name], rtol=0, atol=1e-6)
        else:
            assert torch.equal(moved[name], value)
        assert (back[name] - value).abs().max() <= 1e-6
    assert not equal(before, moved)


@pytest.mark.parametrize("form", ["cldm", "difference", "Control-LoRA", "diffusers"])
def test_info_tells_every_form_of_a_controlnet(here, run, sd2, form):
    net = net_for(sd2.unet)
    made = {
        "cldm": lambda: cldm(net), "difference": lambda: difference(cldm(net), sd2.unet),
        "Control-LoRA": lambda: control_lora(net, sd2.unet)[0], "diffusers": net.state_dict,
    }[form]()  # fmt: skip
    save(made, here / "control_canny.safetensors")
    code, out, err = run("info", "control_canny.safetensors")
    assert (code, err) == (0, "")
    for words in (
        "family: sd2",
        "condition: canny (by its name)",
        "widths: 16, 32, 32, 32",
        "dtype: float32",
        "sha256: ",
    ):
        assert words in out, out
    assert out.strip().endswith("--control canny=IMAGE,model=control_canny.safetensors")


def test_info_tells_bases_and_what_is_no_control(here, run, sd1_folder):
    code, out, _ = run("info", sd1_folder)
    assert (code, "family: sd1" in out, "prediction: epsilon" in out) == (0, True, True)
    assert f"--base {sd1_folder}" in out
    save({"lora_unet_x.lora_down.weight": torch.zeros(2, 2)}, here / "style.safetensors")
    code, out, _ = run("info", "style.safetensors")
    assert (code, "kind: a LoRA" in out, "--lora style.safetensors" in out) == (0, True, True)
    save({"brushnet_down_blocks.0.weight": torch.zeros(2, 2)}, here / "brush.safetensors")
    code, out, _ = run("info", "brush.safetensors")
    assert (code, "use: none: a BrushNet, which is not supported" in out) == (0, True)


def used(run, path):
    """What ``info`` says of a file: all of it, and the last line as words of a shell."""
    code, out, err = run("info", path)
    assert (code, err) == (0, "")
    return out, shlex.split(out.strip().splitlines()[-1].removeprefix("use: "))


LORAS = {
    "sd1": {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 768)},
    "sd2": {"unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight": (4, 1024)},
    "sdxl": {"lora_te2_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": (4, 1280)},
    "sd3": {"transformer.transformer_blocks.0.attn.to_q.lora_A.weight": (4, 1536)},
    "flux": {"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (4, 3072)},
}


@pytest.mark.parametrize("family", LORAS)
def test_info_tells_the_family_of_a_lora_and_a_command_that_works(here, run, family):
    tensors = {key: torch.zeros(shape) for key, shape in LORAS[family].items()}
    out, words = used(run, save(tensors, here / "my style.safetensors"))
    assert f"family: {family}\n" in out
    assert words == ["hackamore", "generate", "PROMPT", "--base", "BASE", "--lora", f"{here}/my style.safetensors"]


@pytest.mark.parametrize(("width", "base"), [(768, "BASE"), (128, "meadow")])
def test_info_tells_the_family_of_an_embedding_and_its_base(here, run, width, base):
    out, words = used(run, save({"<toy>": torch.zeros(1, width)}, here / "toy.safetensors"))
    assert f"family: {FAMILIES[width]}\n" in out
    assert words[3:6] == ["--base", base, "--embedding"]


def test_info_gives_commands_for_every_name(here, run, sd1, sd1_folder):
    shutil.copytree(MEADOW / "controls" / "canny", here / "a, b")
    words = used(run, "a, b")[1]
    assert words[3:6] == ["--base", "meadow", "--control"]
    assert parse_control(words[6]).unit["model"] == "a, b"
    shutil.copytree(sd1_folder, here / "my base")
    assert used(run, "my base")[1][3:] == ["--base", "my base"]
    assert "use: none: a U-Net or transformer alone" in run("info", "my base/unet")[1]
    shutil.rmtree(here / "my base" / "vae")
    assert "use: none: my base lacks vae" in run("info", "my base")[1]
    write_union(new_union(sd1), here / "union")
    assert "types: pose, depth, softedge, canny, normal, seg, tile, inpaint\n" in used(run, "union")[0]


def test_info_of_a_union_tells_its_types_and_no_condition_that_its_name_suggests(here, run, sd1):
    write_union(new_union(sd1, ("seg", "depth")), here / "canny")
    out, words = used(run, "canny")
    assert "types: seg, depth\n" in out
    assert "condition" not in out
    assert words[-1] == "KIND=IMAGE,model=canny"


def test_info_tells_the_types_of_flux_s_union(here, run):
    keys = {"controlnet_blocks.0.weight": (8, 8), "controlnet_x_embedder.weight": (8, 8), "x_embedder.weight": (8, 8)}
    keys |= {"controlnet_mode_embedder.weight": (7, 8)}
    save({key: torch.zeros(shape) for key, shape in keys.items()}, here / "flux.safetensors")
    assert "types: canny, tile, depth, blur, pose, gray, lq\n" in used(run, "flux.safetensors")[0]


def test_wrong_input_is_one_sentence_and_nothing_is_written(here, run, sd1, sd2, sd1_folder, sd2_folder):
    net = net_for(sd1.unet)
    net.save_pretrained(here / "control")
    save(difference(cldm(net), sd1.unet), here / "difference.safetensors")
    save(control_lora(net, sd1.unet)[0], here / "lora.safetensors")
    save({key: value for key, value in cldm(net).items() if "zero_convs.3" not in key}, here / "lacks.safetensors")
    save(cldm(net), here / "bare.safetensors")
    cases = {
        ("convert", "none", "x", "--to", "cldm"): "no such file",
        ("convert", "control", "x", "--to", "cldm"): "a name ending in .safetensors",
        ("convert", "control", "x", "--to", "ldm"): "unknown layout",
        ("convert", "control", "x", "--to", "diffusers", "--dtype", "fp8"): "unknown dtype",
        ("convert", "control", "bare.safetensors", "--to", "cldm"): "exists already",
        ("convert", "lora.safetensors", "x", "--to", "diffusers"): "is a Control-LoRA",
        ("convert", "difference.safetensors", "x", "--to", "diffusers"): "its difference to the base",
        ("convert", "lacks.safetensors", "x", "--to", "diffusers"): "do not tell how many attention heads",
        ("convert", "photo.png", "x", "--to", "diffusers"): "is not a file of weights",
        ("convert", sd1_folder, "x", "--to", "diffusers"): "is a base, which is not a control; it goes to --base",
        ("generate", "a lake", "--base", "control"): "is a control, which is not a base; it goes to --control",
        ("generate", "a lake", "--base", sd1_folder / "unet"): "give the folder that holds all parts",
        ("transfer", "control", "x", "--from", sd1_folder, "--to", sd2_folder): "does not fit the base",
        ("transfer", "control", "x", "--from", sd1_folder, "--to", "medow"): "unknown base",
        ("transfer", "lora.safetensors", "x", "--from", sd1_folder, "--to", sd1_folder): "is a Control-LoRA",
        ("transfer", "control", "control", "--from", sd1_folder, "--to", sd1_folder): "exists already",
        ("info", "here/nothing"): "no such file",
    }
    before = sorted(here.rglob("*"))
    for words, expected in cases.items():
        code, out, err = run(*words)
        assert (code, out) == (2, ""), err
        assert expected in err
        assert len(err.strip().splitlines()) <= 4
    assert sorted(here.rglob("*")) == before


def test_a_target_that_exists_is_told_before_the_bases_are_read(tmp_path):
    source = embedded()["meadow/canny"]
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "config.json").write_text("{}")
    with pytest.raises(HackamoreError, match="exists already"):
        transfer(source, tmp_path / "there", "nowhere", "nowhere")
