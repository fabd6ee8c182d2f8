"""Schedulers by name: diffusers' own, set up from a base's scheduler configuration."""

from __future__ import annotations

from typing import Any

from hackamore.core.errors import HackamoreError, unknown_name

_SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "dpm++_2m": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": False}),
    "dpm++_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}

_FLOW: dict[str, tuple[str, dict[str, Any]]] = {"euler": ("FlowMatchEulerDiscreteScheduler", {})}

NAMES: tuple[str, ...] = tuple(_SCHEDULERS)


def is_flow(config: dict[str, Any]) -> bool:
    """Whether a scheduler configuration is that of a flow-matching base (SD3, FLUX)."""
    return str(config.get("_class_name", "")).startswith("FlowMatch")


def make_scheduler(
    name: str,
    config: dict[str, Any],
    steps: int | None = None,
    device: Any = None,
    timing: dict[str, Any] | None = None,
) -> Any:
    """A fresh scheduler called ``name`` (see ``NAMES``) for a base whose scheduler configuration is ``config``.

    With ``steps`` its timesteps are set, ``timing`` being what the base has to say about them. Raises
    :class:`HackamoreError` for an unknown name, one that the base's kind has no form of, or for more steps than the
    scheduler allows.
    """
    if name not in _SCHEDULERS:
        raise unknown_name("scheduler", name, list(_SCHEDULERS))
    import diffusers

    known = _FLOW if is_flow(config) else _SCHEDULERS
    if name not in known:
        raise HackamoreError(f"the scheduler {name} is not for a flow-matching base", expected=", ".join(known))
    class_name, settings = known[name]
    kept = ({} if is_flow(config) else {"clip_sample": False}) | {
        key: value for key, value in config.items() if not key.startswith("_")
    }
    scheduler = getattr(diffusers, class_name).from_config(kept, **settings)
    if steps is not None:
        try:
            scheduler.set_timesteps(steps, device=device, **(timing or {}))
        except ValueError as error:
            raise HackamoreError(f"{name} cannot take {steps} steps", received=str(error)) from error
    return scheduler
