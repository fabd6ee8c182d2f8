"""LoRA files on a base equal diffusers' pipelines, in each layout, alone, together and beside a control."""

import json
import re

import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from safetensors.torch import load_file, save_file

from hackamore.bases.catalog import load_base
from hackamore.bases.lora import with_loras
from hackamore.controls.branch import new_control
from hackamore.controls.catalog import load_control
from hackamore.controls.formats.diffusers import write_branch
from hackamore.core.errors import HackamoreError
from hackamore.core.image import from_hint
from hackamore.generate import generate
from hackamore.sampling.schedulers import make_scheduler
from tests.conftest import randomise
from tests.equivalence.agreement import agree

PROMPT, STEPS, RANK = "a red circle at noon", 2, 2
HINT = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255
PIPELINES = {
    "sd1": (StableDiffusionPipeline, StableDiffusionControlNetPipeline),
    "sdxl": (StableDiffusionXLPipeline, StableDiffusionXLControlNetPipeline),
}


def layers(base, seed):
    """Random layers for some of the attentions of the U-Net and of the text encoders: name → (down, up)."""
    generator = torch.Generator().manual_seed(seed)
    made, wanted = {}, ("attn1.to_q", "attn2.to_k", "attn2.to_out.0", "q_proj", "out_proj", "fc1")
    for part, network in base.parts().items():
        for name, layer in network.named_modules():
            if part != "vae" and name.endswith(wanted):
                down = torch.randn(RANK, layer.in_features, generator=generator) * 0.3
                made[f"{part}.{name}"] = (down, torch.randn(layer.out_features, RANK, generator=generator) * 0.3)
    return made


def in_peft(made, path):
    """peft's layout, as diffusers saves it."""
    tensors = {}
    for name, (down, up) in made.items():
        tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    save_file(tensors, path)
    return path


def in_diffusers(made, path):
    """diffusers' own layout before peft."""
    tensors = {}
    for name, (down, up) in made.items():
        middle = "lora" if name.startswith("unet.") else "lora_linear_layer"
        tensors |= {f"{name}.{middle}.down.weight": down, f"{name}.{middle}.up.weight": up}
    save_file(tensors, path)
    return path


def in_kohya(made, path):
    """kohya's layout, with an alpha that halves each layer."""
    tensors = {}
    two = any(name.startswith("text_encoder_2.") for name in made)
    prefixes = {"unet": "lora_unet", "text_encoder": "lora_te1" if two else "lora_te", "text_encoder_2": "lora_te2"}
    for name, (down, up) in made.items():
        part, _, inner = name.partition(".")
        text = "text_model." if part != "unet" and not inner.startswith("text_model.") else ""
        key = f"{prefixes[part]}_{(text + inner).replace('.', '_')}"
        tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        tensors[f"{key}.alpha"] = torch.tensor(RANK / 2)
    save_file(tensors, path)
    return path


def in_sgm(made, path):
    """kohya's layout for SDXL, whose blocks are numbered as in the original code."""
    blocks = {"mid_block.attentions.0": "middle_block_1"}
    blocks |= {f"down_blocks.{i}.attentions.{k}": f"input_blocks_{3 * i + 1 + k}_1" for i in (1, 2) for k in (0, 1)}
    blocks |= {f"up_blocks.{i}.attentions.{k}": f"output_blocks_{3 * i + k}_1" for i in (0, 1) for k in (0, 1, 2)}
    renamed = {}
    for name, pair in made.items():
        block = next((theirs for theirs in blocks if name.startswith(f"unet.{theirs}.")), None)
        renamed[name if block is None else name.replace(block, blocks[block])] = pair
    return in_kohya(renamed, path)


LAYOUTS = {"peft": in_peft, "diffusers": in_diffusers, "kohya": in_kohya}


@pytest.fixture(scope="module")
def files(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    return {
        (family, layout): write(layers(request.getfixturevalue(family), 3), folder / f"{family}-{layout}.safetensors")
        for family in PIPELINES
        for layout, write in LAYOUTS.items()
    }


@pytest.fixture(scope="module")
def controls(request, tmp_path_factory):
    folders = {}
    for family in PIPELINES:
        folders[family] = tmp_path_factory.mktemp(f"{family}-lora-control")
        write_branch(randomise(new_control(request.getfixturevalue(family), "canny")), folders[family])
    return folders


def theirs(folder, family, base, loras, control=None):
    told, parts = {"num_inference_steps": STEPS, "guidance_scale": 5.0, "height": 64, "width": 64}, {}
    told |= {"generator": [torch.Generator().manual_seed(5)], "output_type": "latent"}
    kind = PIPELINES[family][control is not None]
    if control is not None:
        parts["controlnet"] = ControlNetModel.from_pretrained(control, torch_dtype=torch.float32)
        told |= {"image": Image.fromarray(from_hint(HINT)[0]), "controlnet_conditioning_scale": 0.8}
    scheduler = make_scheduler("ddim", base.scheduler_config)
    pipeline = kind.from_pretrained(folder, scheduler=scheduler, torch_dtype=torch.float32, **parts)
    pipeline.set_progress_bar_config(disable=True)
    for number, (file, _) in enumerate(loras):
        pipeline.load_lora_weights(str(file), adapter_name=f"l{number}")
    pipeline.set_adapters([f"l{number}" for number in range(len(loras))], [scale for _, scale in loras])
    return pipeline(PROMPT, **told).images


def ours(base, control=None):
    units = [] if control is None else [load_control(control, base).unit(HINT, scale=0.8)]
    told = {"seed": 5, "size": (64, 64), "steps": STEPS, "scheduler": "ddim", "guidance": 5.0}
    return generate(base, PROMPT, controls=units, **told).latents


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("family", list(PIPELINES))
def test_one_file_in_each_layout(request, files, family, layout):
    base, folder = (request.getfixturevalue(name) for name in (family, f"{family}_folder"))
    loras = [(files[family, layout], 0.7)]
    mine, reference, free = ours(with_loras(base, loras)), theirs(folder, family, base, loras), ours(base)
    agree(
        mine,
        reference,
        free,
        family=family,
        kind=f"LoRA, {layout}",
        beside=f"diffusers: {PIPELINES[family][0].__name__}",
    )


def test_the_original_numbering_of_sdxl(sdxl, files, tmp_path):
    file = in_sgm(layers(sdxl, 3), tmp_path / "sgm.safetensors")
    named, numbered = (ours(with_loras(sdxl, [(one, 0.7)])) for one in (files["sdxl", "kohya"], file))
    assert torch.equal(named, numbered)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
@pytest.mark.parametrize("family", list(PIPELINES))
def test_two_files_beside_a_control(request, files, controls, family, tmp_path):
    base, folder = (request.getfixturevalue(name) for name in (family, f"{family}_folder"))
    other = in_kohya(layers(base, 9), tmp_path / "other.safetensors")
    loras = [(files[family, "peft"], 0.7), (other, -0.4)]
    before = {name: value.clone() for name, value in base.unet.state_dict().items()}
    steered = ours(with_loras(base, loras), controls[family])
    reference = theirs(folder, family, base, loras, controls[family])
    agree(steered, reference, ours(base, controls[family]), family=family, kind="two LoRAs, ControlNet",
          beside=f"diffusers: {PIPELINES[family][1].__name__}")  # fmt: skip
    assert before.keys() == base.unet.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in base.unet.state_dict().items())


def test_a_control_made_for_a_base_with_lora_copies_the_bare_base(sd1, files):
    base = with_loras(sd1, [(files["sd1", "peft"], 1.0)])
    fresh, plain = new_control(base), new_control(sd1)
    assert fresh.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.trunk.state_dict()[name]) for name, value in fresh.trunk.state_dict().items())


def test_moving_a_base_with_lora_moves_no_other(sd1, files):
    base = with_loras(sd1, [(files["sd1", "peft"], 1.0)])
    for part in base.parts().values():
        part.double()  # in place, as a move to another device
    assert {parameter.dtype for part in sd1.parts().values() for parameter in part.parameters()} == {torch.float32}
    assert base.dtype == torch.float64
    assert base.vae is not sd1.vae


def test_loading_with_loras_says_so(sd1_folder, files):
    file = files["sd1", "kohya"]
    base = load_base(sd1_folder, device="cpu", loras=[(file, 0.5)])
    assert base.options == {"loras": [[file.name, 0.5]]}
    assert len(base.sha256[f"lora/{file.name}"]) == 64
    json.dumps(base.options)


def wrong(tmp_path, kind, file):
    path = tmp_path / "wrong.safetensors"
    if kind == "truncated":
        path.write_bytes(file.read_bytes()[:-100])
    elif kind == "page":
        path.write_text("<html>")
    elif kind == "none":
        save_file({"model.weight": torch.zeros(2, 2)}, path)
    else:
        tensors = load_file(file)
        first = next(iter(tensors))
        if kind == "flux":
            tensors = {key.replace("unet.", "transformer."): value for key, value in tensors.items()}
        elif kind == "dora":
            tensors["x.dora_scale"] = torch.zeros(1)
        elif kind == "loha":
            tensors["lora_unet_x.hada_w1_a"] = torch.zeros(1)
        elif kind == "control":
            tensors["lora_controlnet"] = torch.zeros(1)
        elif kind == "layer":
            pair = {key: value for key, value in tensors.items() if key.startswith(first.partition(".lora_")[0])}
            tensors |= {key.replace("down_blocks.", "down_blocks.9"): value.clone() for key, value in pair.items()}
        elif kind == "rank":
            tensors[first] = tensors[first][:1].clone()
        elif kind == "scalar":
            tensors[first] = torch.zeros(())
        elif kind == "whole":
            tensors[first] = tensors[first].to(torch.int8)
        save_file(tensors, path)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", "damaged"),
        ("page", "web page|damaged"),
        ("none", "no LoRA"),
        ("dora", "DoRA"),
        ("loha", "LoHa"),
        ("control", "Control-LoRA"),
        ("layer", "does not fit the base"),
        ("rank", "does not fit together"),
        ("scalar", "does not fit together"),
        ("whole", "lora_A.weight of type int8"),
        ("flux", "does not fit"),
    ],
)
def test_wrong_files_are_refused_in_one_sentence(sd1, files, tmp_path, kind, words):
    made = {name: pair for name, pair in layers(sd1, 3).items() if name.startswith("unet.down_blocks.")}
    file = in_peft(made, tmp_path / "unet.safetensors")
    with pytest.raises(HackamoreError, match=words):
        with_loras(sd1, [(wrong(tmp_path, kind, file), 1.0)])


@pytest.mark.parametrize("half", ["down|lora_A", "up|lora_B"])
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_half_a_pair_is_named(sd1, files, tmp_path, layout, half):
    tensors = load_file(files["sd1", layout])
    lost = next(key for key in tensors if re.search(rf"({half})\.weight$", key))
    del tensors[lost]
    save_file(tensors, tmp_path / "half.safetensors")
    with pytest.raises(HackamoreError, match=r"without the (first|second) .* half of its pair"):
        with_loras(sd1, [(tmp_path / "half.safetensors", 1.0)])


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("family", list(PIPELINES))
def test_what_the_text_encoder_has_not_is_named(request, tmp_path, family, layout):
    base = request.getfixturevalue(family)
    made = {name: pair for name, pair in layers(base, 3).items() if name.startswith("text_encoder.")}
    name, (down, up) = next(iter(made.items()))
    wrong = {
        "no layer .*9.* in text_encoder": made | {name.replace("layers.0", "layers.9"): (down.clone(), up.clone())},
        "in text_encoder: .* for ": made | {name: (down[:, 1:].clone(), up)},
    }
    for words, pairs in wrong.items():
        with pytest.raises(HackamoreError, match=rf"(?s)does not fit the base.*{words}"):
            with_loras(base, [(LAYOUTS[layout](pairs, tmp_path / "text.safetensors"), 1.0)])


@pytest.mark.parametrize("kept", ["q_proj", "q_proj|fc1"])
def test_layers_that_diffusers_would_leave_out_are_named(sd1, tmp_path, kept):
    made = {name: pair for name, pair in layers(sd1, 3).items() if re.search(rf"text_encoder.*({kept})$", name)}
    with pytest.raises(HackamoreError, match=r"to_q_lora\.down\.weight in text_encoder, a name that"):
        with_loras(sd1, [(in_kohya(made, tmp_path / "text.safetensors"), 1.0)])


@pytest.mark.parametrize("family", list(PIPELINES))
def test_more_files_on_top(request, files, tmp_path, family):
    base = request.getfixturevalue(family)
    first, second = files[family, "peft"], in_kohya(layers(base, 9), tmp_path / "other.safetensors")
    one, both = with_loras(base, [(first, 0.7)]), with_loras(base, [(first, 0.7), (second, -0.4)])
    alone = ours(one)
    assert torch.equal(ours(with_loras(one, [(second, -0.4)])), ours(both))
    assert torch.equal(ours(one), alone)
    assert not torch.equal(ours(both), alone)


def test_two_files_of_one_name(sd1_folder, sd1, files, tmp_path):
    first = files["sd1", "peft"]
    (tmp_path / "same").mkdir()
    other, same = in_peft(layers(sd1, 9), tmp_path / first.name), tmp_path / "same" / first.name
    same.write_bytes(first.read_bytes())
    with pytest.raises(HackamoreError, match=f"two different files .* named {first.name}"):
        load_base(sd1_folder, device="cpu", loras=[(first, 0.5), (other, 0.5)])
    assert with_loras(sd1, [(first, 0.5), (same, 0.5)]).loras == {"lora0": 0.5, "lora1": 0.5}


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize(("family", "other"), [("sd1", "sdxl"), ("sdxl", "sd1"), ("sd2", "sd1")])
def test_another_familys_file_is_named(request, files, family, other, layout):
    base = request.getfixturevalue(family)
    with pytest.raises(HackamoreError, match="does not fit the base") as told:
        with_loras(base, [(files[other, layout], 1.0)])
    assert f"family {other}" in str(told.value)


def test_a_missing_file_and_a_wild_scale(sd1_folder, sd1, files):
    with pytest.raises(HackamoreError, match="no such file"):
        load_base(sd1_folder, device="cpu", loras=[("nowhere.safetensors", 1.0)])
    with pytest.raises(HackamoreError, match="scale"):
        with_loras(sd1, [(files["sd1", "peft"], float("nan"))])
