"""A CLIP-style byte-pair tokenizer of our own, learned from captions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 40


def learn_tokenizer(captions: Iterable[str], folder: Path, words: int = 1024) -> CLIPTokenizer:
    """Learn byte-pair merges (Sennrich et al. 2016) on ``captions`` and write ``vocab.json`` and ``merges.txt``.

    The vocabulary holds every byte, every byte with the end-of-word mark, at most ``words`` entries with the merges,
    and the two markers at its end, so that any text at all can be encoded.
    """
    counts = Counter(word for caption in captions for word in caption.lower().replace(",", " , ").split())
    symbols = {word: (*word[:-1], word[-1] + "</w>") for word in counts}
    letters = _byte_letters()
    vocabulary = letters + [letter + "</w>" for letter in letters]
    merges: list[tuple[str, str]] = []
    while len(vocabulary) + 2 < words:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in symbols.items():
            for pair in pairwise(parts):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        if "".join(best) not in vocabulary:
            vocabulary.append("".join(best))
        symbols = {word: _merged(parts, best) for word, parts in symbols.items()}
    vocabulary += [START, END]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=LENGTH
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def _merged(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return tuple(merged)


def _byte_letters() -> list[str]:
    """One printable letter for each of the 256 bytes, as in GPT-2's byte-level encoding."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
