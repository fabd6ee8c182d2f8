"""Prompts → what CLIP's text encoders make of them, in as many chunks as they need."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hackamore.bases.weighting import Reading, read_weights, weigh

READING = threading.RLock()
"""Held while prompts are read: a tokenizer keeps its padding between calls, so two at once would mix theirs."""


@dataclass(frozen=True)
class Encoder:
    """One CLIP text encoder with its tokenizer.

    ``early``: its states are those before the last layer, without the last norm (SDXL). ``skip``: so many layers are
    left out further (clip skip). Prompts beyond its length are read in several chunks.
    """

    tokenizer: Any
    network: Any
    device: torch.device
    early: bool = False
    skip: int = 0

    @property
    def length(self) -> int:
        """Tokens in a chunk, its begin and end marks among them: 77 for CLIP."""
        return int(min(self.tokenizer.model_max_length, self.network.config.max_position_embeddings))

    @property
    def depth(self) -> int:
        """Its layers."""
        return int(self.network.config.num_hidden_layers)

    def read(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """Prompts → states N×(chunks·L)×D, and the first chunk's pooled state N×P where there is a projection."""
        readings = [read_weights(whole_names(prompt, self.tokenizer)) for prompt in prompts]
        states, pooled = self._run(self._ids([reading.text for reading in readings]))
        if all(reading.plain for reading in readings):
            return states, pooled
        rows = [
            states[row : row + 1] if reading.plain else self._weighed(reading) for row, reading in enumerate(readings)
        ]
        longest = max(row.shape[1] for row in rows)
        return torch.cat([lengthened(row.to(states), longest, self.empty) for row in rows]), pooled  # weighed: float32

    def empty(self) -> Tensor:
        """The states of an empty chunk, 1×L×D: what shorter prompts are padded with."""
        return self._run(self._ids([""]))[0]

    def _ids(self, prompts: list[str]) -> Tensor:
        """Token ids N×(chunks·L): each chunk begins and ends with the marks and is padded as the tokenizer pads."""
        told = {"padding": "max_length", "truncation": True, "max_length": self.length, "return_tensors": "pt"}
        whole: Tensor = self.tokenizer(prompts, **told).input_ids
        inner = [self.tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids for prompt in prompts]
        room = self.length - 2
        chunks = max(1, *(-(-len(ids) // room) for ids in inner))
        if chunks == 1:
            return whole
        begin, end, pad = (getattr(self.tokenizer, f"{mark}_token_id") for mark in ("bos", "eos", "pad"))
        rows = []
        for ids in inner:
            row: list[int] = []
            for k in range(chunks):
                chunk = [begin, *ids[k * room : (k + 1) * room], end]
                row += chunk + [pad] * (self.length - len(chunk))
            rows.append(row)
        return torch.tensor(rows)

    def _run(self, ids: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The network on every chunk: states as long as ``ids``, and the first chunk's pooled state."""
        chunks = ids.reshape(-1, self.length).to(self.device)
        masks = {} if mask is None else {"attention_mask": mask.reshape(-1, self.length).to(self.device)}
        made = self.network(chunks, output_hidden_states=self.early or self.skip > 0, **masks)
        if self.early:
            states = made.hidden_states[-(self.skip + 2)]
        elif self.skip:
            norm = getattr(self.network, "text_model", self.network).final_layer_norm
            states = norm(made.hidden_states[-(self.skip + 1)])
        else:
            states = made.last_hidden_state
        pooled = getattr(made, "text_embeds", None)
        first = None if pooled is None else pooled.reshape(len(ids), -1, pooled.shape[-1])[:, 0]
        return states.reshape(len(ids), -1, states.shape[-1]), first

    def _weighed(self, reading: Reading) -> Tensor:
        return weigh(reading, self.tokenizer, self._run, self.device, self.length, cut=False)


def read_with(encoders: Sequence[Encoder], prompts: Sequence[str]) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """States of all encoders side by side, N×L×(D₁+D₂), the last one's pooled state, and the empty chunk.

    The empty chunk is only made for states of several chunks.
    """
    with READING:
        read = [encoder.read(prompts) for encoder in encoders]
        longest = max(states.shape[1] for states, _ in read)
        made = [lengthened(states, longest, one.empty) for one, (states, _) in zip(encoders, read, strict=True)]
        long = longest > encoders[0].length
        empty = torch.cat([encoder.empty() for encoder in encoders], -1) if long else None
    return torch.cat(made, -1), read[-1][1], empty


def whole_names(prompt: str, tokenizer: Any) -> str:
    """Names of embeddings of several vectors written out, ``name`` → ``name name_1 …``, as diffusers does."""
    added = tokenizer.added_tokens_encoder
    if not any(name.endswith("_1") for name in added):
        return prompt
    for token in {token for token in tokenizer.tokenize(prompt) if f"{token}_1" in added}:
        names = [token]
        while f"{token}_{len(names)}" in added:
            names.append(f"{token}_{len(names)}")
        prompt = prompt.replace(token, " ".join(names))
    return prompt


def lengthened(states: Tensor, length: int, empty: Callable[[], Tensor]) -> Tensor:
    """``states`` N×L×D with the empty chunk repeated behind them until they are ``length`` long."""
    if states.shape[1] >= length:
        return states
    chunk = empty()
    missing = (length - states.shape[1]) // chunk.shape[1]
    return torch.cat([states, chunk.expand(len(states), -1, -1).repeat(1, missing, 1)], 1)
