"""What every trained form does: the steered prediction of its base, its optimiser groups, a unit, a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hackamore.bases.base import Text
from hackamore.bases.unet import DECODER, unlocked
from hackamore.controls.adapter import Adapter
from hackamore.controls.control import Voice
from hackamore.controls.start import hint_layer, tune_hint
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError
from hackamore.core.section import setting
from hackamore.training.settings import ControlSettings, Form

NEW = (
    "zero_skips.", "zero_mid.", "hint_encoder.", "controlnet_cond_embedding.", "control_to_base", "base_to_ctrl.",
    "ctrl_to_base.", "spatial_ch_projs.", "control_add_embedding.linear_2.", "controlnet_blocks.",
    "controlnet_single_blocks.", "pos_embed_input.", "controlnet_x_embedder.", "input_hint_block.",
)  # fmt: skip
"""Parts of the names of zero convolutions (and linear layers that start at zero) and hint encoders, in any form."""


class Trained(nn.Module, ABC):
    """A control that is being trained: ``network`` beside the locked ``base``, for hints of ``kinds``.

    ``form``: which of the trained forms. ``fresh``: it was not read from a file, so before the first step it must be
    a no-op, bit for bit. Its parameters are those that are trained; the base is no part of the module tree, except,
    where it is unlocked, a decoder that is this form's own (then :meth:`plain` equals the base at step 0 alone).
    ``notes``: sentences that a run's log should have.
    """

    def __init__(self, base: Any, network: Any, kinds: Sequence[str], settings: ControlSettings, fresh: bool) -> None:
        super().__init__()
        base = unlocked(base) if settings.unlocked else base
        for part in network.modules():  # it belongs to this very base, whatever stood for it while it was made
            if "_bases" in vars(part):
                part._bases = (base,)
        self.base, self.network, self.kinds = base, network.requires_grad_(True).train(), tuple(kinds)
        self.settings, self.fresh = settings, fresh
        self.notes: list[str] = []
        self._kept: tuple[Any, bool, bool] | None = None
        if settings.only_mid:
            getattr(network, "branch", network).speak_after_mid()
        if settings.unlocked:
            parts = {name: base.unet._modules.get(name) for name in DECODER}
            self.decoder = nn.ModuleDict({name: part for name, part in parts.items() if part is not None})
            self.notes.append(
                "the base's decoder is trained too: the control belongs to the changed U-Net, which is written beside"
                " it as unet/ and takes the place of that folder in the base"
            )
        for name, parameter in network.named_parameters():
            if any(end in name for end in _unheard(network)):
                parameter.requires_grad_(False)

    @property
    def form(self) -> Form:
        """Which of the trained forms it is."""
        return self.settings.form

    @property
    def needs_autoencoder(self) -> bool:
        """Whether hints go through the base's autoencoder (SD3 and FLUX), which then must stay at each step."""
        return hasattr(self.base, "transformer") and not getattr(self.network, "sees_pixels", False)

    @abstractmethod
    def predict(self, x: Tensor, t: Tensor, text: Text, hint: Tensor, kind: Tensor | None = None) -> Tensor:
        """The base's prediction, steered: noisy latents N×C×h×w, timesteps N, prompts and hints N×3×H×W in [0, 1].

        ``kind``: for unions, which of :attr:`kinds` each hint is, a number for each row. The network computes in fp32
        (or what autocast says), the base in its own type; the answer is in the base's.
        """

    def plain(self, x: Tensor, t: Tensor, text: Text) -> Tensor:
        """The base's prediction with the control off."""
        made: Tensor = self.base.predict(x.to(self.base.dtype), t, text.to(self.base.dtype))
        return made

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Optimiser groups of a run at ``lr``: ``params`` and ``scale``, a factor on it.

        First the copy (or whatever thinks) at 1; then zero convolutions and hint encoder at ``zero_scale``; then the
        unlocked decoder, at ``unlocked_lr`` whatever ``lr`` is.
        """
        told = [(name, p) for name, p in self.network.named_parameters() if p.requires_grad]
        new = [p for name, p in told if self._is_new(name)]
        rest = [p for name, p in told if not self._is_new(name)]
        made: list[dict[str, Any]] = [
            {"params": rest, "scale": 1.0},
            {"params": new, "scale": self.settings.zero_scale},
        ]
        if self.settings.unlocked:
            made.append({"params": list(self.decoder.parameters()), "scale": self.settings.unlocked_lr / lr})
        return [group for group in made if group["params"]]

    def unit(self, hint: Any, kind: str | None = None, **settings: Any) -> Unit:
        """The control bound to a hint of ``kind`` (its first one where none is told); as in :class:`Unit`."""
        options = {"type": kind or self.kinds[0]} if "type" in getattr(self.network, "options", ()) else {}
        unit: Unit = self.network.unit(hint, **options, **settings)
        return unit

    def calibrate(self, hints: Tensor, latents: Tensor | None = None) -> None:
        """Scale a fresh hint encoder to ``hint_start`` on real hints N×3×H×W and noisy latents, before the first step.

        Nothing happens where ``hint_start`` is 0, the control is not fresh, or nothing in it has such a start.
        """
        if self.fresh and self.settings.hint_start and hint_layer(self.network) is not None:
            tune_hint(self.network, self.settings.hint_start, hints, latents)

    def recompute(self) -> None:
        """Gradient checkpointing: activations are computed again in the backward pass, in the copy and the base.

        The caller's base is not changed. Raises :class:`HackamoreError` for a ControlNet-XS, which keeps what it said
        in the encoder for the decoder.
        """
        branch = getattr(self.network, "branch", self.network)
        trunk = getattr(branch, "trunk", None)
        self._kept = self.base, getattr(trunk, "is_gradient_checkpointing", False), getattr(branch, "recomputes", False)
        self.base = self.base.view()
        self.base.network.enable_gradient_checkpointing()
        if trunk is not None:
            trunk.enable_gradient_checkpointing()
        if hasattr(branch, "recomputes"):
            branch.recomputes = True

    def keep(self) -> None:
        """Undo :meth:`recompute`: the network is left as it was given."""
        if self._kept is None:
            return
        self.base, again, recomputes = self._kept
        branch = getattr(self.network, "branch", self.network)
        if hasattr(branch, "trunk") and not again:
            branch.trunk.disable_gradient_checkpointing()
        if hasattr(branch, "recomputes"):
            branch.recomputes = recomputes
        self._kept = None

    def write(self, folder: Path, eight_bits: bool = False) -> list[Path]:
        """Write the finished control to ``folder`` in every layout of its kind, fp16; returns the files of weights.

        ``load_control(folder, base)`` reads it. ``eight_bits`` stores large convolutions in fp8.
        """
        from hackamore.training.forms.write import write_form

        return write_form(self, folder, eight_bits)

    def _is_new(self, name: str) -> bool:
        if isinstance(self.network, Adapter):
            return name in self.network.silent
        return any(part in name for part in NEW)


class Outside(Trained):
    """A control that says residuals: ControlNet, T2I-Adapter, Control-LoRA, union, blocks of SD3 and FLUX."""

    def predict(self, x: Tensor, t: Tensor, text: Text, hint: Tensor, kind: Tensor | None = None) -> Tensor:
        """Ask the network, then the base."""
        said = self.network.residuals(x, t, text, self._prepared(hint, kind)).to(self.base.dtype)
        if said.blocks or said.singles:
            said = said.spread(self.base.sites.blocks, self.base.sites.singles)
        made: Tensor = self.base.predict(x.to(self.base.dtype), t, text.to(self.base.dtype), said)
        return made

    def _prepared(self, hint: Tensor, kind: Tensor | None) -> Any:
        if "type" not in getattr(self.network, "options", ()):
            return self.network.prepare(hint)
        if self.form != "union":  # FLUX's union, of which one type is trained
            return self.network.prepare(hint, type=self.kinds[0])
        if kind is None and len(self.kinds) > 1:
            raise HackamoreError("which kind each hint is is not told", expected=f"numbers of {', '.join(self.kinds)}")
        numbers = torch.tensor([self.network.number(name) for name in self.kinds], device=hint.device)
        rows = torch.zeros(len(hint), dtype=torch.long, device=hint.device) if kind is None else kind
        return self.network.prepare(hint, type=numbers[rows])


class Inside(Trained):
    """A control that listens inside the base: ControlNet-XS.

    Each prediction uses a view of the base and a voice of its own from :attr:`free`, or makes them, so that several
    threads can predict at once.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.free: list[tuple[Any, Voice]] = []

    def predict(self, x: Tensor, t: Tensor, text: Text, hint: Tensor, kind: Tensor | None = None) -> Tensor:
        """Run the base with the network inside."""
        try:
            base, voice = self.free.pop()
        except IndexError:
            voice = Voice()
            base = self.network.attach(self.base, voice)
        voice.strength, voice.prepared = 1.0, self.network.prepare(hint)
        made: Tensor = base.predict(x.to(base.dtype), t, text.to(base.dtype))
        voice.strength, voice.prepared = 0.0, None
        self.free.append((base, voice))  # after an error it is not used again
        return made

    def recompute(self) -> None:
        """Not here."""
        raise HackamoreError(
            "gradient checkpointing is not for ControlNet-XS",
            remedy=f"a smaller batch, and {setting('memory.gradient_checkpointing', False)}",
        )


def _unheard(network: Any) -> tuple[str, ...]:
    """What of a transformer's last joint block nothing hears: how it would change the text, with no block after it."""
    net = getattr(network, "net", None)
    if net is None or len(getattr(net, "single_transformer_blocks", ())):
        return ()
    last = f"transformer_blocks.{len(net.transformer_blocks) - 1}."
    parts = ("attn.add_q_proj", "attn.norm_added_q", "attn.to_add_out", "ff_context", "norm2_context")
    return tuple(f"{last}{part}." for part in parts)
