import json
import struct
import sys
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from skimage import data
from sklearn.datasets import load_sample_image

from hackamore.annotators import pose_auxiliary, pose_mediapipe, pose_rtmlib
from hackamore.annotators.catalog import annotate, find_people, make_annotator
from hackamore.annotators.people import Pose
from hackamore.annotators.region import Region
from hackamore.annotators.tflite import Network
from hackamore.core.errors import HackamoreError
from hackamore.core.skeleton import COLOURS, from_openpose, to_openpose

MODULES = Path(find_spec("mediapipe").submodule_search_locations[0]) / "modules"
ASTRONAUT = data.astronaut()
TRUTH = {  # read off the picture by eye, 512×512
    "body": {0: (224, 127, 5), 2: (100, 232, 20), 5: (305, 243, 20), 14: (204, 101, 3), 15: (246, 104, 3)},
    "face": {8: (222, 178, 5), 30: (224, 127, 4), 48: (203, 140, 4), 54: (244, 142, 4), 68: (204, 101, 3)},
}


@pytest.fixture(scope="module")
def astronaut():
    return Pose().find(ASTRONAUT)


def gradient(side):
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    return np.stack([x, y, (0.5 + 0.5 * np.sin(12 * x * y)).astype(np.float32)], axis=-1)


# The numbers that Google's own runtime (LiteRT 2.3.0) gives on `gradient`: four values of each output, and the mean.
RUNTIME = {
    ("pose_detection", "Identity"): (-2.1264, -73.8213, -0.2202, 0.1545, 4.0323),
    ("pose_detection", "Identity_1"): (-83.4737, -7.5297, -7.3061, -26.9519, -54.0767),
    ("pose_landmark_full", "Identity"): (116.7467, 99.6267, -69.2404, -2.2092, 34.7612),
    ("pose_landmark_full", "Identity_1"): (0.0593, 0.0593, 0.0593, 0.0593, 0.0593),
    ("pose_landmark_full", "Identity_3"): (-29.6169, -4.8954, -21.9723, -6.5835, -10.5281),
    ("hand_landmark_full", "Identity"): (103.8108, 117.1437, 78.4788, 7.4754, 70.1238),
    ("hand_landmark_full", "Identity_1"): (0.0017, 0.0017, 0.0017, 0.0017, 0.0017),
    ("face_landmark", "conv2d_21"): (76.5073, 33.1388, 33.5708, -9.7948, 61.1695),
    ("face_landmark", "conv2d_31"): (-7.4509, -7.4509, -7.4509, -7.4509, -7.4509),
}


@pytest.mark.parametrize(("file", "output"), RUNTIME)
def test_networks_give_what_their_own_runtime_gives(file, output):
    network = Network(next(MODULES.rglob(f"{file}.tflite")).read_bytes())
    values = network(gradient(network.side), [output])[0].ravel()
    found = [*values[[0, len(values) // 3, len(values) // 2, -1]], values.mean()]
    np.testing.assert_allclose(found, RUNTIME[file, output], rtol=2e-4, atol=2e-3)


@pytest.mark.parametrize("part", ["body", "face"])
def test_a_person_is_found_where_she_is(astronaut, part):
    (person,) = astronaut.people
    points = getattr(person, part)
    for number, (x, y, tolerance) in TRUTH[part].items():
        assert np.hypot(points[number, 0] - x, points[number, 1] - y) <= tolerance, number
        assert points[number, 2] > 0.8


def test_what_the_picture_does_not_show_is_not_there(astronaut):
    (person,) = astronaut.people
    assert not person.visible[[8, 9, 10, 11, 12, 13]].any()  # hips, knees and feet are below the border
    assert person.left_hand is None
    assert person.right_hand is None
    np.testing.assert_allclose(person.body[1], (person.body[2] + person.body[5]) / 2)
    for part in (person.body, person.face):
        assert (part[part[:, 2] == 0] == 0).all()
        assert ((part[:, :2] >= 0) & (part[:, :2] < 512)).all()


def test_a_mirrored_picture_gives_the_mirrored_person(astronaut):
    (person,) = Pose(face=False).find(np.ascontiguousarray(ASTRONAUT[:, ::-1])).people
    expected = astronaut.people[0].flipped(512)
    for joint in (0, 2, 5, 14, 15):
        assert np.hypot(*(person.body[joint, :2] - expected.body[joint, :2])) < 25
    assert person.face is None


def test_a_small_person_in_a_wide_picture_is_found():
    wide = np.full((600, 1400, 3), 150, np.uint8)
    wide[280:536, 1000:1256] = ASTRONAUT[::2, ::2]
    (person,) = Pose().find(wide).people
    for joint in (0, 14, 15):
        x, y, tolerance = TRUTH["body"][joint]
        assert np.hypot(person.body[joint, 0] - 1000 - x / 2, person.body[joint, 1] - 280 - y / 2) <= tolerance
    assert Pose(most=1).find(wide).people[0].body.tobytes() == person.body.tobytes()


def test_nobody_is_an_error_and_no_blank_hint():
    photograph = load_sample_image("china.jpg")
    assert Pose().find(photograph).people == ()
    with pytest.raises(HackamoreError) as error:
        annotate("pose", photograph)
    assert str(error.value) == (
        "pose finds no people with a visible joint in the picture\n"
        "received: a picture of 640×427\n"
        "try: a lower confidence, another engine, or key points of your own"
    )


def test_the_drawing_and_the_key_points_agree(astronaut):
    hint = annotate("openpose", ASTRONAUT, size=(256, 256), face=False)
    again = annotate("pose", ASTRONAUT, size=(256, 256), face=False)
    assert hint.tobytes() == again.tobytes()
    people = find_people("pose", ASTRONAUT, size=(256, 256))
    for joint in (2, 5):
        x, y = people.people[0].body[joint, :2].round().astype(int)
        assert (hint[y, x] == COLOURS[joint]).all()
    told = from_openpose(json.loads(json.dumps(to_openpose([astronaut]))))[0]
    np.testing.assert_allclose(told.people[0].face, astronaut.people[0].face, atol=1e-3)


def test_networks_come_from_a_folder_or_a_wheel_alike(astronaut, tmp_path):
    wheel = tmp_path / "mediapipe.whl"
    with ZipFile(wheel, "w") as archive:
        for file in MODULES.rglob("*.tflite"):
            archive.write(file, f"mediapipe/modules/{file.parent.name}/{file.name}")
    for weights in (wheel, MODULES):
        annotator = Pose(weights=str(weights))
        assert annotator.chosen() == "mediapipe"
        assert to_openpose([annotator.find(ASTRONAUT)]) == to_openpose([astronaut])


def test_missing_and_damaged_networks_are_told(tmp_path, monkeypatch):
    def told(weights):
        with pytest.raises(HackamoreError) as error:
            Pose(weights=str(weights)).find(ASTRONAUT)
        return str(error.value)

    assert told(tmp_path / "no") == (
        f"no such folder or file: {tmp_path}/no\n"
        "expected: a folder with MediaPipe's .tflite files, or the wheel of mediapipe 0.10.21\n"
        "try: pip download --no-deps mediapipe==0.10.21"
    )
    assert f"{tmp_path} lacks pose_detection.tflite" in told(tmp_path)
    (tmp_path / "a.whl").write_bytes(b"no wheel")
    assert "is no wheel" in told(tmp_path / "a.whl")
    for file in MODULES.rglob("*.tflite"):
        (tmp_path / file.name).write_bytes(file.read_bytes()[:1000])
    pose_mediapipe.load_networks.cache_clear()
    assert "pose_detection.tflite cannot be read as a TensorFlow Lite network" in told(tmp_path)
    monkeypatch.setattr(pose_mediapipe, "_installed", list)
    with pytest.raises(HackamoreError) as error:
        make_annotator("pose").chosen()
    assert str(error.value) == (
        "finding people in photographs needs networks that are not here\n"
        "expected: MediaPipe's (Apache-2.0, 36 MB), or weights=FOLDER; engine=meadow for pictures like Meadow's\n"
        "try: pip install --no-deps mediapipe==0.10.21"
    )


def test_another_network_is_told():
    network = Network((MODULES / "palm_detection" / "palm_detection_full.tflite").read_bytes(), "palms")
    with pytest.raises(HackamoreError, match="palms is another network than expected"):
        network(gradient(network.side), ["Identity_7"])


def test_a_turned_square_and_back():
    region = Region((60.0, 40.0), 50.0, 0.6)
    picture = np.zeros((100, 120, 3), np.uint8)
    spots = region.place(np.array([[5.5, 5.5], [30.5, 12.5], [20.5, 33.5]], np.float32), 40)
    for x, y in spots:
        picture[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 255
    cut = region.cut(picture, 40)[..., 0]
    for x, y in ((5, 5), (30, 12), (20, 33)):
        assert cut[y, x] > 0.5
    assert (cut > 0.5).mean() < 0.03
    upright = Region.between(np.array([10, 50], np.float32), np.array([10, 20], np.float32), 1.25)
    assert (upright.size, upright.angle) == (75.0, 0.0)
    leaning = Region.about(np.array([[0, 0], [10, 0], [0, 4]], np.float32), np.array([1, 0], np.float32), 2.0)
    assert leaning.size == pytest.approx(20)
    assert leaning.angle == pytest.approx(np.pi / 2)


# -- rtmlib: real runtime, small real networks ------------------------------------------------------------------------


def field(number, value):
    """One field of a protocol buffer."""
    if isinstance(value, int):
        return bytes([*varint(number << 3), *varint(value)])
    value = value.encode() if isinstance(value, str) else value
    return bytes([*varint(number << 3 | 2), *varint(len(value))]) + value


def varint(value):
    while value > 127:
        yield value & 127 | 128
        value >>= 7
    yield value


def onnx(path, size, nodes, constants, outputs):
    """A small ONNX file (opset 13): nodes are (operator, inputs, output, integer attributes)."""
    graph = b""
    for operator, inputs, output, attributes in nodes:
        node = b"".join(field(1, name) for name in inputs) + field(2, output) + field(3, output) + field(4, operator)
        for name, values in attributes.items():
            kind = (field(3, values), 2) if isinstance(values, int) else (b"".join(field(8, v) for v in values), 7)
            node += field(5, field(1, name) + kind[0] + field(20, kind[1]))
        graph += field(1, node)
    graph += field(2, "small")
    for name, values in constants.items():
        kind = 7 if values.dtype == np.int64 else 1
        dims = b"".join(field(1, side) for side in values.shape)
        graph += field(5, dims + field(2, kind) + field(8, name) + field(9, values.tobytes()))
    shapes = {"x": (11, (1, 3, size[1], size[0]))} | {name: (12, shape) for name, shape in outputs.items()}
    for name, (place, shape) in shapes.items():
        dims = b"".join(field(1, field(1, side)) for side in shape)
        graph += field(place, field(1, name) + field(2, field(1, field(1, 1) + field(2, dims))))
    path.write_bytes(field(1, 8) + field(8, field(1, "") + field(2, 13)) + field(7, graph))


@pytest.fixture(scope="module")
def small_rtmlib(tmp_path_factory):
    """A detector whose one box has blue's mean as its width, and a body that is there as far as the box is red."""
    folder = tmp_path_factory.mktemp("rtmlib")
    box = np.zeros((3, 5), np.float32)
    box[0, 2] = 1  # the right edge is the mean of the first channel: blue, for the detectors see BGR
    rest = np.array([[0, 100, 0, 500, 0.9]], np.float32)
    means = ("ReduceMean", ["x"], "m", {"axes": [2, 3], "keepdims": 0})
    onnx(
        folder / "yolox_m_8xb8-300e_humanart-c2c7a14a.onnx",
        (640, 640),
        [
            means,
            ("MatMul", ["m", "box"], "b", {}),
            ("Add", ["b", "rest"], "d", {}),
            ("Reshape", ["d", "shape"], "dets", {}),
        ],
        {"box": box, "rest": rest, "shape": np.array([1, 1, 5], np.int64)},
        {"dets": (1, 1, 5)},
    )
    constants = {"red": np.array([[1], [0], [0]], np.float32), "shape": np.array([1, 1, 1], np.int64)}
    for axis, length, peak in (("x", 576, 144), ("y", 768, 288)):
        response = np.zeros((1, 133, length), np.float32)
        response[0, np.arange(133), peak + np.arange(133)] = 0.4
        constants[axis + "r"] = response
    onnx(
        folder / "rtmw-dw-x-l_simcc-cocktail14_270e-384x288_20231122.onnx",
        (288, 384),
        [
            means,
            ("MatMul", ["m", "red"], "s", {}),
            ("Reshape", ["s", "shape"], "sr", {}),
            ("Mul", ["xr", "sr"], "simcc_x", {}),
            ("Mul", ["yr", "sr"], "simcc_y", {}),
        ],
        constants,
        {"simcc_x": (1, 133, 576), "simcc_y": (1, 133, 768)},
    )
    return folder


def test_rtmlib_runs_a_detector_on_bgr_and_bodies_on_rgb(small_rtmlib, capfd):
    picture = np.zeros((640, 640, 3), np.uint8)
    picture[...] = (255, 0, 240)
    people = Pose(weights=str(small_rtmlib), confidence=0.5).find(picture)
    (person,) = people.people
    # the box runs from (0, 100) to (240, 500): mean of blue is the width only if the network saw BGR
    centre, scale = np.array([120, 300]), 1.25 * max(400 * 0.75, 240) / 288
    place = centre + (np.array([144, 288]) / 2 - (144, 192)) * scale  # the first point of 133, SimCC doubles the pixels
    np.testing.assert_allclose(person.body[0, :2], place, atol=0.1)
    assert person.visible.all()
    # COCO's order becomes OpenPose's: right shoulder is its seventh point, the neck lies between the shoulders
    np.testing.assert_allclose(person.body[2, :2], place + 3 * scale, atol=0.1)
    np.testing.assert_allclose(person.body[1, :2], place + 2.75 * scale, atol=0.1)
    assert [part.shape for part in (person.left_hand, person.right_hand, person.face)] == [(21, 3), (21, 3), (70, 3)]
    np.testing.assert_allclose(person.left_hand[0, :2], place + 91 / 2 * scale, atol=0.1)
    np.testing.assert_allclose(person.face[68:], person.body[14:16])
    assert Pose(weights=str(small_rtmlib), hands=False, face=False).find(picture).people[0].face is None
    blue = picture[..., ::-1].copy()
    blue[..., 0] = 0
    assert not any(one.visible.any() for one in Pose(weights=str(small_rtmlib)).find(blue).people)
    assert capfd.readouterr().out == ""


def test_rtmlib_asks_for_its_files(tmp_path):
    def told(weights):
        with pytest.raises(HackamoreError) as error:
            Pose(engine="rtmlib", weights=weights).find(ASTRONAUT)
        return str(error.value)

    assert told(None) == (
        "engine rtmlib reads its networks from a folder\n"
        "expected: weights=FOLDER with yolox_l.onnx and dw-ll_ucoco_384.onnx, or others of the documentation\n"
        "try: hf download yzd-v/DWPose yolox_l.onnx dw-ll_ucoco_384.onnx --local-dir FOLDER"
    )
    assert "holds no file of a detector that is known" in told(str(tmp_path))
    for name in ("yolox_l.onnx", "dw-ll_ucoco_384.onnx"):
        (tmp_path / name).write_bytes(struct.pack("<I", 7))
    assert f"the networks in {tmp_path} do not load" in told(str(tmp_path))


def test_rtmlib_itself_is_asked_for(monkeypatch):
    monkeypatch.setattr(pose_rtmlib, "find_spec", lambda name: None)
    with pytest.raises(HackamoreError) as error:
        Pose(engine="rtmlib", weights="anywhere").find(ASTRONAUT)
    assert str(error.value) == (
        "engine rtmlib needs the package rtmlib, which is not installed\n"
        "expected: rtmlib without its dependencies, which would replace OpenCV\n"
        "try: pip install --no-deps rtmlib==0.0.16"
    )


# -- controlnet-aux: its form, with a small stand-in where torchvision keeps the real one out --------------------------

STAND_IN = """
import os
from typing import NamedTuple

class Keypoint(NamedTuple):
    x: float
    y: float
    score: float = 1.0

class Body(NamedTuple):
    keypoints: list

class Pose(NamedTuple):
    body: Body
    left_hand: list
    right_hand: list
    face: list

class OpenposeDetector:
    @classmethod
    def from_pretrained(cls, folder):
        for name in ("body_pose_model.pth", "hand_pose_model.pth", "facenet.pth"):
            open(os.path.join(folder, name)).close()
        return cls()

    def detect_poses(self, picture, include_hand=False, include_face=False):
        height, width = picture.shape[:2]
        assert min(height, width) == 512
        red = picture[..., 0].mean() / 255
        body = [Keypoint(red, 0.25, 0.9)] + [None] * 16 + [Keypoint(0.5, 0.5, 0.2)]
        hand = [Keypoint(0.1, 0.2)] * 20 + [Keypoint(-1 / width, -1 / height)]
        return [Pose(Body(body), hand if include_hand else None, None, None)]
"""


def test_controlnet_aux_finds_people(tmp_path, monkeypatch):
    (tmp_path / "controlnet_aux.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "controlnet_aux", raising=False)
    pose_auxiliary._load.cache_clear()
    for name in pose_auxiliary.FILES:
        (tmp_path / name).touch()
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[..., 0] = 51
    annotator = Pose(weights=str(tmp_path))
    assert annotator.chosen() == "controlnet-aux"
    (person,) = annotator.find(picture).people
    np.testing.assert_allclose(person.body[0], (60, 50, 0.9), atol=1e-4)
    assert person.visible.sum() == 1
    np.testing.assert_allclose(person.left_hand[[0, 20]], [(30, 40, 1), (0, 0, 0)], atol=1e-4)
    assert person.right_hand is None
    assert person.face is None
