"""The text encoders of the transformer families: CLIP and T5, read as diffusers' pipelines read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hackamore.bases.base import Text
from hackamore.bases.text import READING
from hackamore.bases.weighting import read_weights, weigh

CLIP_LENGTH = 77
"""CLIP's tokens; an absent CLIP encoder leaves as many rows of zeros."""

Pick = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Encoder:
    """A text encoder with its tokenizer, and how many tokens of a prompt it reads."""

    network: Any
    tokenizer: Any
    length: int

    def read(self, prompts: Sequence[str], device: torch.device, pick: Pick, **told: Any) -> tuple[Tensor, Any]:
        """Prompts → the states N×length×D that ``pick`` takes from the network's output, and that whole output.

        Words may be weighted (:mod:`hackamore.bases.weighting`); the whole output is that of the words alone.
        """
        with READING:
            return self._read(prompts, device, pick, **told)

    def _read(self, prompts: Sequence[str], device: torch.device, pick: Pick, **told: Any) -> tuple[Tensor, Any]:
        readings = [read_weights(prompt) for prompt in prompts]
        made = self.network(self.ids([reading.text for reading in readings]).to(device), **told)
        if all(reading.plain for reading in readings):
            return pick(made), made

        def run(ids: Tensor, mask: Tensor | None) -> tuple[Tensor, None]:
            return pick(self.network(ids.to(device), attention_mask=mask, **told)), None

        rows = [
            states[None] if reading.plain else weigh(reading, self.tokenizer, run, device, self.length, cut=True)
            for reading, states in zip(readings, pick(made), strict=True)
        ]
        return torch.cat([row.to(rows[0]) for row in rows]), made

    def ids(self, prompts: Sequence[str]) -> Tensor:
        """Token numbers N×length, padded and cut."""
        told = {"padding": "max_length", "max_length": self.length, "truncation": True, "return_tensors": "pt"}
        ids: Tensor = self.tokenizer(list(prompts), **told).input_ids
        return ids

    def lost(self, prompt: str) -> str:
        """The end of ``prompt`` beyond what it reads; empty where it reads all."""
        words = read_weights(prompt).text
        with READING:
            whole = self.tokenizer(words, verbose=False).input_ids
            read = self.tokenizer(words, truncation=True, max_length=self.length, verbose=False).input_ids
        kept = len(read) - 1  # its last is the end mark
        return "" if len(whole) <= len(read) else str(self.tokenizer.decode(whole[kept:], skip_special_tokens=True))


def sd3_text(
    prompts: Sequence[str],
    clip_l: Encoder | None,
    clip_g: Encoder | None,
    t5: Encoder | None,
    *,
    width: int,
    pooled_width: int,
    t5_length: int,
    like: Tensor,
) -> Text:
    """Prompts for SD3: CLIP-L beside CLIP-G (states before the last layer), padded to ``width``, then T5's states.

    ``pooled``: both CLIP's projections, side by side, ``pooled_width`` wide. An absent encoder says zeros, as when it
    was dropped in training (Esser et al. 2024, §5.2). ``like`` gives device and type.
    """
    halves = [None if clip is None else _clip_half(clip, prompts, like.device) for clip in (clip_l, clip_g)]
    known = next((half for half in halves if half is not None), None)
    if known is None:
        states = like.new_zeros(len(prompts), CLIP_LENGTH, width)
        pooled = like.new_zeros(len(prompts), pooled_width)
    else:
        missing = pooled_width - known[1].shape[1]
        blank = known[0].new_zeros(*known[0].shape[:2], missing), known[1].new_zeros(len(prompts), missing)
        left, right = (blank if half is None else half for half in halves)
        states = torch.cat([left[0], right[0]], dim=-1)
        states = F.pad(states, (0, width - states.shape[-1]))
        pooled = torch.cat([left[1], right[1]], dim=-1)
    blank_t5 = like.new_zeros(len(prompts), t5_length, width)
    long = blank_t5 if t5 is None else t5.read(prompts, like.device, _last)[0].to(like)
    tokens = torch.cat([states.to(like), long], dim=-2)
    return Text(tokens, {"pooled": pooled.to(like)})


def _clip_half(clip: Encoder, prompts: Sequence[str], device: torch.device) -> tuple[Tensor, Tensor]:
    """CLIP's states before its last layer N×L×D, and its projection N×P."""
    states, made = clip.read(prompts, device, lambda told: told.hidden_states[-2], output_hidden_states=True)
    return states, made[0]


def _last(made: Any) -> Tensor:
    """T5's last states."""
    states: Tensor = made[0]
    return states


def flux_text(prompts: Sequence[str], clip: Encoder, t5: Encoder, *, guidance: float | None, like: Tensor) -> Text:
    """Prompts for FLUX: T5's states, CLIP's ``pooled`` output, and ``guidance`` for a network that is told it."""
    pooled = clip.read(prompts, like.device, _last)[1].pooler_output
    added = {"pooled": pooled.to(like)}
    if guidance is not None:
        added["guidance"] = torch.full((len(prompts),), guidance, dtype=torch.float32, device=like.device)
    return Text(t5.read(prompts, like.device, _last)[0].to(like), added)
