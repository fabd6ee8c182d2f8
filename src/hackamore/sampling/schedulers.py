"""Schedulers by name: diffusers' own, set up from a base's scheduler configuration."""

from __future__ import annotations

from typing import Any

from hackamore.core.errors import unknown_name

_SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "dpm++_2m": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": False}),
    "dpm++_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}

NAMES: tuple[str, ...] = tuple(_SCHEDULERS)


def make_scheduler(name: str, config: dict[str, Any]) -> Any:
    """A fresh scheduler called ``name`` (see ``NAMES``) for a base whose scheduler configuration is ``config``."""
    if name not in _SCHEDULERS:
        raise unknown_name("scheduler", name, list(_SCHEDULERS))
    import diffusers

    class_name, settings = _SCHEDULERS[name]
    kept = {key: value for key, value in config.items() if not key.startswith("_")}
    return getattr(diffusers, class_name).from_config(kept, **settings)
