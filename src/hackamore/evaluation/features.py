"""Quality of sets of pictures: distances of deep features, captions read back, CLIP."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hackamore.core.errors import HackamoreError
from hackamore.core.files import sha256
from hackamore.core.image import Picture, to_hint

BATCH = 32

CAPTION_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "time": {
        "sunrise": ("sunrise", "dawn", "early morning"),
        "noon": ("noon", "midday"),
        "afternoon": ("afternoon",),
        "sunset": ("sunset", "sundown"),
        "dusk": ("dusk", "twilight"),
        "night": ("night", "moonlight"),
    },
    "season": {name: (name,) for name in ("spring", "summer", "autumn", "winter")},
    "weather": {
        "clear": ("clear sky", "clear weather"),
        "cloudy": ("cloudy sky", "clouds", "white clouds"),
        "overcast": ("overcast", "grey sky"),
        "foggy": ("fog", "misty"),
        "stormy": ("storm", "stormy sky", "dark storm clouds"),
    },
    "terrain": {
        "mountains": ("mountains", "mountain range", "mountain landscape", "big mountain"),
        "hills": ("hills",),
        "dunes": ("dunes", "sandy desert"),
        "canyon": ("canyon", "mesas"),
        "islands": ("islands", "archipelago"),
        "coast": ("coast", "seashore"),
        "volcano": ("volcano",),
        "plains": ("plain", "grassland"),
        "woods": ("forest interior", "inside of a forest", "deep woods", "dense forest"),
    },
    "water": {"lake": ("lake",), "river": ("river",), "sea": ("sea", "ocean"), "oasis": ("oasis",)},
    "trees": {
        "pine": ("pine", "pines", "fir trees"),
        "autumn": ("autumn trees",),
        "blossom": ("blossoming", "blossom"),
        "bare": ("bare", "leafless"),
        "palm": ("palm", "palms"),
    },
    "style": {
        "watercolour": ("watercolour",),
        "pixel art": ("pixel art",),
        "ink": ("ink",),
        "photo": ("photo", "photograph"),
    },
    "sight": {
        "hut": ("hut", "house", "cabin"),
        "village": ("village", "houses", "a few huts"),
        "bridge": ("bridge",),
        "waterfall": ("waterfall", "falling water"),
    },
}
"""The words by which a caption of a world tells an attribute; what it does not tell it is not asked for."""


def judge_hash() -> str:
    """A short hash of the weights of Meadow's inspector."""
    from hackamore.annotators.inspector import WEIGHTS

    return sha256(WEIGHTS)[:16]


def told(caption: str, attributes: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a world that its caption names, of those that an inspector reads."""

    def named(words: Sequence[str]) -> bool:
        return any(re.search(rf"\b{word}\b", caption) for word in words)

    return {
        name: attributes[name]
        for name, words in CAPTION_WORDS.items()
        if attributes.get(name) in words and named(words[attributes[name]])
    }


def caption_hits(inspector: Any, picture: Picture, wanted: Mapping[str, str]) -> tuple[int, int]:
    """(attributes of the caption that the inspector reads from the picture, attributes of the caption)."""
    found = inspector.attributes(picture)
    asked = {name: word for name, word in wanted.items() if name in found}
    return sum(found[name] == word for name, word in asked.items()), len(asked)


def deep_features(inspector: Any, pictures: Sequence[Picture]) -> Tensor:
    """The inspector's pooled features of pictures, N×D float64."""
    parts = [inspector.features(to_hint(pictures[k : k + BATCH])) for k in range(0, len(pictures), BATCH)]
    return torch.cat(parts).double()


def clip_scorer(folder: Path) -> Callable[[Picture, str], float]:
    """A function (picture, caption) → CLIP score: 100 · max(cosine, 0) of the two embeddings (Hessel et al. 2021).

    ``folder`` holds a CLIP model in transformers' layout: weights, tokenizer and image processor.
    Raises :class:`HackamoreError` when it does not.
    """
    if not folder.is_dir():
        raise HackamoreError(f"no such folder: {folder}", expected="a CLIP model in transformers' layout")
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    try:
        model = CLIPModel.from_pretrained(folder, local_files_only=True).eval().requires_grad_(False)
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise HackamoreError(
            f"{folder} cannot be loaded as a CLIP model",
            received=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
            expected="weights, tokenizer and image processor in transformers' layout",
        ) from error
    length = model.config.text_config.max_position_embeddings

    def score(picture: Picture, caption: str) -> float:
        text = tokenizer([caption], padding=True, truncation=True, max_length=length, return_tensors="pt")
        seen = processor(picture, return_tensors="pt")
        with torch.no_grad():
            made = model(**text, **seen)
        cosine = torch.nn.functional.cosine_similarity(made.text_embeds, made.image_embeds)
        return 100 * max(0.0, float(cosine))

    return score
