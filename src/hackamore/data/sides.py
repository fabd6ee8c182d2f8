"""Sides in captions: what a picture's caption says of its mirror image."""

from __future__ import annotations

import re

SIDE = re.compile(r"(?<![^\W_])(left|right)((?:most|hand|handed|wards?|side)?)(?![^\W_])", re.IGNORECASE)
"""A word that names a side, also in ``left-hand`` and ``looking_left``; in ``bright`` there is none."""
OTHER = {"left": "right", "right": "left"}


def names_sides(caption: str) -> bool:
    """Whether a mirror makes the caption false."""
    return SIDE.search(caption) is not None


def mirrored(caption: str) -> str:
    """The caption with left and right exchanged; capitals stay."""
    return SIDE.sub(_other, caption)


def _other(word: re.Match[str]) -> str:
    side, end = word.groups()
    other = OTHER[side.lower()]
    if side.isupper():
        return other.upper() + end
    return (other.capitalize() if side[0].isupper() else other) + end
