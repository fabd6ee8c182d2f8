"""Views, buckets, and the randomness of hints that are made: properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hackamore.annotators.canny import Canny
from hackamore.annotators.normal_depth import paint_normals
from hackamore.annotators.pose import draw_people
from hackamore.core import palette
from hackamore.core.errors import HackamoreError
from hackamore.core.image import resize
from hackamore.core.skeleton import COLOURS, JOINTS, People, Person
from hackamore.data.making import DENSITIES, making_of
from hackamore.data.views import bucket_for, bucket_multiple, buckets, view_of

SIZES = [(64, 64), (96, 48), (64, 40)]
WHOLES = [(64, 64), (90, 200), (301, 150)]
VIEWS = [
    view_of(whole, size, crop, flip, "a name")
    for whole in WHOLES
    for size in SIZES
    for crop in (0, 1, 5)
    for flip in (False, True)
]


def picture_of(whole, seed=0):
    """A smooth random picture, so that no interpolation rings."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return resize(noise, whole, "stretch")


@pytest.mark.parametrize("view", VIEWS)
def test_a_hint_that_is_a_function_of_its_picture_stays_so(view):
    picture = picture_of(view.whole)
    seen, hint = view.picture(picture), view.hint(255 - picture, "depth")
    assert seen.shape == (view.size[1], view.size[0], 3) == hint.shape
    assert np.abs(hint.astype(int) - (255 - seen.astype(int))).max() <= 1


@pytest.mark.parametrize("view", VIEWS)
def test_a_hint_of_half_the_resolution_shows_the_same_place(view):
    picture = picture_of((view.whole[0] * 2, view.whole[1] * 2))
    large = view_of((view.whole[0] * 2, view.whole[1] * 2), view.size, 1, view.flip, "a name")
    small = resize(picture, view.whole, "stretch")
    apart = np.abs(large.hint(255 - small, "depth").astype(int) - (255 - large.picture(picture).astype(int)))
    assert apart.mean() < 6


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("whole", WHOLES)
def test_the_first_view_is_the_houses_crop(whole, size):
    picture = picture_of(whole)
    assert np.array_equal(view_of(whole, size).picture(picture), resize(picture, size, "crop"))


@pytest.mark.parametrize("view", VIEWS[:16])
def test_classes_stay_classes_and_where_their_picture_shows_them(view):
    classes = np.zeros((view.whole[1], view.whole[0]), np.uint8)
    classes[view.whole[1] // 2 :, : view.whole[0] // 3] = 2
    classes[: view.whole[1] // 3, view.whole[0] // 2 :] = 9
    hint = palette.paint(classes)
    seen, picture = view.hint(hint, "seg"), view.picture(hint)
    read = palette.read(seen)
    assert set(np.unique(read)) <= {0, 2, 9}
    pure = (picture[..., None, :] == palette.COLOURS[[0, 2, 9]]).all(-1).any(-1)
    assert (seen[pure] == picture[pure]).all(-1).mean() > 0.98


def test_thin_lines_stay_thin_and_whole():
    hint = np.zeros((200, 200, 3), np.uint8)
    hint[100], hint[:, 60] = 255, 255
    seen = view_of((200, 200), (64, 64)).hint(hint, "canny")
    assert set(np.unique(seen)) == {0, 255}
    assert (seen[..., 0].max(axis=0) == 255).all()
    assert (seen[..., 0] > 0).sum() < 64 * 2.5


@pytest.mark.parametrize(("size", "crop"), [((48, 48), 0), ((48, 32), 1), ((64, 64), 2)])
def test_mirrored_normals_are_the_normals_of_the_mirrored_surface(size, crop):
    x, y = np.meshgrid(np.linspace(-1, 1, 96), np.linspace(-1, 1, 96))
    normals = np.stack([0.6 * np.sin(3 * x), 0.5 * np.cos(2 * y), np.ones_like(x)], 2)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    known = y < 0.5
    flipped = normals[:, ::-1] * [-1, 1, 1]
    told = paint_normals(normals, known), paint_normals(flipped, known)
    mirrored = view_of((96, 96), size, crop, True, "a").hint(told[0], "normal_bae")
    plain = view_of((96, 96), size, crop, False, "a")
    left, top, width, height = plain.box
    other = type(plain)((96, 96), (96 - left - width, top, width, height), size)
    wanted = other.hint(told[1], "normal_bae")
    assert np.abs(mirrored.astype(int) - wanted).max() <= 4
    assert (mirrored == 0).all(axis=2).any()


def test_a_mirrored_pose_changes_left_and_right():
    body = np.zeros((len(JOINTS), 3), np.float32)
    body[JOINTS.index("left wrist")] = (10, 20, 1)
    people = People((Person(body),), (64, 64))
    seen = view_of((64, 64), (64, 64), 0, True).people(people)
    assert tuple(seen.people[0].body[JOINTS.index("right wrist")]) == (54, 20, 1)
    drawn = draw_people(seen)
    assert (drawn[20, 53] == COLOURS[JOINTS.index("right wrist")]).all()


@pytest.mark.parametrize("view", VIEWS[::5])
def test_people_stay_where_the_picture_shows_them(view):
    spot = view.box[0] + view.box[2] * 0.3, view.box[1] + view.box[3] * 0.6
    body = np.zeros((len(JOINTS), 3), np.float32)
    body[0] = (*spot, 1)
    seen = view.people(People((Person(body),), view.whole)).people[0].body[0]
    x = 0.7 if view.flip else 0.3
    assert np.allclose(seen[:2], (view.size[0] * x, view.size[1] * 0.6), atol=1e-3)


def test_a_hint_of_another_aspect_ratio_is_named():
    with pytest.raises(HackamoreError, match=r"edges\.png has another aspect ratio"):
        view_of((100, 100), (64, 64)).hint(np.zeros((100, 104, 3), np.uint8), "canny", "edges.png")
    view_of((100, 100), (64, 64)).hint(np.zeros((100, 102, 3), np.uint8), "canny", "edges.png")


def test_crops_differ_are_fixed_and_lie_inside():
    boxes = {view_of((120, 90), (64, 64), crop, False, name).box for crop in range(8) for name in "abcd"}
    assert len(boxes) > 24
    assert all(x >= 0 and y >= 0 and x + w <= 120 and y + h <= 90 and w >= 64 for x, y, w, h in boxes)
    assert view_of((120, 90), (64, 64), 3, False, "a") == view_of((120, 90), (64, 64), 3, False, "a")


@given(st.integers(2, 16), st.integers(2, 16), st.sampled_from([8, 16, 32, 64]))
@settings(deadline=None)
def test_buckets_have_about_the_area_and_sides_of_the_multiple(width, height, multiple):
    size = (width * 64, height * 64)
    for bucket in buckets(size, multiple):
        assert bucket == size or all(side % multiple == 0 for side in bucket)
        assert 0.8 <= bucket[0] * bucket[1] / (size[0] * size[1]) <= 1.2


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_a_picture_goes_to_the_bucket_of_the_nearest_aspect(width, height):
    chosen = bucket_for((width, height), (512, 512), 64)
    apart = [abs(np.log(w / h * height / width)) for w, h in buckets((512, 512), 64)]
    assert abs(np.log(chosen[0] / chosen[1] * height / width)) <= min(apart) + 1e-6


def test_square_pictures_stay_in_the_square_and_multiples_suit_the_network():
    assert bucket_for((300, 300), (128, 128), 32) == (128, 128)
    assert (bucket_multiple((512, 512), 8, 4), bucket_multiple((128, 128), 8, 3)) == (64, 32)
    assert (bucket_multiple((512, 512), 16, 0), bucket_multiple((128, 128), 16, 0)) == (64, 16), "transformers"


def test_canny_varies_its_density_and_other_ranges_are_drawn():
    making = making_of("canny", ["canny"], {}, None)
    drawn = [making.annotator((u, 0.0)).density for u in (0.0, 0.25, 0.999999)]
    assert drawn == pytest.approx([DENSITIES[0], 0.75 * DENSITIES[0] + 0.25 * DENSITIES[1], DENSITIES[1]], rel=1e-4)
    told = making_of("canny", ["canny"], {"low": [10, 20], "high": [30, 90]}, None).annotator((0.5, 1 - 1e-9))
    assert told == Canny(low=15, high=90)
    each = making_of("canny", ["canny", "softedge"], {"canny": {"density": 0.1}}, None)
    assert each.annotator() == Canny(density=0.1)


@pytest.mark.parametrize(
    ("kind", "told", "words"),
    [
        ("seg", {}, "cannot be made"),
        ("circle", {}, "cannot be made"),
        ("canny", {"density": [0.2, 0.1]}, "no range"),
        ("canny", {"density": [0.1, 0.9]}, "density"),
        ("canny", {"low": [10, 50], "high": [20, 60]}, "above high"),
        ("canny", {"thickness": 3}, "thickness"),
    ],
)
def test_what_cannot_be_made_is_said_at_once(kind, told, words):
    with pytest.raises(HackamoreError, match=words):
        making_of(kind, [kind], told, None)
