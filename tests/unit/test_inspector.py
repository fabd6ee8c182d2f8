"""The inspector's maps of people: what training draws, reading finds again."""

import numpy as np
import pytest
import torch

from hackamore.annotators.inspector import ATTRIBUTES, Inspected, Inspector, find_people
from hackamore.core.skeleton import MIRRORED
from hackamore.training.inspector import _mirrored, focal, people_maps
from hackamore.worlds.plan import TERRAINS, TIME_WEIGHTS, WATERS, WEATHER_WEIGHTS


def standing(x: float, y: float, size: float, hidden: tuple[int, ...] = ()) -> np.ndarray:
    """A person of ``size`` pixels whose neck is at (x, y), arms spread."""
    shape = np.array(
        [
            (0, -0.12), (0, 0), (-0.1, 0), (-0.22, 0.02), (-0.34, -0.05), (0.1, 0), (0.22, 0.03), (0.34, 0.1),
            (-0.06, 0.3), (-0.08, 0.52), (-0.1, 0.75), (0.06, 0.3), (0.09, 0.52), (0.12, 0.75),
            (-0.03, -0.15), (0.03, -0.15), (-0.06, -0.13), (0.06, -0.13),
        ],
        np.float32,
    )  # fmt: skip
    body = np.concatenate([shape * size + (x, y), np.ones((18, 1))], axis=1).astype(np.float32)
    body[list(hidden)] = 0
    return body


def read_back(*people: np.ndarray) -> list[np.ndarray]:
    padded = np.zeros((1, 3, 18, 3), np.float32)
    for place, person in enumerate(people):
        padded[0, place] = person
    heat, reach, near = people_maps(torch.from_numpy(padded), (128, 128))
    assert heat.shape == (1, 19, 64, 64)
    assert reach.shape == near.shape == (1, 36, 32, 32)
    found = [person.body for person in find_people(heat[0].numpy(), reach[0].numpy())]
    return sorted(found, key=lambda body: body[1, 0])


def test_one_person_is_found_within_a_pixel():
    body = standing(60, 50, 80)
    (found,) = read_back(body)
    assert np.abs(found[:, :2] - body[:, :2]).max() < 1.0


def test_two_people_side_by_side_keep_their_own_joints():
    left, right = standing(40, 40, 60), standing(82, 52, 70)
    found = read_back(right, left)
    assert len(found) == 2
    for one, true in zip(found, (left, right), strict=True):
        assert np.abs(one[:, :2] - true[:, :2]).max() < 1.5


def test_a_hidden_joint_stays_hidden():
    (found,) = read_back(standing(60, 50, 80, hidden=(4, 16)))
    assert found[4, 2] == found[16, 2] == 0
    assert (found[:, 2] > 0).sum() == 16


def test_nobody_is_found_where_nobody_is():
    assert read_back() == []


def test_a_flip_moves_and_swaps():
    body = torch.from_numpy(standing(50, 50, 60, hidden=(4,)))[None, None]
    turned = _mirrored(body, 128)
    assert turned[0, 0, 7].eq(0).all()
    assert float(turned[0, 0, 3, 0]) == pytest.approx(128 - float(body[0, 0, 6, 0]))
    torch.testing.assert_close(_mirrored(turned, 128), body)
    assert [MIRRORED[k] for k in MIRRORED] == list(range(18))


def test_focal_loss_is_least_at_the_truth():
    heat, _, _ = people_maps(torch.from_numpy(standing(60, 50, 80))[None, None], (128, 128))
    right = focal(torch.logit(heat.clamp(1e-3, 1 - 1e-3)), heat)
    assert float(right) < 0.1 * float(focal(torch.zeros_like(heat), heat))
    assert float(right) < 0.1 * float(focal(torch.full_like(heat, -6.0), heat))


@pytest.mark.parametrize("size", [(8, 8), (64, 64), (128, 96), (131, 77), (400, 256)])
def test_an_untrained_inspector_gives_maps_of_the_pictures_own_size(size):
    torch.manual_seed(0)
    eye = Inspected(Inspector())
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    assert eye.read(picture).shape == eye.depth(picture).shape == picture.shape[:2]
    assert 0 <= eye.depth(picture).min() <= eye.depth(picture).max() <= 1
    lengths = np.linalg.norm(eye.normals(picture), axis=2)
    assert np.all((np.abs(lengths - 1) < 1e-3) | (lengths == 0))
    assert eye.people(picture).size == size
    assert eye.attributes(picture).keys() == ATTRIBUTES.keys()


def test_the_words_are_those_of_the_worlds():
    assert set(ATTRIBUTES["terrain"]) == {*TERRAINS, "woods"}
    assert set(ATTRIBUTES["time"]) == set(TIME_WEIGHTS)
    assert set(ATTRIBUTES["weather"]) == {*WEATHER_WEIGHTS, "stormy"}
    assert set(ATTRIBUTES["water"]) == {word for waters in WATERS.values() for word in waters}
