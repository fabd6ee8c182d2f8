import json

import cv2
import numpy as np
import pytest
from PIL import Image

from hackamore.annotators.catalog import annotate, find_people, kind_for, load_source, make_annotator
from hackamore.annotators.pose import draw_people, fit_people, is_seen
from hackamore.core.errors import HackamoreError
from hackamore.core.image import resize
from hackamore.core.skeleton import COLOURS, HAND_LIMBS, LIMBS, People, Person, to_openpose

SPOTS = [
    (256, 80), (256, 130), (206, 132), (180, 200), (150, 260), (306, 132), (340, 190), (392, 150), (230, 270),
    (210, 360), (205, 450), (282, 270), (305, 360), (330, 445), (236, 60), (276, 60), (216, 76), (296, 76),
]  # fmt: skip


def points(spots):
    return np.array([(*spot, 1) for spot in spots], np.float32)


def person(**parts):
    return Person(points(SPOTS), **parts)


def people(*persons, size=(512, 512)):
    return People(persons or (person(),), size)


@pytest.fixture
def keypoints(tmp_path):
    path = tmp_path / "people.json"
    path.write_text(json.dumps(to_openpose([people()])))
    return path


def test_joints_and_limbs_have_their_official_colours():
    drawn = draw_people(people())
    assert drawn.shape == (512, 512, 3)
    for (x, y), colour in zip(SPOTS, COLOURS, strict=True):
        assert tuple(drawn[y, x]) == tuple(colour)
    middles = [np.add(SPOTS[a], SPOTS[b]) // 2 for a, b in LIMBS]
    for number, (x, y) in enumerate(middles):
        assert tuple(drawn[y, x]) == tuple(int(0.6 * int(c)) for c in COLOURS[number]), number


def test_a_limb_is_a_filled_ellipse_four_pixels_to_each_side():
    body = np.zeros((18, 3), np.float32)
    body[2], body[3] = (100, 256, 1), (400, 300, 1)
    drawn = draw_people(people(Person(body))).any(axis=2)
    y, x = np.mgrid[:512, :512]
    middle, along = np.array([250, 278]), np.array([150, 22])
    length = np.hypot(*along)
    u = ((x - middle[0]) * along[0] + (y - middle[1]) * along[1]) / length**2
    v = ((x - middle[0]) * -along[1] + (y - middle[1]) * along[0]) / length
    ellipse = u**2 + (v / 4) ** 2 <= 1
    for joint in (body[2], body[3]):
        ellipse |= np.hypot(x - joint[0], y - joint[1]) <= 4
    assert (drawn & ellipse).sum() / (drawn | ellipse).sum() > 0.85  # OpenCV's fill takes in the outline's pixels
    assert not (drawn & ~cv2.dilate(ellipse.astype(np.uint8), np.ones((3, 3))).astype(bool)).any()


def test_absent_joints_leave_out_their_limbs():
    body = points(SPOTS)
    body[3, 2] = 0
    drawn, whole = draw_people(people(Person(body))), draw_people(people())
    assert not drawn[200, 180].any()
    assert not drawn[(132 + 200) // 2, (206 + 180) // 2].any()
    assert drawn.any(axis=2).sum() < whole.any(axis=2).sum()
    assert not draw_people(People((), (64, 48))).any()


@pytest.mark.parametrize(("side", "wide"), [(128, (1, 4)), (512, (7, 10)), (1024, (15, 19))])
def test_thickness_follows_the_size(side, wide):
    body = np.zeros((18, 3), np.float32)
    body[2], body[3] = (side * 0.2, side // 2, 1), (side * 0.8, side // 2, 1)
    column = draw_people(people(Person(body), size=(side, side)))[:, side // 2].any(axis=1)
    assert wide[0] <= column.sum() <= wide[1]
    thick = draw_people(people(Person(body), size=(side, side)), thickness=20)[:, side // 2].any(axis=1)
    assert 39 <= thick.sum() <= 43


def test_hands_and_faces_are_drawn_where_they_are_known():
    hand = np.zeros((21, 3), np.float32)
    hand[0] = (120, 400, 1)
    for finger in range(5):
        for joint in range(4):
            hand[1 + 4 * finger + joint] = (120 + 30 * (finger - 2) * (joint + 1) / 2, 375 - 25 * joint, 1)
    face = points([(400 + i % 10 * 8, 400 + i // 10 * 8) for i in range(70)])
    drawn = draw_people(people(person(left_hand=hand, face=face)))
    for x, y, _ in hand.astype(int):
        assert tuple(drawn[y, x]) == (0, 0, 255)
    middle = ((hand[HAND_LIMBS[0][0], :2] + hand[HAND_LIMBS[0][1], :2]) / 2).astype(int)
    assert tuple(drawn[middle[1], middle[0]]) == (255, 0, 0)
    assert (drawn[400, 400] == 255).all()
    bare = draw_people(people(person(left_hand=hand, face=face)), hands=False, face=False)
    assert np.array_equal(bare, draw_people(people()))


@pytest.mark.parametrize("mode", ["crop", "fill", "stretch"])
@pytest.mark.parametrize("size", [(256, 256), (300, 200), (97, 130)])
def test_points_move_as_pixels_do(mode, size):
    source = np.zeros((400, 500), np.uint8)
    spot = np.zeros((18, 3), np.float32)
    spot[0] = (250, 170, 1)
    cv2.circle(source, (250, 170), 12, 255, -1)
    moved = resize(np.repeat(source[..., None], 3, 2), size, mode)[..., 0] > 127
    y, x = np.nonzero(moved)
    fitted = fit_people(People((Person(spot),), (500, 400)), size, mode)
    assert fitted.size == size
    assert fitted.people[0].body[0, :2] == pytest.approx((x.mean(), y.mean()), abs=1.2)


def test_other_resize_modes_are_refused():
    with pytest.raises(HackamoreError, match="forbids"):
        fit_people(people(), (100, 100), "none")
    with pytest.raises(HackamoreError, match="unknown resize mode"):
        fit_people(people(), (100, 100), "warp")
    assert fit_people(people(), (512, 512), "none").size == (512, 512)


def test_points_far_outside_are_drawn_without_trouble():
    far = points([(1e30 if i % 2 else -1e30, 5e29) for i in range(18)])
    assert draw_people(people(Person(far), size=(64, 64))).shape == (64, 64, 3)
    assert not is_seen(Person(far), (64, 64))


def test_a_canvas_too_large_to_draw_is_refused():
    with pytest.raises(HackamoreError, match="too large"):
        draw_people(people(size=(65536, 65536)))
    assert draw_people(people(size=(65536, 65536)), size=(64, 64)).shape == (64, 64, 3)


def test_key_points_become_a_hint_of_any_size(keypoints):
    for size in ((512, 512), (128, 128), (96, 64), (8, 8)):
        hint = annotate("pose_json", keypoints, size=size)
        assert hint.shape == (size[1], size[0], 3)
        assert hint.any()
    assert np.array_equal(annotate("pose_json", keypoints), draw_people(people()))
    assert np.array_equal(annotate("pose_json", people(), hands=False), draw_people(people()))


def test_a_pose_may_be_given_as_key_points(keypoints):
    assert kind_for("pose", keypoints) == "pose_json"
    assert kind_for("openpose", str(keypoints)) == "pose_json"
    assert kind_for("pose", "photo.jpg") == "pose"
    assert kind_for("canny", keypoints) == "canny"
    assert isinstance(load_source("pose", keypoints), People)
    assert np.array_equal(
        annotate("pose", keypoints, size=(128, 128)), annotate("pose_json", keypoints, size=(128, 128))
    )
    found = find_people("pose", keypoints, size=(256, 256))
    assert found.size == (256, 256)
    assert found.people[0].body[1, :2] == pytest.approx((128, 65))


def test_nobody_is_an_error(tmp_path):
    path = tmp_path / "nobody.json"
    hidden = np.zeros((18, 3), np.float32)
    for told in ([], to_openpose([People((), (64, 64))])):
        path.write_text(json.dumps(told))
        with pytest.raises(HackamoreError, match="holds no people"):
            annotate("pose_json", path)
    with pytest.raises(HackamoreError, match="finds no people with a visible joint in the key points"):
        annotate("pose_json", people(Person(hidden)))
    with pytest.raises(HackamoreError, match="finds no people"):
        annotate("pose_json", people(Person(points([(2, 10)] * 18)), size=(500, 100)), size=(64, 64))  # cropped away


def test_the_wrong_kind_of_source_is_an_error(tmp_path, keypoints):
    with pytest.raises(HackamoreError, match="not key points"):
        annotate("canny", people())
    with pytest.raises(HackamoreError, match="draws key points, not a picture"):
        annotate("pose_json", np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(HackamoreError, match="cannot be read as a picture"):
        annotate("canny", keypoints)
    picture = tmp_path / "photo.png"
    Image.new("RGB", (16, 16)).save(picture)
    with pytest.raises(HackamoreError, match="is not JSON"):
        annotate("pose_json", picture)
    with pytest.raises(HackamoreError, match="finds no people"):
        find_people("canny", picture)
    with pytest.raises(HackamoreError, match="thickness"):
        make_annotator("pose_json", thickness=0)
