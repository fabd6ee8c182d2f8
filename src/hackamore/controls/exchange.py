"""The conversation of a ControlNet-XS with its base: hooks on a view of a U-Net, told in the order of a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hackamore.controls.control import Voice


class Exchange:
    """One control in one view of a base: what it keeps from one exchange to the next within a prediction.

    The control computes in the floating-point type of its encoded hint, whatever the base's is.
    """

    def __init__(self, voice: Voice, skips: int) -> None:
        self.voice, self.outputs = voice, skips + 1
        self.x = torch.empty(0)
        self.time = torch.empty(0)
        self.skips: list[Tensor] = []

    @property
    def silent(self) -> bool:
        """Whether nothing is to be done at this step."""
        return self.voice.strength == 0

    def say(self, zero: nn.Module, x: Tensor, site: int) -> Tensor:
        """What the base hears at skip ``site`` of the control's features ``x``; the last site is the mid block's."""
        return self.voice.say(zero(x), site, self.outputs)

    def begin(
        self, first: nn.Module, zero: nn.Module, _: nn.Module, args: tuple[Tensor, ...], output: Tensor
    ) -> Tensor | None:
        """After the base's first convolution."""
        if self.silent:
            return None
        prepared = self.voice.prepared
        self.x = first(args[0].to(prepared.dtype)) + prepared
        self.skips = [self.x]
        return output + self.say(zero, self.x, 0).to(output.dtype)

    def tell_time(
        self, own: nn.Module, mix: float, theirs: nn.Module, args: tuple[Tensor, ...], output: Tensor
    ) -> Tensor | None:
        """Move the base's time embedding towards the control's own; several controls' moves add up."""
        if self.silent:
            return None
        mine = own(args[0].to(self.voice.prepared.dtype))
        move: Tensor = mix * (mine - theirs.forward(args[0]))
        if self.voice.silent:
            move[: self.voice.silent] = 0
        return output + move.to(output.dtype)

    def listen(self, zero: nn.Module, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        """Before a part of the base's encoder: put what the base knows beside what the control knows."""
        if self.silent:
            return
        if len(args) > 1:
            self.time = args[1].to(self.x.dtype)
        self.x = torch.cat([self.x, zero(args[0].to(self.x.dtype))], 1)

    def answer(
        self, parts: Sequence[nn.Module], zero: nn.Module, site: int, _: nn.Module, args: Any, told: Any, output: Any
    ) -> Any:
        """After a part of the base's encoder: run the control's, and say what comes of it."""
        if self.silent:
            return None
        first, *attention = parts
        self.x = first(self.x, self.time) if hasattr(first, "time_emb_proj") else first(self.x)
        for part in attention:
            words = told["encoder_hidden_states"].to(self.x.dtype)
            self.x = part(self.x, encoder_hidden_states=words, return_dict=False)[0]
        self.skips.append(self.x)
        theirs = output[0] if isinstance(output, tuple) else output
        heard = theirs + self.say(zero, self.x, site).to(theirs.dtype)
        return (heard, *output[1:]) if isinstance(output, tuple) else heard

    def answer_mid(self, block: nn.Module, zero: nn.Module, _: nn.Module, args: Any, told: Any, output: Any) -> Any:
        """After the base's mid block."""
        if self.silent:
            return None
        self.x = block(self.x, self.time, encoder_hidden_states=told["encoder_hidden_states"].to(self.x.dtype))
        return output + self.say(zero, self.x, self.outputs - 1).to(output.dtype)

    def remind(self, zero: nn.Module, site: int, _: nn.Module, args: tuple[Tensor, ...]) -> Any:
        """Before a layer of the base's decoder, whose input is its features and, behind them, the skip."""
        if self.silent:
            return None
        said = self.say(zero, self.skips[site], site).to(args[0].dtype)
        features, skip = args[0][:, : said.shape[1]], args[0][:, said.shape[1] :]
        return (torch.cat([features + said, skip], 1), *args[1:])
