import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from hackamore.annotators.catalog import annotate
from hackamore.annotators.color import Color, Recolor
from hackamore.annotators.inpaint import Inpaint
from hackamore.annotators.normal_depth import NormalDepth, normals_of
from hackamore.annotators.shuffle import Shuffle
from hackamore.annotators.threshold import Threshold
from hackamore.annotators.tile import Blur, Tile
from hackamore.core.errors import HackamoreError
from hackamore.core.image import resize
from hackamore.data.worlds import TRUTHS
from hackamore.worlds import render

PHOTO = load_sample_image("flower.jpg")


def histogram(picture):
    counts, _ = np.histogramdd((picture // 64).reshape(-1, 3), bins=4, range=[(0, 4)] * 3)
    return counts / counts.sum()


def test_shuffle_keeps_the_colours_and_moves_the_content():
    picture = cv2.resize(PHOTO, (320, 240))
    shuffled = [Shuffle(seed=seed)(picture) for seed in range(4)]
    for one in shuffled:
        assert 0.5 * np.abs(histogram(one) - histogram(picture)).sum() < 0.3
        assert np.abs(one.astype(int) - picture).mean() > 20
    assert not np.array_equal(shuffled[0], shuffled[1])
    assert np.array_equal(Shuffle(seed=2)(picture), shuffled[2])


def test_shuffle_takes_the_whole_picture_evenly():
    ramp = np.repeat(np.tile(np.arange(256, dtype=np.uint8), (256, 1))[..., None], 3, 2)
    counts = np.bincount(Shuffle()(ramp)[..., 0].ravel() // 32, minlength=8)
    assert counts / counts.sum() == pytest.approx(np.full(8, 1 / 8), abs=0.01)


def test_shuffle_draws_on_no_global_state():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    Shuffle(seed=5)(PHOTO[:64, :64])
    assert np.array_equal(np.random.get_state()[1], before)


def test_tile_keeps_what_is_coarse():
    picture = cv2.resize(PHOTO, (256, 192))
    assert np.array_equal(Tile(factor=1)(picture), picture)
    assert Tile()(picture).mean() == pytest.approx(picture.mean(), abs=0.5)
    detail = [np.abs(Tile(factor=f)(picture).astype(int) - picture).mean() for f in (2, 4, 16)]
    assert detail[0] < detail[1] < detail[2]
    assert (Tile(factor=64)(resize(PHOTO, (8, 8))) == resize(PHOTO, (8, 8)).mean((0, 1)).round()).all()


def test_blur_is_the_gaussian_s():
    dot = np.zeros((81, 81, 3), np.uint8)
    dot[40, 40] = 255
    bright = np.full((81, 81, 3), 200, np.uint8)
    y, x = np.mgrid[-40:41, -40:41]
    gaussian = 255 * np.exp(-(x**2 + y**2) / 18) / (2 * np.pi * 9)
    assert np.abs(Blur(sigma=3)(dot)[..., 0] - gaussian).max() <= 1
    assert np.array_equal(Blur(sigma=20)(bright), bright)


@pytest.mark.parametrize(("size", "cells"), [((256, 192), (4, 3)), ((250, 200), (4, 3)), ((40, 30), (1, 1))])
def test_color_is_a_grid_of_means(size, cells):
    picture = resize(PHOTO, size)
    grid = annotate("color", PHOTO, size=size)
    assert len(np.unique(grid.reshape(-1, 3), axis=0)) <= cells[0] * cells[1]
    assert grid.astype(float).mean((0, 1)) == pytest.approx(picture.mean((0, 1)), abs=2)
    if size == (256, 192):
        assert np.abs(grid[70, 70] - picture[64:128, 64:128].mean((0, 1))).max() <= 1
    assert (Color(cell=8)(picture)[:5, :5] == Color(cell=8)(picture)[0, 0]).all()


def test_recolor_is_grey_by_lightness_or_by_the_strongest_channel():
    red = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    assert Recolor()(red)[0, 0].tolist() == [136] * 3  # L* of sRGB red is 53.2
    assert Recolor(grey="intensity")(red)[0, 0].tolist() == [255] * 3
    middle = np.full((8, 8, 3), 128, np.uint8)
    assert Recolor(grey="intensity", gamma=2)(middle)[0, 0, 0] == round((128 / 255) ** 2 * 255)


def test_threshold_parts_two_groups():
    picture = np.full((40, 40, 3), 60, np.uint8)
    picture[:, 25:] = 180
    assert (Threshold()(picture)[..., 0] == np.where(picture[..., 0] > 100, 255, 0)).all()
    assert Threshold(level=200)(picture).max() == 0
    assert Threshold(level=0)(picture).min() == 255
    with pytest.raises(HackamoreError, match="threshold finds no two sides"):
        annotate("threshold", picture, level=200)


@pytest.fixture
def masked(tmp_path):
    mask = np.zeros((120, 160), np.uint8)
    mask[30:60, 40:100] = 255
    path = tmp_path / "mask.png"
    Image.fromarray(mask).save(path)
    return path, mask


def test_inpaint_hides_what_the_mask_says_and_nothing_else(masked):
    path, mask = masked
    picture = np.maximum(resize(PHOTO, (160, 120)), 1)
    hint = annotate("inpaint", picture, mask=path)
    assert (hint[mask > 0] == 0).all()
    assert np.array_equal(hint[mask == 0], picture[mask == 0])
    assert np.array_equal(hint, Inpaint(mask=mask)(picture))
    assert np.array_equal(Inpaint(mask=path).mask_for((160, 120)), mask)


@pytest.mark.parametrize("size", [(64, 64), (333, 201), (80, 60)])
@pytest.mark.parametrize("mode", ["crop", "fill", "stretch"])
def test_the_inpainting_mask_covers_every_trace_of_what_is_hidden(masked, size, mode):
    path, _ = masked
    picture = np.full((240, 320, 3), 200, np.uint8)
    hint = annotate("inpaint", picture, size=size, mode=mode, mask=path)
    mask = Inpaint(mask=path).mask_for(size, mode, picture_size=(320, 240))
    assert mask.shape == hint.shape[:2]
    assert (hint[mask == 0] >= 199).all()
    assert (hint[mask > 0] < 100).mean() > 0.7


def test_masks_that_say_nothing_are_errors(tmp_path, masked):
    picture = np.full((120, 160, 3), 200, np.uint8)
    for mask, words in (
        (np.zeros((120, 160), np.uint8), "nothing"),
        (np.full((120, 160), 255, np.uint8), "everything"),
    ):
        with pytest.raises(HackamoreError, match=f"the mask hides {words}"):
            annotate("inpaint", picture, mask=mask)
    with pytest.raises(HackamoreError, match="another shape"):
        annotate("inpaint", picture[:, :120], mask=masked[0])
    with pytest.raises(HackamoreError, match="no such file"):
        annotate("inpaint", picture, mask=tmp_path / "absent.png")
    with pytest.raises(HackamoreError, match="needs mask"):
        annotate("inpaint", picture)


def test_normals_of_planes_point_where_they_should():
    y, x = np.mgrid[:64, :64].astype(np.float32) / 64
    for depth, expected in (
        (np.full_like(x, 0.5), (0, 0, 1)),
        (x, (-0.4472, 0, 0.8944)),  # nearer to the right: it faces left
        (y, (0, 0.4472, 0.8944)),  # nearer below, as a floor is: it faces up
    ):
        for smooth in (0.0, 0.03):
            normals = normals_of(depth, strength=1.0, smooth=smooth)
            assert normals == pytest.approx(np.broadcast_to(expected, normals.shape), abs=2e-3)
    assert normals_of(x, strength=4)[30, 30, 0] < normals_of(x)[30, 30, 0]


def test_normals_of_a_ball_are_the_ball_s():
    y, x = np.mgrid[-1:1:257j, -1:1:257j]
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    picture = np.repeat((z * 255 + 0.5).astype(np.uint8)[..., None], 3, 2)
    hint = NormalDepth()(picture)
    inside = x**2 + y**2 < 0.8
    truth = np.stack([x, -y, z], axis=2)
    cosine = ((hint / 127.5 - 1) * truth).sum(2)[inside]
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean() < 5  # the steps of 8 bits
    assert not hint[x**2 + y**2 > 1.01].any()


def test_normals_of_a_world_s_depth_have_the_sides_of_its_true_normals():
    world = render(9_000_101, 128)
    hint, truth = NormalDepth(strength=3)(TRUTHS["depth"](world)), TRUTHS["normal"](world)
    known = hint.any(axis=2) & truth.any(axis=2)
    for channel in (0, 1):
        assert np.corrcoef(hint[known][:, channel], truth[known][:, channel])[0, 1] > 0.25
    assert annotate("normal_depth", TRUTHS["depth"](world), size=(64, 48)).shape == (48, 64, 3)
    assert not NormalDepth(background=0.9)(TRUTHS["depth"](world))[:20].any()
