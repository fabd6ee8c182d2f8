"""A single file in its original layout gives the latents that diffusers' ``from_single_file`` gives."""

import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)

from hackamore.bases.single import load_file
from hackamore.generate import generate
from hackamore.sampling.schedulers import make_scheduler
from tests.equivalence.agreement import agree
from tests.single_bases import write_base, write_file

PROMPT, NEGATIVE, STEPS = "a red circle at noon", "a lake", 3
PIPELINES = {"sd1": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline, "sd3": StableDiffusion3Pipeline}


@pytest.mark.parametrize("family", PIPELINES)
def test_single_files(tmp_path, family):
    folder = tmp_path / "folder"
    file = write_file(write_base(folder, family), tmp_path / f"{family}.safetensors")
    base = load_file(file, family, torch.device("cpu"), torch.float32, tokenizer=folder)
    told = {"negative": NEGATIVE, "seed": 5, "size": (64, 64), "steps": STEPS, "guidance": 5.0}
    mine = generate(base, PROMPT, **told).latents

    theirs = PIPELINES[family].from_single_file(str(file), config=str(folder), local_files_only=True)
    theirs.set_progress_bar_config(disable=True)
    if family == "sd3":
        theirs.text_encoder_3.eval()  # from_single_file leaves T5 in training mode, with dropout
    theirs.scheduler = (
        FlowMatchEulerDiscreteScheduler.from_config(base.scheduler_config)
        if family == "sd3"
        else make_scheduler(base.scheduler, base.scheduler_config)
    )
    reference = theirs(
        PROMPT, negative_prompt=NEGATIVE, num_inference_steps=STEPS, guidance_scale=5.0, height=64, width=64,
        generator=[torch.Generator().manual_seed(5)], output_type="latent",
    ).images  # fmt: skip
    agree(mine, reference, None, family=family, kind="single file", beside=f"diffusers: {type(theirs).__name__}")
