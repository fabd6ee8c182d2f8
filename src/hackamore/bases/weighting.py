"""Word weights: A1111's brackets and compel's signs → fragments with weights → weighted states, by compel.

Read are ``(words)`` ×1.1, ``[words]`` ÷1.1, ``(words:1.3)`` ×1.3, nested as they come; behind a bracket or a word
``+`` is ×1.1 and ``-`` ×0.9, as often as they stand there, and behind a bracket a number is the weight itself.
A backslash before a bracket, colon or sign makes it an ordinary letter.
``("one", "other").blend(0.6, 0.4)`` and ``.and()`` are left to compel as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hackamore.core.errors import HackamoreError

ROUND, SQUARE, PLUS, MINUS = 1.1, 1 / 1.1, 1.1, 0.9

_ENDS = r"(?=[\s,.;:!?()\[\]]|$)"
_TOKENS = re.compile(
    r"\\(?P<letter>[()\[\]\\:+\-])"
    r"|(?P<open>[(\[])"
    r"|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)"
    rf"|(?P<close>\))(?:(?P<signs>\++|-+){_ENDS}|(?P<number>\d+\.?\d*|\.\d+){_ENDS})?"
    r"|(?P<square>\])"
    rf"|(?P<word>[^\s()\[\]\\:,.+]*[^\s()\[\]\\:,.+\-])(?P<times>\++|-+){_ENDS}"
)
_EDITING = re.compile(r"(?<!\\)\[[^\[\]\\]*(:[^\[\]\\]*:?\s*\d*\.?\d+\s*|\|[^\[\]\\]*)(?<!\\)\]")
_EXTRA = re.compile(r"<(lora|lyco|hypernet):[^<>]*>")
_COMPOSED = re.compile(r"^\s*\((?P<parts>.*)\)\.(blend|and|add)\([^()]*\)\s*$", re.DOTALL)


class Fragment(NamedTuple):
    """A piece of a prompt and how much it counts."""

    text: str
    weight: float


class Reading(NamedTuple):
    """A prompt as read: its pieces, and the whole expression where it is one for compel alone."""

    fragments: tuple[Fragment, ...]
    composed: str = ""

    @property
    def text(self) -> str:
        """The words without signs and weights."""
        return "".join(fragment.text for fragment in self.fragments)

    @property
    def plain(self) -> bool:
        """Whether nothing is weighted, so that :attr:`text` says it all."""
        return not self.composed and all(fragment.weight == 1 for fragment in self.fragments)


def read_weights(prompt: str) -> Reading:
    """A prompt in pieces of one weight each.

    Raises :class:`HackamoreError` for what other programs read in prompts and this does not: ``[one:other:0.5]``,
    ``[one|other]`` and ``<lora:…>``.
    """
    _refuse(prompt)
    if composed := _COMPOSED.match(prompt):
        return Reading((Fragment(composed["parts"].replace('"', " ").strip(), 1.0),), prompt)
    pieces: list[list[Any]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def multiply(start: int, factor: float) -> None:
        for piece in pieces[start:]:
            piece[1] *= factor

    def close(bracket: str, factor: float, letters: str) -> None:
        if opened[bracket]:
            multiply(opened[bracket].pop(), factor)
        else:
            pieces.append([letters, 1.0])

    at = 0
    for found in _TOKENS.finditer(prompt):
        if found.start() > at:
            pieces.append([prompt[at : found.start()], 1.0])
        at = found.end()
        match found.lastgroup:
            case "letter":
                pieces.append([found["letter"], 1.0])
            case "open":
                opened[found["open"]].append(len(pieces))
            case "weight":
                close("(", float(found["weight"]), found[0])
            case "square":
                close("[", SQUARE, "]")
            case "times":
                pieces.append([found["word"], _signs(found["times"])])
            case _:
                close("(", _factor(found), found[0])
    pieces.append([prompt[at:], 1.0])
    for bracket, factor in (("(", ROUND), ("[", SQUARE)):
        for start in opened[bracket]:
            multiply(start, factor)
    return Reading(_joined(pieces))


def literal(text: str) -> str:
    """``text`` as a prompt that means just these words: what would be a sign is escaped."""
    return re.sub(r"([()\[\]\\:+\-])", r"\\\1", str(text))


def _factor(found: re.Match[str]) -> float:
    """What a closing round bracket multiplies by: the number or signs behind it, else 1.1."""
    if found["number"]:
        return float(found["number"])
    return _signs(found["signs"]) if found["signs"] else ROUND


def _signs(signs: str) -> float:
    return float((PLUS if signs[0] == "+" else MINUS) ** len(signs))


def _joined(pieces: list[list[Any]]) -> tuple[Fragment, ...]:
    """Neighbours of one weight as one piece, empty ones left out."""
    joined: list[Fragment] = []
    for text, weight in pieces:
        weight = 1.0 if abs(weight - 1) < 1e-9 else weight
        if joined and (joined[-1].weight == weight or not text):
            joined[-1] = Fragment(joined[-1].text + text, joined[-1].weight)
        elif text:
            joined.append(Fragment(text, weight))
    return tuple(joined) or (Fragment("", 1.0),)


def _refuse(prompt: str) -> None:
    for pattern, what, remedy in (
        (_EDITING, "words that change while the picture is made", "one wording, or \\[ for a plain bracket"),
        (_EXTRA, "weights files named inside a prompt", "leave them out; the command line reads --lora FILE:SCALE"),
    ):
        if found := pattern.search(prompt):
            raise HackamoreError(f"{what} are not supported", received=found[0], remedy=remedy)


def weigh(
    reading: Reading,
    tokenizer: Any,
    run: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]],
    device: torch.device,
    length: int,
    *,
    cut: bool,
) -> Tensor:
    """The states 1×(chunks·L)×D of a prompt whose fragments weigh differently.

    compel moves the states of heavier words away from those of the empty prompt, and mixes in the prompt without the
    lighter words. ``run`` maps token ids and mask, both N×L, to states; ``cut`` keeps the first chunk only.
    """
    from compel import Compel, ReturnedEmbeddingsType
    from compel.embeddings_provider import SplitLongTextMode
    from compel.prompt_parser import Conjunction, FlattenedPrompt

    def network(ids: Tensor, mask: Tensor | None = None, **_: Any) -> Any:
        return SimpleNamespace(last_hidden_state=run(ids, mask)[0])

    network.device, network.dtype = device, torch.float32  # type: ignore[attr-defined]
    weigher = Compel(
        tokenizer,
        network,
        truncate_long_prompts=cut,
        returned_embeddings_type=ReturnedEmbeddingsType.LAST_HIDDEN_STATES_NORMALIZED,
        split_long_text_mode=SplitLongTextMode.BRUTAL,
        device=str(device),
        model_max_length=length,
    )
    states: Tensor
    try:
        if reading.composed:
            told = Compel.parse_prompt_string(reading.composed)
        else:
            told = Conjunction([FlattenedPrompt([tuple(fragment) for fragment in reading.fragments])], [1.0])
        states, _ = weigher.build_conditioning_tensor_for_conjunction(told)
    except Exception as error:
        raise HackamoreError(
            "the word weights of the prompt cannot be applied",
            received=f"“{reading.text[:80]}”: {type(error).__name__}: {str(error)[:120]}",
        ) from error
    return states
