"""Every format of control that is known, one entry each: what tells it, and what reads it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from hackamore.controls.formats import marks as m
from hackamore.controls.formats.file import WRAPPED, ControlFile
from hackamore.controls.formats.keys import listed, strangeness_told
from hackamore.controls.formats.marks import Tells, both, either, has, holds, no, starts
from hackamore.core.errors import HackamoreError

HERE = "hackamore.controls.formats."


@dataclass(frozen=True)
class Format:
    """One format of file.

    ``name``: what such a file is. ``kind``: in one word or two. ``tells``: whether a file is one, by keys, shapes and
    config alone. ``reader``: ``module:function``, called ``(file, base, **options)``; None where it is only known by
    sight, then ``note`` says what is not done.
    """

    name: str
    kind: str
    tells: Tells
    reader: str | None = None
    note: str = "which is not supported"


IGNORED = ("difference", "lora_controlnet", "control_type", "position_ids", "num_batches_tracked")
"""Last parts of keys of tensors that are no weights: marks of a format, and counts."""
NO_CONTROL = "which is not a control"
cldm = both(m.hint_block, no(m.union), no(has("difference")), no(has("lora_controlnet")), no(holds("lora_layer")))
folder = both(m.embedding, no(m.union), no(m.motion))
ip_adapter = both(m.image_proj, no(m.wide_face))

FORMATS: tuple[Format, ...] = (
    Format("a ControlNet in the original layout (cldm)", "ControlNet", cldm, HERE + "unet:read_cldm"),
    Format("a ControlNet in diffusers' layout", "ControlNet", folder, HERE + "unet:read_diffusers"),
    Format(
        "a ControlNet stored as its difference to the base",
        "ControlNet",
        both(has("difference"), m.hint_block, no(m.union)),
        HERE + "unet:read_difference",
    ),
    Format("a Control-LoRA", "Control-LoRA", has("lora_controlnet"), HERE + "unet:read_control_lora"),
    Format("a union ControlNet", "union", m.union, HERE + "union:read_union"),
    Format(
        "a ControlNet-XS in diffusers' layout",
        "ControlNet-XS",
        both(has("control_to_base_for_conv_in.weight"), no(starts("base_conv_in"))),
        HERE + "xs:read_xs",
    ),
    Format("a ControlLLLite", "LLLite", starts("lllite_"), HERE + "lllite:read_lllite"),
    Format(
        "a T2I-Adapter",
        "T2I-Adapter",
        either(
            has("conv_in.weight", "body.0.block1.weight"),
            has("body.0.in_conv.weight"),
            has("adapter.conv_in.weight"),
            has("adapter.body.0.in_conv.weight"),
        ),
        HERE + "t2i:read_t2i",
    ),
    Format("an IP-Adapter", "IP-Adapter", ip_adapter, HERE + "ip_adapter:read_ip_adapter"),
    Format(
        "a ControlNet for Stable Diffusion 3",
        "SD3 ControlNet",
        both(either(m.blocks, has("controlnet_blocks.0.bias")), m.sd3_patches),
        HERE + "transformer:read_sd3_control",
    ),
    Format("a ControlNet for FLUX.1", "FLUX ControlNet", m.flux, HERE + "transformer:read_flux_control"),
    Format(
        "a ControlNet for FLUX.1 by XLabs",
        "FLUX ControlNet",
        both(has("input_hint_block.0.weight"), starts("double_blocks.0.")),
        HERE + "transformer:read_xlabs",
    ),
    # known by sight
    Format("a ControlNet for Qwen-Image", "Qwen-Image ControlNet", both(m.blocks, has("txt_norm.weight"))),
    Format("a ControlNet for Z-Image", "Z-Image ControlNet", starts("control_all_x_embedder.")),
    Format(
        "a ControlNet for Sana", "Sana ControlNet", both(m.blocks, has("input_block.weight", "patch_embed.proj.weight"))
    ),
    Format("a ControlNet for HunyuanDiT", "HunyuanDiT ControlNet", both(has("text_embedding_padding"), m.blocks)),
    Format(
        "a ControlNet for Cosmos",
        "Cosmos ControlNet",
        both(starts("control_blocks."), has("patch_embed_base.proj.weight")),
    ),
    Format(
        "a SparseCtrl control for films",
        "SparseCtrl",
        both(m.motion, either(starts("controlnet_cond_embedding."), starts("input_hint_block."))),
    ),
    Format(
        "a motion module of AnimateDiff",
        "AnimateDiff",
        both(m.motion, no(starts("controlnet_cond_embedding.")), no(starts("input_hint_block."))),
        note=NO_CONTROL,
    ),
    Format("the face adapter of InstantID", "InstantID", both(m.image_proj, m.wide_face)),
    Format(
        "a CtrLoRA",
        "CtrLoRA",
        either(holds("lora_layer"), both(has("zero_convs.0.0.weight"), no(has("input_hint_block.0.weight")))),
    ),
    Format("a BrushNet", "BrushNet", starts("brushnet_down_blocks.")),
    Format("a PuLID", "PuLID", either(starts("pulid_ca."), starts("pulid_encoder."), starts("id_adapter."))),
    Format("a Control-LoRA for FLUX.1", "FLUX Control-LoRA", m.flux_lora),
    Format(
        "a ControlNet-XS with its base inside", "ControlNet-XS", starts("base_conv_in", "control_to_base_for_conv_in")
    ),
    Format("a ControlNet-XS in its authors' layout", "ControlNet-XS", holds("enc_zero_convs_out.")),
    Format("a style adapter of T2I-Adapter", "style adapter", has("style_embedding")),
    Format("the fuser of CoAdapter", "CoAdapter fuser", starts("spatial_feat_mapping.")),
    # not controls at all
    Format(
        "a LoRA",
        "LoRA",
        both(m.lora, no(m.flux_lora), no(m.image_proj), no(has("lora_controlnet"))),
        note=f"{NO_CONTROL}; it goes on the base (--lora)",
    ),
    Format(
        "a base model",
        "base",
        either(
            both(m.whole_unet, no(starts("control_model."))),
            both(starts("joint_blocks."), starts("final_layer.")),
            both(starts("double_blocks."), starts("final_layer.")),
            both(starts("model.diffusion_model."), no(m.whole_unet)),
        ),
        note=f"{NO_CONTROL}; it goes to --base",
    ),
    Format(
        "a U-Net or transformer alone",
        "part of a base",
        either(
            has("up_blocks.0.resnets.0.conv1.weight", "conv_in.weight"),
            both(starts("transformer_blocks."), has("proj_out.weight"), no(m.blocks)),
        ),
        note=f"{NO_CONTROL}; the folder that holds all parts of its base goes to --base",
    ),
    Format(
        "an autoencoder",
        "autoencoder",
        both(
            either(has("decoder.conv_in.weight"), has("first_stage_model.decoder.conv_in.weight")),
            no(starts("model.diffusion_model.")),
        ),
        note=f"{NO_CONTROL}; it goes to --vae",
    ),
    Format(
        "a text encoder",
        "text encoder",
        both(
            either(holds("text_model.embeddings."), has("shared.weight")),
            no(starts("model.diffusion_model.")),
            no(holds("vision_model.")),
        ),
        note=NO_CONTROL,
    ),
    Format("an image encoder", "image encoder", both(holds("vision_model.embeddings.")), note=NO_CONTROL),
    Format(
        "a textual inversion", "textual inversion", m.embedding_vectors, note=f"{NO_CONTROL}; it goes to --embedding"
    ),
    Format("an upscaler", "upscaler", m.upscaler, note=NO_CONTROL),
)


def unwrapped(file: ControlFile) -> ControlFile:
    """``file`` without what a trainer put before all its keys, once or twice, where only so it is told as a control.

    All else stays as it is: the keys of a base begin with ``model.`` too.
    """
    inner = file
    for _ in range(3):
        with strangeness_told(file.path):
            if any(entry.tells(inner) and not entry.note.startswith(NO_CONTROL) for entry in FORMATS):
                return inner
        prefix = next((prefix for prefix in WRAPPED if all(key.startswith(prefix) for key in inner.shapes)), None)
        if prefix is None or not inner.shapes:
            break
        inner = inner.without(prefix)
    return file


def format_of(file: ControlFile) -> Format:
    """The entry that tells ``file``; raises :class:`HackamoreError` showing its first keys when none does."""
    with strangeness_told(file.path):
        told = next((entry for entry in FORMATS if entry.tells(file)), None)
    if told is not None:
        return told
    raise HackamoreError(
        f"{file.path} is of no format that is known",
        received=f"{len(file.shapes)} tensors: {listed(sorted(file.shapes))}",
        expected="a ControlNet, T2I-Adapter, union, LLLite, ControlNet-XS, Control-LoRA or IP-Adapter file",
    )


def check_numbers(file: ControlFile) -> None:
    """Raise :class:`HackamoreError` for weights that are empty, or whole numbers: quantised, their scales lost."""
    own = [key for key in file.shapes if key.startswith(m.PREFIX)] or list(file.shapes)  # of a whole model: its control
    used = [key for key in own if key.rpartition(".")[2] not in IGNORED]
    if empty := [key for key in used if 0 in file.shapes[key]]:
        raise HackamoreError(f"{file.path} has empty tensors: {listed(empty)}", expected="weights")
    for one in file.opened:
        one.check_floating(file.prefix + key for key in used if file.prefix + key in one.shapes)


def check_finite(file: ControlFile, control: Any) -> None:
    """Raise :class:`HackamoreError` naming the first of a read control's weights that are infinite or no numbers."""
    for name, weight in getattr(control, "named_parameters", tuple)():
        total = weight.detach().sum()  # what is no number makes the sum none, which is quick to ask
        if not torch.isfinite(total) and not torch.isfinite(weight).all():
            raise HackamoreError(
                f"{file.path} has weights that are no finite numbers: {name}",
                received=f"inf or nan in {str(weight.dtype).removeprefix('torch.')}",
                expected="finite weights",
                remedy="another dtype for the base, if the file's own numbers are finite",
            )


def read_control(file: ControlFile, base: Any, **options: Any) -> Any:
    """A control made of ``file`` for ``base`` by the reader of its format.

    Raises :class:`HackamoreError` for a format without reader, an option that the reader does not know, whatever the
    reader refuses, numbers that are no weights, and tensors or settings so strange that it breaks on them.
    """
    from inspect import signature

    entry = format_of(file)
    if entry.reader is None:
        raise HackamoreError(f"{file.path} is {entry.name}, {entry.note}")
    check_numbers(file)
    module, _, function = entry.reader.partition(":")
    read = getattr(import_module(module), function)
    known = list(signature(read).parameters)[2:]
    unknown = sorted(options.keys() - set(known))
    if unknown:
        raise HackamoreError(
            f"{entry.name} is not loaded with the option {unknown[0]!r}", expected=", ".join(known) or "no options"
        )
    with strangeness_told(file.path):
        control = read(file, base, **options)
    check_finite(file, control)
    return control
