"""What every figure promises, from its definition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hackamore.core.errors import HackamoreError
from hackamore.core.skeleton import JOINTS, Person
from hackamore.metrics.colour import delta_e_76, delta_e_2000, grid_difference, grid_means, to_lab
from hackamore.metrics.depth import aligned_rmse, depth_rmse
from hackamore.metrics.distribution import frechet_distance, kernel_distance
from hackamore.metrics.edges import edge_f1
from hackamore.metrics.intervals import bootstrap
from hackamore.metrics.normals import angles, mean_angle, median_angle
from hackamore.metrics.pose import match, oks, pck, pck_counts, person_size
from hackamore.metrics.regions import class_iou, confusion, mean_iou, table_miou
from hackamore.metrics.similarity import WEIGHTS, ms_ssim, ssim

maps = arrays(np.bool_, (9, 11))
classes = arrays(np.uint8, (9, 11), elements=st.integers(0, 3))


@given(maps, maps)
def test_tolerance_only_helps(found, true):
    assert edge_f1(found, true) <= edge_f1(found, true, 1) + 1e-12 <= edge_f1(found, true, 2) + 2e-12 <= 1 + 3e-12


def test_a_line_moved_by_two_pixels():
    line = np.zeros((16, 16), bool)
    line[5] = True
    moved = np.roll(line, 2, 0)
    assert edge_f1(moved, line, 2) == 1
    assert edge_f1(moved, line, 1) == 0


@given(st.lists(st.tuples(classes, classes), min_size=1, max_size=4))
def test_summed_tables_give_the_miou_of_the_stack(pairs):
    found, true = (np.stack(side) for side in zip(*pairs, strict=True))
    table = sum(confusion(f, t, 4) for f, t in pairs)
    assert table_miou(table) == pytest.approx(mean_iou(found, true, 4))
    assert np.isnan(class_iou(table)).tolist() == [k not in true for k in range(4)]


def test_a_table_without_any_class_has_no_miou():
    assert np.isnan(table_miou(np.zeros((4, 4), np.int64)))


def photo(seed=0, shape=(128, 128, 3)):
    coarse = np.random.default_rng(seed).random((8, 8, shape[2]), np.float32)
    import cv2

    return (cv2.resize(coarse, shape[1::-1], interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255).astype(np.uint8)


def test_similarity_of_equal_maps_is_one_and_of_a_negative_near_zero():
    a = photo()[..., 0]
    assert ssim(a, a) == pytest.approx(1)
    assert ms_ssim(a, a) == pytest.approx(1)
    assert ms_ssim(255 - a, a) < 0.2


def test_similarity_does_not_depend_on_the_unit():
    a, b = photo(0)[..., 0], photo(1)[..., 0]
    assert ms_ssim(a / 255, b / 255, data_range=1.0) == pytest.approx(ms_ssim(a, b))


def test_small_maps_have_fewer_scales_with_weights_that_sum_to_one():
    a, b = photo(0)[..., 0], photo(0)[..., 0] // 2
    four = tuple(weight / sum(WEIGHTS[:4]) for weight in WEIGHTS[:4])
    assert ms_ssim(a, b) == pytest.approx(ms_ssim(a, b, weights=four))
    assert ms_ssim(a[:11, :11], b[:11, :11]) == pytest.approx(ssim(a[:11, :11], b[:11, :11]))
    with pytest.raises(HackamoreError, match="too small"):
        ms_ssim(a[:10], b[:10])
    with pytest.raises(HackamoreError, match="differ in size"):
        ssim(a[:20], b[:21])


def test_depth_figures():
    true = np.random.default_rng(0).uniform(20, 200, (40, 50))
    assert depth_rmse(true + 5, true) == pytest.approx(5)
    assert aligned_rmse(0.3 * true + 7, true) == pytest.approx(0, abs=1e-9)
    assert aligned_rmse(np.full_like(true, 9.0), true) == pytest.approx(true.std())
    assert depth_rmse(np.uint8([[0]]), np.uint8([[255]])) == 255


def test_angles_between_normals():
    true = np.zeros((4, 6, 3))
    true[:2, :, 2] = 1
    tilted = true.copy()
    tilted[0] = [0, np.sin(0.5), np.cos(0.5)]
    assert mean_angle(tilted, true) == pytest.approx(np.degrees(0.25))
    assert median_angle(-true, true) == pytest.approx(180)
    assert len(angles(true, true)) == 12
    assert mean_angle(np.zeros_like(true), true) == 90
    assert np.isnan(mean_angle(true, np.zeros_like(true)))
    assert mean_angle(3 * true, true) == pytest.approx(0, abs=1e-6)


def somebody(seed=0, height=100.0, at=(0.0, 0.0), hidden=()):
    spots = np.random.default_rng(seed).random((len(JOINTS), 2)) * [0.4 * height, height] + at
    body = np.concatenate([spots, np.ones((len(JOINTS), 1))], axis=1).astype(np.float32)
    body[list(hidden)] = 0
    return Person(body)


def test_pck_counts_joints_within_a_tenth_of_the_box():
    true = somebody()
    size = person_size(true)
    assert pck([true], [true]) == 1
    assert pck([true.moved((1, 1), (0.09 * size, 0))], [true]) == 1
    assert pck([true.moved((1, 1), (0.11 * size, 0))], [true]) == 0
    assert pck([], [true]) == 0
    assert np.isnan(pck([true], []))


def test_only_visible_joints_of_the_true_person_count():
    true, found = somebody(hidden=(3, 4, 16)), somebody(hidden=(0, 1))
    assert pck_counts([found], [true]) == (13, 15)


def test_people_are_matched_whatever_their_order_and_nobody_twice():
    people = [somebody(k, at=(120.0 * k, 0)) for k in range(3)]
    found = [people[2], people[0].moved((1, 1), (1, 1)), people[1]]
    assert match(found, people) == [1, 2, 0]
    assert match(found[:1], people) == [None, None, 0]
    assert match([], people) == [None, None, None]
    assert pck([people[0]], people) == pytest.approx(1 / 3)


def test_torso_is_shorter_than_the_box_and_falls_back_to_it():
    person = somebody()
    spots = person.body[:, :2]
    assert person_size(person, "torso") == pytest.approx(np.linalg.norm(spots[[8, 11]].mean(0) - spots[1]), rel=1e-5)
    hidden = somebody(hidden=(8, 11))
    assert person_size(hidden, "torso") == person_size(hidden, "box")


def test_oks_is_one_at_the_joints_and_falls_with_distance():
    true = somebody()
    figures = [oks(true.moved((1, 1), (shift, 0)), true) for shift in (0, 2, 5, 20)]
    assert figures[0] == pytest.approx(1)
    assert figures == sorted(figures, reverse=True)
    assert np.isnan(oks(true, somebody(hidden=range(18))))


def test_colours_of_equal_pictures_are_no_distance_apart():
    a = photo(0)
    assert grid_difference(a, a) == pytest.approx(0, abs=1e-5)
    assert grid_means(a[:64], 4).shape == (4, 8, 3)
    assert delta_e_76(to_lab(np.uint8([[[255, 255, 255]]])), to_lab(np.uint8([[[0, 0, 0]]]))).item() == pytest.approx(
        100
    )
    grey = to_lab(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)[None])
    assert np.abs(grey[..., 1:]).max() < 1e-9


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [  # Sharma, Wu and Dalal 2005, table 1: pairs 1, 7, 9, 11, 16, 21, 25, 34
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
        ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
        ((50, 2.5, 0), (50, 3.1736, 0.5854), 1.0),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_ciede2000_of_the_published_pairs(one, other, expected):
    a, b = np.array(one, float), np.array(other, float)
    assert delta_e_2000(a, b).item() == pytest.approx(expected, abs=5e-5)
    assert delta_e_2000(b, a).item() == pytest.approx(expected, abs=5e-5)


def test_distances_between_sets():
    features = torch.randn(60, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(features + 2, features) == pytest.approx(8 * 4)
    before = torch.random.get_rng_state()
    told = kernel_distance(features + 1, features, subset=20)
    assert told == kernel_distance(features + 1, features, subset=20) > kernel_distance(features, features, subset=20)
    assert kernel_distance(features + 1, features, subset=20, seed=1) != told
    assert torch.equal(before, torch.random.get_rng_state())
    with pytest.raises(HackamoreError, match="two pictures"):
        frechet_distance(features[:1], features)


def test_bootstrap_interval_of_a_mean_is_that_of_the_normal_approximation():
    values = np.random.default_rng(0).normal(3, 2, (400, 1))
    low, high = bootstrap(values, lambda mean: float(mean[0]))
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.04)
    assert (low, high) == bootstrap(values, lambda mean: float(mean[0]))


def test_bootstrap_leaves_out_draws_without_a_figure():
    ratio = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    low, high = bootstrap(ratio, lambda mean: float(mean[0] / mean[1]) if mean[1] else float("nan"))
    assert (low, high) == (1, 1)
    assert np.isnan(bootstrap(np.zeros((3, 1)), lambda mean: float("nan"))).all()
