"""Figures of whole sets of pictures: how near they are to the true ones, and to their captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hackamore.core.image import Picture, to_hint
from hackamore.evaluation.features import caption_hits, deep_features, told
from hackamore.evaluation.judge import figure_from
from hackamore.evaluation.results import Figure
from hackamore.evaluation.score import one, ratio
from hackamore.metrics.distribution import frechet_distance, inception_distances, kernel_distance

FID, KID = "FID (inspector features)", "KID (inspector features)"
ACCURACY = "caption accuracy (inspector)"
CLIP = "CLIP score"


@dataclass(frozen=True)
class Critic:
    """Who judges sets of pictures against the ``true`` ones.

    ``known`` holds what is known of each true picture, where they are worlds; ``clip`` scores a picture and a caption;
    ``inception`` adds the distances on Inception's features.
    """

    inspector: Any
    true: Sequence[Picture]
    captions: Sequence[str]
    known: Sequence[Mapping[str, str]] | None = None
    clip: Callable[[Picture, str], float] | None = None
    inception: bool = False

    def __call__(self, pictures: Sequence[Picture]) -> dict[str, Figure]:
        """The figures of a set, by name; distances need two pictures, caption accuracy needs worlds."""
        figures: dict[str, Figure] = {}
        if len(pictures) > 1 and not all(a is b for a, b in zip(pictures, self.true, strict=True)):
            figures |= self._distances(pictures)
        if self.known is not None:
            wanted = [told(caption, known) for caption, known in zip(self.captions, self.known, strict=True)]
            hits = [caption_hits(self.inspector, p, w) for p, w in zip(pictures, wanted, strict=True)]
            figures[ACCURACY] = figure_from(np.array(hits, np.float64), ratio)
        if self.clip is not None:
            values = [one(self.clip(p, caption)) for p, caption in zip(pictures, self.captions, strict=True)]
            figures[CLIP] = figure_from(np.stack(values), ratio)
        return figures

    @cached_property
    def _features(self) -> Tensor:
        return deep_features(self.inspector, self.true)

    def _distances(self, pictures: Sequence[Picture]) -> dict[str, Figure]:
        found = standardised(deep_features(self.inspector, pictures), self._features)
        true = standardised(self._features, self._features)
        told = {FID: frechet_distance(found, true), KID: kernel_distance(found, true)}
        if self.inception:
            fid, kid = inception_distances(_bytes(pictures), _bytes(self.true))
            told |= {"FID (Inception)": fid, "KID (Inception)": kid}
        return {name: Figure(value=round(value, 4)) for name, value in told.items()}


def standardised(features: Tensor, true: Tensor) -> Tensor:
    """Features N×D about the true pictures' mean, in the unit in which these vary by 1 along the average feature.

    The features of a network have no unit of their own, and the kernel of KID is no good with large numbers.
    """
    deviation = true.var(0).mean().sqrt()
    return (features - true.mean(0)) / torch.where(deviation > 0, deviation, torch.ones_like(deviation))


def _bytes(pictures: Sequence[Picture]) -> Tensor:
    return (to_hint(list(pictures)) * 255 + 0.5).byte()
