"""T2I-Adapters: our latents are those of diffusers' adapter pipelines at the same weights, seed and scheduler."""

import numpy as np
import pytest
import torch
from diffusers import (
    MultiAdapter,
    StableDiffusionAdapterPipeline,
    StableDiffusionXLAdapterPipeline,
    T2IAdapter,
)
from PIL import Image

from hackamore.controls.adapter import new_adapter
from hackamore.controls.catalog import load_control
from hackamore.controls.formats.t2i import write_adapter
from hackamore.core.image import from_hint, to_hint
from hackamore.generate import generate
from hackamore.sampling.schedulers import make_scheduler
from tests.control_models import lively_adapter
from tests.equivalence.agreement import agree

PROMPT, NEGATIVE, STEPS = "a red circle at noon", "a lake", 5
HINTS = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255
PIPELINES = {
    "sd1": StableDiffusionAdapterPipeline,
    "sd2": StableDiffusionAdapterPipeline,
    "sdxl": StableDiffusionXLAdapterPipeline,
}


@pytest.fixture(scope="module")
def folders(request, tmp_path_factory):
    """Base and kind → the folder of an adapter with random weights."""
    made = {}
    for shape in PIPELINES:
        base = request.getfixturevalue(shape)
        for number, (kind, told) in enumerate(
            {"full": {}, "other": {}, "grey": {"channels_in": 1}, "light": {"light": True}}.items()
        ):
            if kind == "light" and shape == "sdxl":
                continue
            folder = tmp_path_factory.mktemp(f"{shape}-{kind}")
            write_adapter(lively_adapter(new_adapter(base, **told), number), folder)
            made[shape, kind] = folder
    return made


def theirs(base, folder, adapters, pictures, guidance=5.0, **told):
    nets = [T2IAdapter.from_pretrained(adapter) for adapter in adapters]
    net = MultiAdapter(nets) if len(nets) > 1 else nets[0]
    pipeline = PIPELINES[base.family].from_pretrained(
        folder, adapter=net, scheduler=make_scheduler("ddim", base.scheduler_config), torch_dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        PROMPT, image=pictures if len(pictures) > 1 else pictures[0], negative_prompt=NEGATIVE, guidance_scale=guidance,
        num_inference_steps=STEPS, generator=[torch.Generator().manual_seed(5)], output_type="latent",
        height=64, width=64, **told,
    ).images  # fmt: skip


def ours(base, adapters, settings, guidance=5.0, hints=HINTS):
    units = [
        load_control(folder, base).unit(hints[k : k + 1], **one)
        for k, (folder, one) in enumerate(zip(adapters, settings, strict=True))
    ]
    told = {"negative": NEGATIVE, "seed": 5, "size": (64, 64), "steps": STEPS, "scheduler": "ddim"}
    return generate(base, PROMPT, controls=units, guidance=guidance, **told).latents


def picture(number):
    return Image.fromarray(from_hint(HINTS)[number])


@pytest.mark.parametrize(
    ("shape", "kind", "guidance"),
    [("sd1", "full", 5.0), ("sd1", "full", 1.0), ("sd1", "light", 5.0), ("sd2", "full", 5.0), ("sdxl", "full", 5.0)],
)
def test_one_adapter(request, folders, shape, kind, guidance):
    base, folder = request.getfixturevalue(shape), request.getfixturevalue(f"{shape}_folder")
    used = [folders[shape, kind]]
    mine = ours(base, used, [{"scale": 0.8}], guidance)
    reference = theirs(base, folder, used, [picture(0)], guidance, adapter_conditioning_scale=0.8)
    name = f"t2i-adapter, {'XL' if shape == 'sdxl' else kind}{'' if guidance > 1 else ', no guidance'}"
    beside = f"diffusers: {PIPELINES[shape].__name__}"
    agree(mine, reference, ours(base, [], [], guidance), family=shape, kind=name, beside=beside)


@pytest.mark.parametrize("shape", ["sd1", "sdxl"])
def test_a_grey_adapter(request, folders, shape):
    base, folder = request.getfixturevalue(shape), request.getfixturevalue(f"{shape}_folder")
    used, grey = [folders[shape, "grey"]], picture(0).convert("L")
    mine = ours(base, used, [{}], hints=to_hint(np.array(grey.convert("RGB"))))
    reference = theirs(base, folder, used, [grey])
    beside = f"diffusers: {PIPELINES[shape].__name__}"
    agree(mine, reference, ours(base, [], []), family=shape, kind="t2i-adapter, grey", beside=beside)


@pytest.mark.parametrize("shape", ["sd1", "sdxl"])
def test_two_adapters(request, folders, shape):
    base, folder = request.getfixturevalue(shape), request.getfixturevalue(f"{shape}_folder")
    used = [folders[shape, "full"], folders[shape, "other"]]
    mine = ours(base, used, [{"scale": 0.7}, {"scale": 0.4}])
    reference = theirs(base, folder, used, [picture(0), picture(1)], adapter_conditioning_scale=[0.7, 0.4])
    beside = f"diffusers: {PIPELINES[shape].__name__} with MultiAdapter"
    agree(mine, reference, ours(base, [], []), family=shape, kind="two t2i-adapters", beside=beside)


@pytest.mark.parametrize("factor", [0.5, 0.6])
def test_their_share_of_the_steps_is_our_end(sdxl, sdxl_folder, folders, factor):
    """They act at step i of N while i < ⌊N · factor⌋; we while (i + 1)/N ≤ end."""
    used = [folders["sdxl", "full"]]
    mine = ours(sdxl, used, [{"end": factor}])
    reference = theirs(sdxl, sdxl_folder, used, [picture(0)], adapter_conditioning_factor=factor)
    beside = "diffusers: StableDiffusionXLAdapterPipeline, adapter_conditioning_factor"
    agree(mine, reference, ours(sdxl, [], []), family="sdxl", kind=f"t2i-adapter, end {factor:g}", beside=beside)
