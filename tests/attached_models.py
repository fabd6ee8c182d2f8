"""What the tests of controls inside the base share: a hint, a short run, random weights in place of zeros."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from hackamore.bases.walk import attentions
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


CLIP = {"hidden_size": 64, "projection_dim": 32, "intermediate_size": 64, "num_hidden_layers": 3}


def write_image_encoder(folder: Path) -> CLIPVisionModelWithProjection:
    """A small CLIP image encoder for pictures of 64 pixels."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(num_attention_heads=4, image_size=64, patch_size=16, **CLIP)
    network = CLIPVisionModelWithProjection(config).eval()
    network.save_pretrained(folder)
    return network


def ip_adapter_weights(base, kind="plain", seed=0):
    """Random weights of an IP-Adapter for ``base`` in the published layout: ``plain``, ``full`` or ``plus``."""
    generator, text = torch.Generator().manual_seed(seed), base.sites.text_width

    def random(*shape):
        return torch.randn(shape, generator=generator) * shape[-1] ** -0.5

    deep, hidden = CLIP["hidden_size"], 64
    plain = {"proj.weight": random(4 * text, CLIP["projection_dim"]), "proj.bias": random(4 * text)}
    plain |= {"norm.weight": random(text) + 1, "norm.bias": random(text)}
    full = {"proj.0.weight": random(deep, deep), "proj.0.bias": random(deep), "proj.2.weight": random(text, deep)}
    full |= {"proj.2.bias": random(text), "proj.3.weight": random(text), "proj.3.bias": random(text)}
    plus = {"latents": random(1, 16, hidden), "proj_in.weight": random(hidden, deep), "proj_in.bias": random(hidden)}
    plus |= {"proj_out.weight": random(text, hidden), "proj_out.bias": random(text)}
    plus |= {"norm_out.weight": random(text) + 1, "norm_out.bias": random(text)}
    for layer in range(4):
        own, then = f"layers.{layer}.0", f"layers.{layer}.1"
        plus |= {f"{own}.{name}.{part}": random(hidden) for name in ("norm1", "norm2") for part in ("weight", "bias")}
        plus |= {f"{own}.to_q.weight": random(64, hidden), f"{own}.to_kv.weight": random(128, hidden)}
        plus |= {f"{own}.to_out.weight": random(hidden, 64), f"{then}.0.weight": random(hidden)}
        plus |= {f"{then}.0.bias": random(hidden), f"{then}.1.weight": random(256, hidden)}
        plus |= {f"{then}.3.weight": random(hidden, 256)}
    inside = {"plain": plain, "full": full, "plus": plus}[kind]
    made = {f"image_proj.{key}": value for key, value in inside.items()}
    for number, place in enumerate(place for place in attentions(base.unet) if not place.own):
        width = base.unet.get_submodule(place.path).to_k.out_features
        for part in ("k", "v"):
            made[f"ip_adapter.{2 * number + 1}.to_{part}_ip.weight"] = random(width, text)
    return made


def write_ip_adapter(base, folder: Path, kind="plain") -> Path:
    """Such a file with its image encoder beside it."""
    write_image_encoder(folder / "image_encoder")
    save_file(ip_adapter_weights(base, kind), folder / f"ip-adapter-{kind}.safetensors")
    return folder / f"ip-adapter-{kind}.safetensors"
