"""Reference-only attention: a picture whose features the base's self-attentions see beside their own; no weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hackamore.bases.base import Sites
from hackamore.bases.walk import attentions
from hackamore.controls.attention import Kept, add, attended, keep
from hackamore.controls.control import Voice
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError
from hackamore.core.image import LEAST_SIDE, Size

SEED = 0
"""Of the noise on the reference: the same for every picture and step, so that no picture depends on its batch."""
FIDELITY = 0.5


class Reference:
    """Steers a U-Net base towards the look of a picture, which is the hint.

    At each step the picture is noised to the step's level and runs through the base on the conditional text; each
    self-attention then attends to the picture's keys and values beside its own. ``fidelity`` (option, 0 to 1, 0.5 when
    not given): how far guidance's unconditional half is kept from that; higher follows the picture more closely. The
    strength weighs the change of each attention's result; a run of the base on half a batch is what it costs.
    """

    options = ("fidelity",)
    spatial = False

    def __init__(self, base: Any) -> None:
        self.name = "reference"
        self.condition: str | None = self.name
        self.sites: Sites = base.sites
        self.sha256: dict[str, str] = {}
        self._base = base
        self.outputs = len(base.sites.skips) + 1

    def check(self, size: Size, fidelity: Any = FIDELITY) -> None:
        """Raise :class:`HackamoreError` for a ``fidelity`` out of range."""
        _checked(fidelity)

    def prepare(self, hint: Tensor, fidelity: float = FIDELITY) -> dict[str, Any]:
        """The latents of the picture N×3×H×W in [0, 1], and the noise that it gets.

        Raises :class:`HackamoreError` for a picture of less than 8 pixels a side.
        """
        if min(hint.shape[-2:]) < LEAST_SIDE:
            raise HackamoreError(
                "the picture to refer to is too small",
                received=f"{hint.shape[-1]}×{hint.shape[-2]}",
                expected=f"at least {LEAST_SIDE} pixels a side",
            )
        latents = self._base.encode(hint * 2 - 1)
        noise = torch.randn((1, *latents.shape[1:]), generator=torch.Generator().manual_seed(SEED))
        return {"latents": latents, "noise": noise.to(latents), "fidelity": float(fidelity)}

    def attach(self, base: Any, voice: Voice) -> Any:
        """A view of ``base`` whose self-attentions see the picture whenever ``voice`` is not silent.

        The picture itself runs through the base without any attached control.
        """
        alone, base = _without_hooks(base.view().unet), base.view()
        banks: list[Kept] = []
        for place in attentions(base.unet):
            if place.own:
                seen: Kept = {}
                keep(alone.get_submodule(place.path), ("to_k", "to_v"), seen, voice)
                banks.append(seen)
                attention, own = base.unet.get_submodule(place.path), Kept()
                keep(attention, ("to_q", "to_k", "to_v"), own, voice)
                add(attention, _Sight(voice, own, seen, attention.heads, place.site, self.outputs), voice)
        alphas = _alphas(base.scheduler_config)
        base.unet.register_forward_pre_hook(partial(_look, alone, alphas, voice), with_kwargs=True)
        return base

    def unit(self, hint: Any, **settings: Any) -> Unit:
        """Bind it to a picture; raises :class:`HackamoreError` for a ``fidelity`` out of range."""
        if "fidelity" in settings:
            settings["fidelity"] = _checked(settings["fidelity"])
        return Unit(self, hint, **settings)


def reference_control(base: Any) -> Reference:
    """Reference-only attention for ``base``; raises :class:`HackamoreError` for one without a U-Net."""
    if not hasattr(base, "unet"):
        raise HackamoreError(
            "reference-only attention is not for this base", received=base.family, expected="a U-Net base"
        )
    return Reference(base)


@dataclass(frozen=True)
class _Sight:
    """What seeing the picture changes in the result of one self-attention."""

    voice: Voice
    own: Kept
    seen: Kept
    heads: int
    site: int
    outputs: int

    def __call__(self, result: Tensor) -> Tensor:
        query, key, value = (self.own.pop(name) for name in ("to_q", "to_k", "to_v"))
        halves = len(query) // len(self.seen["to_k"])
        theirs_key, theirs_value = (torch.cat([self.seen.pop(name)] * halves) for name in ("to_k", "to_v"))
        heard = attended(query, torch.cat([key, theirs_key], 1), torch.cat([value, theirs_value], 1), self.heads)
        change = heard - attended(query, key, value, self.heads)  # not the result, which others may have changed
        change[: self.voice.unconditional] *= 1 - self.voice.prepared["fidelity"]
        return self.voice.say(change, self.site, self.outputs)


def _look(alone: Any, alphas: Tensor, voice: Voice, _: nn.Module, args: tuple[Tensor, ...], told: Any) -> None:
    """Before a prediction: run the picture through the base, at the same level of noise (Ho et al. 2020, eq. 4)."""
    if voice.strength == 0:
        return
    pictures = slice(voice.unconditional, None)
    clean, noise = voice.prepared["latents"][pictures], voice.prepared["noise"][pictures]
    t = torch.as_tensor(args[1], device=clean.device)
    alpha = alphas.to(clean)[t.round().long().clamp(0, len(alphas) - 1)].reshape(-1, 1, 1, 1)
    added = told.get("added_cond_kwargs")
    alone(
        alpha.sqrt() * clean + (1 - alpha).sqrt() * noise,
        t,
        encoder_hidden_states=told["encoder_hidden_states"][pictures],
        added_cond_kwargs=None if added is None else {name: value[pictures] for name, value in added.items()},
    )


def _alphas(config: dict[str, Any]) -> Tensor:
    """The product of 1 − β up to each timestep, as the base's scheduler has it."""
    from diffusers import DDPMScheduler

    known = {key: value for key, value in config.items() if not key.startswith("_")}
    alphas: Tensor = DDPMScheduler.from_config(known).alphas_cumprod
    return alphas


def _without_hooks(network: nn.Module) -> nn.Module:
    """A view of a network, freed of the attached controls that it may hold."""
    for module in network.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return network


def _checked(fidelity: Any) -> float:
    try:
        value = float(fidelity)
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value <= 1:
        raise HackamoreError("the style fidelity is out of range", received=fidelity, expected="0 to 1")
    return value
