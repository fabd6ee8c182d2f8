"""The text encoders of the transformer families: CLIP and T5, read as diffusers' pipelines read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hackamore.bases.base import Text
from hackamore.core.errors import HackamoreError

CLIP_LENGTH = 77
"""CLIP's tokens; an absent CLIP encoder leaves as many rows of zeros."""

_WEIGHTED = re.compile(r"\([^()]+:\s*[0-9]*\.?[0-9]+\s*\)")


@dataclass(frozen=True)
class Encoder:
    """A text encoder with its tokenizer, and how many tokens of a prompt it reads."""

    network: Any
    tokenizer: Any
    length: int

    def ids(self, prompts: Sequence[str]) -> Tensor:
        """Token numbers N×length, padded and cut."""
        told = {"padding": "max_length", "max_length": self.length, "truncation": True, "return_tensors": "pt"}
        device = next(self.network.parameters()).device
        ids: Tensor = self.tokenizer(list(prompts), **told).input_ids.to(device)
        return ids

    def lost(self, prompt: str) -> str:
        """The end of ``prompt`` beyond what it reads; empty where it reads all."""
        told = {"truncation": True, "max_length": self.length, "verbose": False}
        whole = self.tokenizer(prompt, verbose=False).input_ids
        read = self.tokenizer(prompt, **told).input_ids
        kept = len(read) - 1  # its last is the end mark
        return "" if len(whole) <= len(read) else str(self.tokenizer.decode(whole[kept:], skip_special_tokens=True))


def check_plain(prompts: Sequence[str], family: str) -> None:
    """Refuse ``(word:1.2)``: with T5 among the encoders a weight has no agreed meaning."""
    for prompt in prompts:
        if found := _WEIGHTED.search(prompt):
            raise HackamoreError(
                f"word weights do not reach the text encoders of {family}",
                received=found.group(),
                expected="plain words; T5 understands sentences that say what matters",
            )


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
    halves = [None if clip is None else _penultimate(clip, prompts) for clip in (clip_l, clip_g)]
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
    long = blank_t5 if t5 is None else t5.network(t5.ids(prompts))[0].to(like)
    tokens = torch.cat([states.to(like), long], dim=-2)
    return Text(tokens, {"pooled": pooled.to(like)})


def _penultimate(clip: Encoder, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """CLIP's states before its last layer N×L×D, and its projection N×P."""
    told = clip.network(clip.ids(prompts), output_hidden_states=True)
    return told.hidden_states[-2], told[0]


def flux_text(prompts: Sequence[str], clip: Encoder, t5: Encoder, *, guidance: float | None, like: Tensor) -> Text:
    """Prompts for FLUX: T5's states, CLIP's ``pooled`` output, and ``guidance`` for a network that is told it."""
    pooled = clip.network(clip.ids(prompts), output_hidden_states=False).pooler_output
    added = {"pooled": pooled.to(like)}
    if guidance is not None:
        added["guidance"] = torch.full((len(prompts),), guidance, dtype=torch.float32, device=like.device)
    return Text(t5.network(t5.ids(prompts), output_hidden_states=False)[0].to(like), added)
