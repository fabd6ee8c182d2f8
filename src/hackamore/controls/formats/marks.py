"""By which keys each format of control is told; only keys, shapes and config.json are looked at."""

from __future__ import annotations

from collections.abc import Callable

from hackamore.controls.formats.file import ControlFile

Tells = Callable[[ControlFile], bool]
PREFIX = "control_model."


def has(*keys: str) -> Tells:
    """All of ``keys`` are there, with or without the prefix ``control_model.``."""
    return lambda file: all(key in file.shapes or PREFIX + key in file.shapes for key in keys)


def holds(*words: str) -> Tells:
    """For each of ``words`` there is a key with that word in it."""
    return lambda file: all(any(word in key for key in file.shapes) for word in words)


def starts(*words: str) -> Tells:
    """For each of ``words`` there is a key that begins with it."""
    return lambda file: all(any(key.startswith(word) for key in file.shapes) for word in words)


def ends(*words: str) -> Tells:
    """There is a key that ends with one of ``words``."""
    return lambda file: any(key.endswith(words) for key in file.shapes)


def both(*tells: Tells) -> Tells:
    """All of ``tells`` hold."""
    return lambda file: all(tell(file) for tell in tells)


def either(*tells: Tells) -> Tells:
    """One of ``tells`` holds."""
    return lambda file: any(tell(file) for tell in tells)


def no(tell: Tells) -> Tells:
    """``tell`` does not hold."""
    return lambda file: not tell(file)


hint_block = has("input_hint_block.0.weight", "zero_convs.0.0.weight")
embedding = both(has("controlnet_cond_embedding.conv_in.weight"), has("controlnet_down_blocks.0.weight"))
union = either(has("control_add_embedding.linear_1.bias"), has("task_embedding", "spatial_ch_projs.weight"))
motion = holds("motion_modules")
blocks = has("controlnet_blocks.0.weight")
flux = both(blocks, has("controlnet_x_embedder.weight", "x_embedder.weight"))
flux_lora = either(has("img_in.lora_A.weight"), holds("x_embedder.lora_A."))
image_proj = either(starts("image_proj.", "ip_adapter."), starts("image_proj_model.", "ip_adapter."))
whole_unet = has("model.diffusion_model.input_blocks.0.0.weight")
lora = ends(".lora_down.weight", ".lora_A.weight", ".lora_A.default.weight", "_lora.down.weight", ".lora.down.weight")
upscaler = either(has("conv_first.weight", "body.0.rdb1.conv1.weight"), has("model.0.weight", "model.1.sub.0.weight"))


def wide_face(file: ControlFile) -> bool:
    """The picture's embedding has the width of a face recogniser's, 512."""
    names = ("image_proj.proj_in.weight", "image_proj_model.proj_in.weight")
    return any(file.shapes.get(name, ())[-1:] == (512,) for name in names)


def sd3_patches(file: ControlFile) -> bool:
    """A transformer of Stable Diffusion 3: its hint comes in patches, four numbers a weight."""
    return "pos_embed_input.proj.weight" in file.shapes


def embedding_vectors(file: ControlFile) -> bool:
    """A textual inversion: one or two tensors of a few token vectors under the names that trainers give them."""
    names = ("string_to_param.*", "emb_params", "clip_l", "clip_g")
    token = len(file.shapes) == 1 and next(iter(file.shapes)).startswith("<")
    return token or any(name in file.shapes for name in names)
