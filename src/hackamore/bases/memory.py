"""Less memory for the same pictures: parts of a base that wait elsewhere, autoencoders in tiles, compiled networks."""

from __future__ import annotations

import copy
import os
import shutil
from typing import Any

import torch

from hackamore.bases.exchange import put
from hackamore.bases.view import view_of
from hackamore.core.errors import HackamoreError, unknown_name

OFFLOADS = ("model", "sequential")


def offloaded(base: Any, kind: str, device: torch.device) -> Any:
    """The same base, its weights in main memory, that computes on ``device``.

    ``model``: each network is on the device while it is the last that ran; ``sequential``: each layer while it runs,
    which needs least and is slowest. On a CPU both are allowed and save nothing. ``base`` is unchanged: its weights
    stay where they are, and take memory of their own for as long as it is kept.
    """
    from accelerate import cpu_offload, cpu_offload_with_hook

    if kind not in OFFLOADS:
        raise unknown_name("offload", kind, list(OFFLOADS))
    mine = copy.copy(base)
    hooks: list[Any] = []
    own: dict[int, torch.nn.Parameter] = {}
    for name, part in base.parts().items():
        part = view_of(part, own)
        if kind == "sequential":
            cpu_offload(part, device)
        else:
            part, hook = cpu_offload_with_hook(part, device, hooks[-1] if hooks else None)
            hooks.append(hook)
        put(mine, name, part)
    if hooks:  # after the last network comes the first of the next picture
        hooks[0].hook.prev_module_hook = hooks[-1]
        mine.bare = view_of(base.bare, own)  # moves with the network whose weights it has
    mine.device = device
    return mine


def tiled(base: Any, *, tiling: bool, slicing: bool) -> Any:
    """The same base with an autoencoder that decodes in overlapping tiles, or a batch picture by picture.

    Tiles have the size of the base's own pictures, or what the autoencoder's configuration says where that is larger.
    """
    mine = copy.copy(base)
    mine.vae = view_of(base.vae)
    if tiling:
        mine.vae.enable_tiling()
        edge = max(min(base.size), mine.vae.config.sample_size or 0)
        mine.vae.tile_sample_min_size, mine.vae.tile_latent_min_size = edge, edge // base.scale_factor
    if slicing:
        mine.vae.enable_slicing()
    return mine


def compiled(base: Any, backend: str = "inductor") -> Any:
    """The same base whose denoiser is compiled at its first step, by one of ``torch.compile``'s backends.

    A view of it is compiled for itself, and so is each size of picture and each set of sites that controls speak to.

    Raises :class:`HackamoreError` where the machine has no compiler for it.
    """
    if backend == "inductor":
        check_compiler(base.device)
    mine = base.view()
    mine.network.compile(backend=backend)
    return mine


def check_compiler(device: torch.device) -> None:
    """Raise :class:`HackamoreError` when ``torch.compile`` has nothing to compile with for ``device``."""
    import importlib.util

    if device.type == "cuda":
        ready, needed = importlib.util.find_spec("triton") is not None, "triton, which CUDA builds of torch bring"
    else:
        names = (os.environ.get("CXX", ""), "g++", "clang++", "c++", "cl")
        ready, needed = any(name and shutil.which(name) for name in names), "a C++ compiler (g++ or clang++)"
    if not ready:
        raise HackamoreError(
            "this machine cannot compile networks", received="no compiler", expected=needed, remedy="without compile"
        )
