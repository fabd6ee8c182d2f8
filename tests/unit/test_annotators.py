import cv2
import numpy as np
import pytest

from hackamore.annotators.canny import Canny, automatic_threshold
from hackamore.annotators.catalog import ANNOTATORS, annotate, annotator_class, make_annotator
from hackamore.core import palette
from hackamore.core.errors import HackamoreError
from hackamore.worlds import render

WORLD = render(9_000_100, 96)


@pytest.mark.parametrize("kind", ["canny", "none", "invert"])
def test_sizes_determinism_and_no_change_of_the_picture(kind):
    before = WORLD.picture.copy()
    first, second = (annotate(kind, WORLD.picture, size=(64, 40)) for _ in range(2))
    assert first.shape == (40, 64, 3)
    assert first.tobytes() == second.tobytes()
    assert np.array_equal(WORLD.picture, before)
    assert annotator_class(kind).kind == kind


def test_canny_is_opencv_with_given_thresholds():
    expected = cv2.Canny(WORLD.picture, 40, 100)
    assert np.array_equal(Canny(low=40, high=100)(WORLD.picture)[..., 1], expected)
    assert Canny(low=40).thresholds(WORLD.picture) == (40, 100)
    assert Canny(high=100).thresholds(WORLD.picture) == (40, 100)


@pytest.mark.parametrize("density", [0.03, 0.08, 0.15])
def test_automatic_thresholds_reach_their_density(density):
    share = (Canny(density=density)(WORLD.picture) > 0).mean()
    assert share == pytest.approx(density, rel=0.4)


def test_automatic_thresholds_of_a_flat_picture_stay_in_range():
    assert 20 <= automatic_threshold(np.full((32, 32, 3), 90, np.uint8), 0.08) <= 400


def test_seg_keeps_exact_colours_when_resized():
    hint = annotate("seg", palette.paint(WORLD.segmentation), size=(40, 56))
    assert np.array_equal(palette.paint(palette.read(hint)), hint)


def test_parameters_are_checked_by_name():
    with pytest.raises(HackamoreError, match="low"):
        make_annotator("canny", low=200, high=100)
    with pytest.raises(HackamoreError, match="did you mean canny"):
        make_annotator("cannny")
    assert make_annotator("canny", low="30").low == 30
