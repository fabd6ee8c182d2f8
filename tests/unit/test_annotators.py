from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from hackamore.annotators.canny import Canny, automatic_threshold
from hackamore.annotators.catalog import ALIASES, ANNOTATORS, annotate, annotator_class, make_annotator
from hackamore.annotators.legend import legend
from hackamore.core import palette
from hackamore.core.errors import HackamoreError
from hackamore.core.image import resize
from hackamore.worlds import render

WORLD = render(9_000_100, 96)
PHOTO = load_sample_image("china.jpg")
PICTURES = (
    "canny", "softedge", "scribble", "scribble_drawing", "lineart", "mlsd", "normal_depth", "shuffle", "tile",
    "blur", "color", "recolor", "threshold", "none", "invert",
)  # fmt: skip
"""Annotators that read any picture and need no weights."""
LINES = ("canny", "softedge", "scribble", "scribble_drawing", "lineart", "mlsd")


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("size", [(8, 8), (64, 64), (65, 97), (333, 200)])
def test_the_hint_has_the_picture_s_size_and_the_same_bytes_each_time(kind, size):
    picture = resize(PHOTO, size)
    before = picture.copy()
    annotator = make_annotator(kind)
    first, second = annotator(picture), make_annotator(kind)(picture)
    assert first.shape == (size[1], size[0], 3)
    assert first.dtype == np.uint8
    assert first.tobytes() == second.tobytes()
    assert np.array_equal(picture, before)
    assert annotator.kind == kind


@pytest.mark.parametrize("kind", ["canny", "scribble_drawing", "mlsd", "shuffle", "tile", "blur", "color", "recolor"])
def test_large_pictures(kind):
    assert make_annotator(kind)(resize(PHOTO, (2048, 2048))).shape == (2048, 2048, 3)


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("size", [(8, 8), (64, 40)])
def test_pictures_of_one_colour_and_of_noise_are_no_trouble(kind, size):
    flat = np.full((size[1], size[0], 3), 128, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, flat.shape, dtype=np.uint8)
    for picture in (flat, np.zeros_like(flat), noise):
        assert make_annotator(kind)(picture).shape == flat.shape


@pytest.mark.parametrize("kind", PICTURES)
def test_grey_and_transparent_files_are_read(kind):
    grey = cv2.cvtColor(resize(PHOTO, (96, 80)), cv2.COLOR_RGB2GRAY)
    for array in (grey, np.dstack([grey, grey, grey, np.full_like(grey, 255)])):
        file = BytesIO()
        Image.fromarray(array).save(file, "PNG")
        assert annotate(kind, file.getvalue(), size=(64, 48)).shape == (48, 64, 3)


@pytest.mark.parametrize("kind", LINES)
def test_lines_are_grey_light_on_black_and_marked_so(kind):
    hint = annotate(kind, PHOTO, size=(256, 192))
    assert annotator_class(kind).lines
    assert annotator_class(kind).sized
    assert np.array_equal(hint[..., 0], hint[..., 1])
    assert np.median(hint) == 0
    assert hint.max() > 200
    assert 0.001 < (hint > 127).mean() < 0.35


@pytest.mark.parametrize("kind", [*LINES, "threshold"])
def test_a_blank_hint_is_refused_in_plain_words_where_it_is_asked_for(kind):
    flat = np.full((64, 64, 3), 90, np.uint8)
    blank = make_annotator(kind)(flat)
    assert blank.min() == blank.max()
    with pytest.raises(HackamoreError, match=f"{kind} finds no ") as error:
        annotate(kind, flat)
    assert "one colour, #5a5a5a" in str(error.value)
    assert "try: " in str(error.value)


def test_a_blank_hint_of_a_real_picture_tells_its_size():
    with pytest.raises(HackamoreError, match="received: a picture of 96×96"):
        annotate("mlsd", WORLD.picture, shortest=1)


def test_every_annotator_is_named_as_in_the_catalogue_and_describes_its_parameters():
    for kind in ANNOTATORS:
        chosen = annotator_class(kind)
        assert chosen.kind == kind
        assert chosen.__doc__
        assert all(field.description for field in chosen.model_fields.values()), kind


def test_other_names_mean_annotators_and_hide_none():
    assert not set(ALIASES) & set(ANNOTATORS)
    assert annotator_class("lineart_standard") is annotator_class("lineart")
    assert {name for name in ALIASES.values() if name not in ANNOTATORS} <= {"pose"}


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


def test_seg_refuses_other_colours_or_snaps_them_to_the_nearest():
    painted = palette.paint(WORLD.segmentation)
    off = np.clip(painted.astype(int) + 3, 0, 255).astype(np.uint8)
    with pytest.raises(HackamoreError, match="not in the palette"):
        annotate("seg", off)
    assert np.array_equal(annotate("seg", off, nearest=True), painted)
    assert np.array_equal(annotate("seg", off, tolerance=3), painted)


@pytest.mark.parametrize("known", [palette.WORLDS, palette.ADE20K], ids=lambda known: known.name)
def test_palettes_read_what_they_paint(known):
    classes = np.arange(len(known.names), dtype=np.uint8)[None]
    same = known.read(known.paint(classes))
    assert np.array_equal(known.paint(same), known.paint(classes))
    moved = {(48, 6)} if known is palette.ADE20K else set()  # skyscraper has the colour of road
    assert {(int(a), int(b)) for a, b in zip(classes[0], same[0], strict=True) if a != b} == moved


def test_ade20k_holds_the_classes_of_the_benchmark():
    known = palette.ADE20K
    assert (len(known.names), known.colours.shape) == (150, (150, 3))
    for name, colour in {
        "wall": (120, 120, 120),
        "sky": (6, 230, 230),
        "flag": (92, 0, 255),
        "sea": (9, 7, 230),
    }.items():
        assert tuple(known.colours[known.names.index(name)]) == colour
    painted = known.paint(np.array([[2, 4], [12, 76]], np.uint8)).repeat(8, 0).repeat(8, 1)
    assert np.array_equal(annotate("seg", painted, palette="ade20k"), painted)


def test_nearest_is_the_class_of_the_least_euclidean_distance():
    picture = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    apart = ((picture[..., None, :].astype(int) - palette.ADE20K.colours.astype(int)) ** 2).sum(-1)
    assert np.array_equal(palette.ADE20K.read(picture, nearest=True), apart.argmin(-1))


def test_a_legend_shows_the_colours_of_the_classes_that_occur():
    whole, few = legend(palette.WORLDS), legend(palette.WORLDS, np.array([[0, 5]], np.uint8))
    colours = {tuple(colour) for colour in whole.reshape(-1, 3)}
    assert {tuple(colour) for colour in palette.COLOURS} <= colours
    assert few.shape[0] < whole.shape[0]
    assert tuple(palette.COLOURS[5]) in {tuple(colour) for colour in few.reshape(-1, 3)}
    assert tuple(palette.COLOURS[11]) not in {tuple(colour) for colour in few.reshape(-1, 3)}
    assert legend(palette.ADE20K).shape[1] > whole.shape[1]


def test_parameters_are_checked_by_name():
    with pytest.raises(HackamoreError, match="low"):
        make_annotator("canny", low=200, high=100)
    with pytest.raises(HackamoreError, match="did you mean canny"):
        make_annotator("cannny")
    with pytest.raises(HackamoreError, match="parameters of tile: factor"):
        make_annotator("tile", factor=0)
    with pytest.raises(HackamoreError, match="palette"):
        make_annotator("seg", palette="coco")
    assert make_annotator("canny", low="30").low == 30
