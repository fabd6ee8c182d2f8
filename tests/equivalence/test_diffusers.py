"""Same weights, seed and scheduler: our latents are those of diffusers' pipelines, to 1e-4 in fp32."""

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from PIL import Image

from hackamore.controls.branch import new_control
from hackamore.controls.catalog import load_control
from hackamore.controls.formats.diffusers import write_branch
from hackamore.core.image import from_hint
from hackamore.generate import generate
from hackamore.sampling.schedulers import make_scheduler
from tests.conftest import randomise
from tests.equivalence.agreement import agree

BESIDE = "diffusers: StableDiffusionControlNetPipeline"
PROMPT, NEGATIVE, SIZE, STEPS = "a red circle at noon", "a lake", (64, 64), 6
HINTS = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255


def theirs(base, folder, controls, scheduler, guidance=5.0, **told):
    scheduler = make_scheduler(scheduler, base.scheduler_config)
    told |= {"num_inference_steps": STEPS, "guidance_scale": guidance, "negative_prompt": NEGATIVE}
    told |= {"generator": [torch.Generator().manual_seed(5)], "output_type": "latent", "height": 64, "width": 64}
    if not controls:
        pipeline = StableDiffusionPipeline.from_pretrained(folder, scheduler=scheduler, torch_dtype=torch.float32)
    else:
        nets = [ControlNetModel.from_pretrained(c, torch_dtype=torch.float32) for c in controls]
        nets = nets if len(nets) > 1 else nets[0]
        pipeline = StableDiffusionControlNetPipeline.from_pretrained(
            folder, controlnet=nets, scheduler=scheduler, torch_dtype=torch.float32
        )
        pictures = [Image.fromarray(p) for p in from_hint(HINTS[: len(controls)])]
        told["image"] = pictures if len(pictures) > 1 else pictures[0]
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(PROMPT, **told).images


@pytest.fixture(scope="session")
def folders(request, tmp_path_factory):
    made = {}
    for shape in ("sd1", "sd2"):
        base = request.getfixturevalue(shape)
        made[shape] = []
        for seed in (0, 1):
            folder = tmp_path_factory.mktemp(f"{shape}-control{seed}")
            write_branch(randomise(new_control(base, "canny"), seed), folder)
            made[shape].append(folder)
    return made


def ours(base, folders, scheduler, settings, guidance=5.0):
    units = [
        load_control(folder, base).unit(HINTS[k : k + 1], **told)
        for k, (folder, told) in enumerate(zip(folders, settings, strict=True))
    ]
    told = {"negative": NEGATIVE, "seed": 5, "size": SIZE, "steps": STEPS}
    return generate(base, PROMPT, controls=units, guidance=guidance, scheduler=scheduler, **told).latents


@pytest.mark.parametrize("scheduler", ["ddim", "euler", "euler_a", "dpm++_2m", "dpm++_2m_karras", "unipc", "lcm"])
@pytest.mark.parametrize("shape", ["sd1", "sd2"])
def test_one_control_with_every_scheduler(request, folders, shape, scheduler):
    base = request.getfixturevalue(shape)
    folder = request.getfixturevalue(f"{shape}_folder")
    free = ours(base, [], scheduler, [])
    mine = ours(base, folders[shape][:1], scheduler, [{"scale": 0.8}])
    reference = theirs(base, folder, folders[shape][:1], scheduler, controlnet_conditioning_scale=0.8)
    plain = theirs(base, folder, [], scheduler)
    agree(free, plain, None, family=shape, kind="no control", beside="diffusers: StableDiffusionPipeline")
    agree(mine, reference, free, family=shape, kind="controlnet", beside=BESIDE)


@pytest.mark.parametrize("scheduler", ["ddim", "euler", "dpm++_2m", "unipc"])
@pytest.mark.parametrize("shape", ["sd1", "sd2"])
def test_two_controls_with_windows(request, folders, shape, scheduler):
    base = request.getfixturevalue(shape)
    folder = request.getfixturevalue(f"{shape}_folder")
    mine = ours(base, folders[shape], scheduler, [{"scale": 0.7, "end": 0.5}, {"scale": 0.4, "start": 0.3}])
    reference = theirs(
        base, folder, folders[shape], scheduler,
        controlnet_conditioning_scale=[0.7, 0.4], control_guidance_start=[0.0, 0.3], control_guidance_end=[0.5, 1.0],
    )  # fmt: skip
    free = ours(base, [], scheduler, [])
    agree(mine, reference, free, family=shape, kind="two controlnets, windows", beside=BESIDE)


def test_without_guidance(sd1, sd1_folder, folders):
    mine = ours(sd1, folders["sd1"][:1], "ddim", [{}], guidance=1.0)
    reference = theirs(sd1, sd1_folder, folders["sd1"][:1], "ddim", guidance=1.0)
    free = ours(sd1, [], "ddim", [], guidance=1.0)
    agree(mine, reference, free, family="sd1", kind="controlnet, no guidance", beside=BESIDE)


def test_decoded_pictures_are_theirs(sd1, sd1_folder, folders):
    result = generate(sd1, PROMPT, negative=NEGATIVE, seed=5, size=SIZE, steps=STEPS, guidance=5.0)
    pipeline = StableDiffusionPipeline.from_pretrained(sd1_folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        PROMPT, negative_prompt=NEGATIVE, num_inference_steps=STEPS, guidance_scale=5.0, height=64, width=64,
        generator=[torch.Generator().manual_seed(5)], output_type="np",
    ).images[0]  # fmt: skip
    assert np.abs(result.images[0].pixels / 255 - made).max() <= 1.01 / 255


@pytest.mark.parametrize("shape", ["sd1", "sd2"])
def test_control_folders_go_there_and_back(request, folders, shape, tmp_path):
    base = request.getfixturevalue(shape)
    theirs = ControlNetModel.from_pretrained(folders[shape][0], torch_dtype=torch.float32)
    theirs.save_pretrained(tmp_path / "back")
    mine, back = load_control(folders[shape][0], base), load_control(tmp_path / "back", base)
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), back.parameters(), strict=True))
    assert mine.condition == "canny"


def test_meadow_is_an_ordinary_diffusers_folder(meadow):
    from hackamore.bases.catalog import MEADOW

    pipeline = StableDiffusionControlNetPipeline.from_pretrained(
        MEADOW,
        controlnet=ControlNetModel.from_pretrained(MEADOW / "controls" / "canny", torch_dtype=torch.float32),
        torch_dtype=torch.float32,
    )
    pipeline.set_progress_bar_config(disable=True)
    hint = torch.zeros(1, 3, 128, 128)
    hint[:, :, 64] = 1
    reference = pipeline(
        "a lake at sunset", image=Image.fromarray(from_hint(hint)[0]), num_inference_steps=5, guidance_scale=3.0,
        generator=[torch.Generator().manual_seed(5)], output_type="latent",
    ).images  # fmt: skip
    unit = load_control("meadow/canny", meadow).unit(hint)
    told = {"seed": 5, "steps": 5, "guidance": 3.0}
    mine = generate(meadow, "a lake at sunset", controls=[unit], **told).latents
    free = generate(meadow, "a lake at sunset", **told).latents
    agree(mine, reference, free, family="meadow", kind="controlnet", beside=BESIDE)


def test_a_control_in_eight_bits_loads_everywhere_and_says_nearly_the_same(sd1, tmp_path):
    branch = randomise(new_control(sd1, "canny"))
    for layer in branch.trunk.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=0.05)
    whole = write_branch(branch, tmp_path / "whole", torch.float16)
    small = write_branch(branch, tmp_path / "small", torch.float16, eight_bits=True)
    assert small.stat().st_size < whole.stat().st_size
    ours = load_control(tmp_path / "small", sd1)
    net = ControlNetModel.from_pretrained(tmp_path / "small", torch_dtype=torch.float32)
    theirs_by_name = dict(net.named_parameters())
    kept = {"conv_in.weight": ours.trunk.conv_in.weight, "mid": ours.trunk.mid_block.resnets[0].conv1.weight}
    torch.testing.assert_close(kept["conv_in.weight"], theirs_by_name["conv_in.weight"], rtol=0, atol=0)
    torch.testing.assert_close(kept["mid"], theirs_by_name["mid_block.resnets.0.conv1.weight"], rtol=0, atol=0)
    one, other = (
        generate(sd1, PROMPT, controls=[c.unit(HINTS[:1])], seed=5, size=SIZE, steps=STEPS).latents
        for c in (branch, ours)
    )
    assert float((one - other).norm() / one.norm()) < 0.05
