"""Annotators against independent implementations."""

import cv2
import numpy as np
import pytest
from skimage import data
from skimage.feature import canny as skimage_canny
from skimage.morphology import thin as skimage_thin
from sklearn.datasets import load_sample_image

from hackamore.annotators.canny import Canny
from hackamore.annotators.thinning import thin
from hackamore.metrics.edges import edge_f1

PICTURES = {
    "china": cv2.resize(load_sample_image("china.jpg"), (320, 213), interpolation=cv2.INTER_AREA),
    "flower": cv2.resize(load_sample_image("flower.jpg"), (320, 213), interpolation=cv2.INTER_AREA),
    "astronaut": cv2.resize(data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA),
    "coffee": cv2.resize(data.coffee(), (300, 200), interpolation=cv2.INTER_AREA),
    "noise": np.random.default_rng(0).integers(0, 256, (97, 130, 3), dtype=np.uint8),
    "blobs": cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8), (0, 0), 2) * 4,
}


def written_out_canny(picture, low, high):
    """Canny (1986) in plain numpy: Sobel, |gx| + |gy| of the strongest channel, non-maximum suppression in four
    directions, hysteresis; no smoothing."""
    padded = np.pad(picture.astype(np.int32), ((1, 1), (1, 1), (0, 0)), mode="edge")
    row = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    column = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    gx, gy = row[:, 2:] - row[:, :-2], column[2:] - column[:-2]
    strongest = (np.abs(gx) + np.abs(gy)).argmax(axis=2)[..., None]
    gx, gy = (np.take_along_axis(g, strongest, 2)[..., 0] for g in (gx, gy))
    strength = np.abs(gx) + np.abs(gy)
    m = np.pad(strength, 1)
    centre, ax, ay = m[1:-1, 1:-1], np.abs(gx), np.abs(gy)
    flat, steep = ay < np.tan(np.pi / 8) * ax, ay > np.tan(3 * np.pi / 8) * ax
    falling = (gx < 0) != (gy < 0)
    across = (centre > m[1:-1, :-2]) & (centre >= m[1:-1, 2:])
    down = (centre > m[:-2, 1:-1]) & (centre >= m[2:, 1:-1])
    first = (centre > m[:-2, :-2]) & (centre > m[2:, 2:])
    second = (centre > m[:-2, 2:]) & (centre > m[2:, :-2])
    crest = np.where(flat, across, np.where(steep, down, np.where(falling, second, first)))
    weak = crest & (strength > low)
    _, labels = cv2.connectedComponents(weak.astype(np.uint8), connectivity=8)
    sure = np.unique(labels[weak & (strength > high)])
    return weak & np.isin(labels, sure)


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("thresholds", [(20, 50), (60, 150), (150, 400)])
def test_canny_is_the_one_written_out(name, thresholds):
    found = Canny(low=thresholds[0], high=thresholds[1])(PICTURES[name])[..., 0] > 0
    assert np.array_equal(found, written_out_canny(PICTURES[name], *thresholds))


@pytest.mark.parametrize("name", ["china", "flower", "astronaut", "coffee"])
def test_canny_is_near_scikit_image_s(name):
    """They differ in the norm of the gradient (|gx| + |gy| here, Euclidean there) and in interpolation along it."""
    grey = cv2.cvtColor(PICTURES[name], cv2.COLOR_RGB2GRAY)
    other = skimage_canny(grey.astype(float), sigma=0, low_threshold=50, high_threshold=120)
    found = Canny(low=50, high=120)(np.repeat(grey[..., None], 3, 2))[..., 0] > 0
    assert edge_f1(found, other) > 0.8
    assert edge_f1(found, other, tolerance=1) > 0.9


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_thinning_is_scikit_image_s_bit_for_bit(name, share):
    grey = cv2.cvtColor(PICTURES[name], cv2.COLOR_RGB2GRAY)
    mask = grey > np.quantile(grey, share)
    assert np.array_equal(thin(mask), skimage_thin(mask))


def test_thinning_of_drawn_shapes_is_scikit_image_s():
    for mask in (~data.horse(), data.page() < 100, np.ones((50, 70), bool)):
        assert np.array_equal(thin(mask), skimage_thin(mask))
