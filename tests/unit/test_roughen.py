"""Hints that are varied stay hints of their kind, and the same numbers give the same hint."""

from __future__ import annotations

import numpy as np
import pytest

from hackamore.annotators.catalog import annotate
from hackamore.core import palette
from hackamore.data.roughen import roughened
from hackamore.worlds import render

WORLD = render(7, 96)
EDGES = annotate("canny", WORLD.picture)
DRAWS = [(float(a), float(b)) for a, b in np.random.default_rng(0).random((60, 2))]


def test_the_same_numbers_give_the_same_hint() -> None:
    made = [roughened(EDGES, "canny", u, 1.0) for u in DRAWS]
    assert all((a == roughened(EDGES, "canny", u, 1.0)).all() for a, u in zip(made, DRAWS, strict=True))
    assert len({m.tobytes() for m in made}) > 40
    shares = [(m > 127).mean() for m in made]
    assert min(shares) < 0.6 * (EDGES > 127).mean() < 1.5 * (EDGES > 127).mean() < max(shares)


def test_strength_is_how_often() -> None:
    changed = [np.mean([(roughened(EDGES, "canny", u, s) != EDGES).any() for u in DRAWS]) for s in (0.0, 0.3, 1.0)]
    assert changed[0] == 0
    assert 0.1 < changed[1] < changed[2] < 1


@pytest.mark.parametrize("u", DRAWS[:20])
def test_classes_stay_classes(u: tuple[float, float]) -> None:
    hint = palette.paint(WORLD.segmentation)
    made = roughened(hint, "seg", u, 1.0)
    assert palette.read(made).shape == WORLD.segmentation.shape
    assert made.shape == hint.shape
    assert made.dtype == np.uint8


def test_people_stay_where_they_are() -> None:
    hint = np.zeros((32, 32, 3), np.uint8)
    hint[4:9] = (255, 0, 0)
    assert all(roughened(hint, "pose", u, 1.0) is hint for u in DRAWS)
