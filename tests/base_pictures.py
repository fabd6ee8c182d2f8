"""The same picture from us and from diffusers' own pipeline."""

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from hackamore.generate import generate
from hackamore.sampling.schedulers import make_scheduler

PROMPT, STEPS = "a red circle at noon", 2


def pipeline(folder, base, xl=False):
    kind = StableDiffusionXLPipeline if xl else StableDiffusionPipeline
    scheduler = make_scheduler("ddim", base.scheduler_config)
    made = kind.from_pretrained(folder, scheduler=scheduler, torch_dtype=torch.float32)
    made.set_progress_bar_config(disable=True)
    return made


def theirs(made, prompt=PROMPT, **told):
    told |= {"num_inference_steps": STEPS, "guidance_scale": 5.0, "height": 64, "width": 64}
    return made(prompt, generator=[torch.Generator().manual_seed(5)], output_type="latent", **told).images


def ours(base, prompt=PROMPT, controls=()):
    told = {"seed": 5, "size": (64, 64), "steps": STEPS, "scheduler": "ddim", "guidance": 5.0}
    return generate(base, prompt, controls=controls, **told).latents
