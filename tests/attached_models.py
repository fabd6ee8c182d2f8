"""What the tests of controls inside the base share: a hint, a short run, random weights in place of zeros."""

import torch

from hackamore.generate import generate

HINT = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255
PROMPT, NEGATIVE, STEPS, GUIDANCE = "a red circle at noon", "a lake", 4, 5.0


def made(base, *units, **told):
    """Latents of a short run, steered by ``units``."""
    told = {"negative": NEGATIVE, "seed": 5, "size": (64, 64), "steps": STEPS, "guidance": GUIDANCE} | told
    return generate(base, PROMPT, controls=units, **told).latents


def theirs(pipeline, **told):
    """The latents of a diffusers pipeline at the same settings."""
    told = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "height": 64, "width": 64} | told
    pipeline.set_progress_bar_config(disable=True)
    generator = [torch.Generator().manual_seed(5)]
    return pipeline(PROMPT, negative_prompt=NEGATIVE, generator=generator, output_type="latent", **told).images


def stirred(network, seed=0, size=0.2):
    """``network`` with random weights where all of a parameter is zero, so that it says something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if float(parameter.abs().max()) == 0:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
    return network.eval().requires_grad_(False)
