import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score, jaccard_score

from hackamore.evaluation.fidelity import Fidelity, canny_score, measure
from hackamore.metrics.edges import edge_f1
from hackamore.metrics.regions import agreement, mean_iou

maps = arrays(np.bool_, (9, 11))
classes = arrays(np.uint8, (9, 11), elements=st.integers(0, 3))


@given(maps, maps)
def test_f1_without_tolerance_is_the_binary_f1(found, true):
    expected = f1_score(true.ravel(), found.ravel(), zero_division=1.0)
    assert edge_f1(found, true) == pytest.approx(expected)


@given(maps, maps)
def test_tolerance_only_helps(found, true):
    assert edge_f1(found, true) <= edge_f1(found, true, 1) + 1e-12 <= edge_f1(found, true, 2) + 2e-12 <= 1 + 3e-12


def test_a_line_moved_by_two_pixels():
    line = np.zeros((16, 16), bool)
    line[5] = True
    moved = np.roll(line, 2, 0)
    assert edge_f1(moved, line, 2) == 1
    assert edge_f1(moved, line, 1) == 0


@given(classes, classes)
def test_mean_iou_is_the_macro_jaccard_of_present_classes(found, true):
    present = np.unique(true)
    expected = jaccard_score(true.ravel(), found.ravel(), labels=present, average="macro", zero_division=0)
    assert mean_iou(found, true, 4) == pytest.approx(expected)
    assert agreement(true, true) == 1


def test_floor_never_meets_its_own_hint_and_normalising_spans_floor_to_ceiling():
    hints = [np.zeros((8, 8, 3), np.uint8) for _ in range(4)]
    for k, hint in enumerate(hints):
        hint[2 * k] = 255

    def score(picture, hint):
        return float(np.array_equal(picture, hint))

    told = measure("same", score, hints, hints, hints)
    assert (told.figure, told.floor, told.ceiling, told.normalised) == (1, 0, 1, 1)
    assert Fidelity("f", 0.5, 0.3).normalised is None
    assert Fidelity("f", 0.5, 0.3, 0.7).normalised == pytest.approx(0.5)


def test_canny_score_of_a_picture_with_its_own_edges_is_one():
    from hackamore.annotators.canny import Canny
    from hackamore.worlds import render

    picture = render(9_000_200, 64).picture
    assert canny_score(0)(picture, Canny()(picture)) == 1
