"""Our figures against independent implementations: scikit-learn, scikit-image, torchmetrics, scipy, plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment
from skimage.color import deltaE_cie76, deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity
from sklearn.datasets import load_sample_image
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure
from torchmetrics.functional.image import structural_similarity_index_measure as torch_ssim

from hackamore.core.skeleton import JOINTS, Person
from hackamore.metrics.colour import delta_e_76, delta_e_2000, to_lab
from hackamore.metrics.distribution import frechet_distance, kernel_distance
from hackamore.metrics.edges import edge_f1
from hackamore.metrics.normals import angles
from hackamore.metrics.pose import SIGMAS, assign, oks, pck_counts
from hackamore.metrics.regions import agreement, class_iou, confusion, mean_iou, table_miou
from hackamore.metrics.similarity import WEIGHTS, ms_ssim, ssim

maps = arrays(np.bool_, (9, 11))
classes = arrays(np.uint8, (9, 11), elements=st.integers(0, 3))


def pictures():
    """Pairs of real and random pictures, H×W×3 uint8."""
    china = load_sample_image("china.jpg")[:240, :320]
    flower = load_sample_image("flower.jpg")[:240, :320]
    rng = np.random.default_rng(0)
    noisy = np.clip(china + rng.normal(0, 25, china.shape), 0, 255).astype(np.uint8)
    random = rng.integers(0, 256, (2, 203, 211, 3), dtype=np.uint8)
    return [(noisy, china), (flower, china), (china[:, ::-1], china), tuple(random)]


PAIRS = pictures()


def as_tensor(grey):
    return torch.from_numpy(np.ascontiguousarray(grey))[None, None].double()


@given(maps, maps)
def test_f1_without_tolerance_is_the_binary_f1(found, true):
    expected = f1_score(true.ravel(), found.ravel(), zero_division=1.0)
    assert edge_f1(found, true) == pytest.approx(expected)


@given(maps, maps, st.integers(0, 3))
@settings(max_examples=40)
def test_f1_with_tolerance_is_that_of_a_plain_loop(found, true, tolerance):
    def near(edges, y, x):
        top, left = max(0, y - tolerance), max(0, x - tolerance)
        return edges[top : y + tolerance + 1, left : x + tolerance + 1].any()

    hits = [near(true, y, x) for y, x in np.argwhere(found)]
    kept = [near(found, y, x) for y, x in np.argwhere(true)]
    if not hits and not kept:
        expected = 1.0
    elif not hits or not kept or not any(hits):
        expected = 0.0
    else:
        expected = 2 / (1 / np.mean(hits) + 1 / np.mean(kept))
    assert edge_f1(found, true, tolerance) == pytest.approx(expected)


@given(classes, classes)
def test_regions_are_those_of_scikit_learn_and_torchmetrics(found, true):
    table = confusion(found, true, 4)
    assert np.array_equal(table, confusion_matrix(true.ravel(), found.ravel(), labels=range(4)))
    present = np.unique(true)
    expected = jaccard_score(true.ravel(), found.ravel(), labels=present, average="macro", zero_division=0)
    assert mean_iou(found, true, 4) == pytest.approx(expected)
    judge = MulticlassJaccardIndex(num_classes=4, average="none")
    theirs = judge(torch.from_numpy(found).long(), torch.from_numpy(true).long()).numpy()
    assert class_iou(table)[present] == pytest.approx(theirs[present], abs=1e-6)
    assert agreement(found, true) == pytest.approx(np.trace(table) / table.sum())


def test_miou_of_a_set_is_that_of_torchmetrics_fed_picture_by_picture():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 6, (10, 20, 30), dtype=np.uint8)
    found = np.where(rng.random(true.shape) < 0.6, true, rng.integers(0, 6, true.shape, dtype=np.uint8))
    judge = MulticlassJaccardIndex(num_classes=6)
    for f, t in zip(found, true, strict=True):
        judge.update(torch.from_numpy(f).long(), torch.from_numpy(t).long())
    table = sum(confusion(f, t, 6) for f, t in zip(found, true, strict=True))
    assert table_miou(table) == pytest.approx(float(judge.compute()), abs=1e-6)


@pytest.mark.parametrize(("found", "true"), PAIRS)
def test_ssim_is_that_of_scikit_image(found, true):
    told = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    assert ssim(found, true) == pytest.approx(structural_similarity(found, true, channel_axis=2, **told), abs=1e-12)
    grey = found[..., 1], true[..., 1]
    assert ssim(*grey) == pytest.approx(structural_similarity(*grey, **told), abs=1e-12)


@pytest.mark.parametrize(("found", "true"), PAIRS)
def test_ms_ssim_is_that_of_torchmetrics_up_to_the_border_of_its_last_scale(found, true):
    """torchmetrics keeps mirrored borders in the last scale's map, Wang's definition has only whole windows.

    Without that scale (its exponent 0) both are the same, and so is the map inside the border.
    """
    found, true = found[..., 1], true[..., 1]
    x, y = as_tensor(found), as_tensor(true)
    without = (*WEIGHTS[:4], 0.0)
    theirs = float(
        multiscale_structural_similarity_index_measure(x, y, data_range=255.0, betas=without, normalize="relu")
    )
    assert ms_ssim(found, true, weights=without) == pytest.approx(theirs, abs=1e-7)
    _, inside = torch_ssim(x, y, data_range=255.0, return_full_image=True)
    assert ssim(found, true) == pytest.approx(float(inside[..., 5:-5, 5:-5].mean()), abs=1e-9)


def test_ms_ssim_comes_close_to_that_of_torchmetrics_on_a_noisy_picture():
    found, true = (picture[..., 1] for picture in PAIRS[0])
    told = {"data_range": 255.0, "normalize": "relu"}
    whole = multiscale_structural_similarity_index_measure(as_tensor(found), as_tensor(true), **told)
    assert ms_ssim(found, true) == pytest.approx(float(whole), abs=0.005)


@pytest.mark.parametrize(("found", "true"), PAIRS)
def test_colour_differences_are_those_of_scikit_image(found, true):
    ours, theirs = (to_lab(found), to_lab(true)), (rgb2lab(found), rgb2lab(true))
    assert np.abs(ours[0] - theirs[0]).max() < 0.02  # they round the matrix to other digits
    assert delta_e_76(*theirs) == pytest.approx(deltaE_cie76(*theirs))
    assert delta_e_2000(*theirs) == pytest.approx(deltaE_ciede2000(*theirs), abs=1e-9)


def people(rng, count):
    made = []
    for _ in range(count):
        body = np.concatenate([rng.random((18, 2)) * [60, 120], np.ones((18, 1))], axis=1)
        body[:, :2] += rng.random(2) * 200
        body[rng.random(18) < 0.2] = 0
        made.append(Person(body.astype(np.float32)))
    return made


@pytest.mark.parametrize("seed", range(8))
def test_pck_and_oks_are_those_of_plain_loops(seed):
    rng = np.random.default_rng(seed)
    true = people(rng, 1 + seed % 3)
    found = [
        Person((person.body + rng.normal(0, 4, (18, 3)) * [1, 1, 0] * (person.body[:, 2:] > 0)).astype(np.float32))
        for person in true
    ]
    right = visible = 0
    for mine, other in zip(true, found, strict=True):
        seen = [k for k in range(len(JOINTS)) if mine.body[k, 2] > 0]
        xs, ys = [mine.body[k, 0] for k in seen], [mine.body[k, 1] for k in seen]
        size = max(max(xs) - min(xs), max(ys) - min(ys))
        area = (max(xs) - min(xs)) * (max(ys) - min(ys))
        similar = 0.0
        for k in seen:
            apart = np.hypot(*(other.body[k, :2] - mine.body[k, :2]))
            visible += 1
            right += bool(apart <= 0.1 * size)
            similar += np.exp(-(apart**2) / (2 * area * (2 * SIGMAS[k]) ** 2)) / len(seen)
        assert oks(other, mine) == pytest.approx(similar)
    assert pck_counts(found[::-1], true) == (right, visible)


@pytest.mark.parametrize("seed", range(40))
def test_assignments_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 9))
    cost = rng.normal(size=(rows, int(rng.integers(rows, 12))))
    cost = cost.round() if seed % 3 == 0 else cost
    chosen = assign(cost)
    assert len(set(chosen.tolist())) == rows
    assert cost[range(rows), chosen].sum() == pytest.approx(cost[linear_sum_assignment(cost)].sum())


def test_angles_are_arc_cosines():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30, 40, 3))
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    assert angles(a, b) == pytest.approx(np.degrees(np.arccos(cosine)).ravel())


def features(seed):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(90, 12, generator=generator, dtype=torch.float64)
        @ torch.randn(12, 12, generator=generator).double()
    )


def test_frechet_distance_is_its_formula_with_scipys_matrix_root():
    a, b = features(0), features(1) + 0.5
    x, y = a.numpy(), b.numpy()
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_kernel_distance_is_the_unbiased_double_sum():
    a, b = features(0), features(1)
    x, y, n = a.numpy(), b.numpy(), len(a)

    def kernel(p, q):
        return (p @ q.T / 12 + 1) ** 3

    inside = sum((kernel(z, z).sum() - np.trace(kernel(z, z))) / (n * (n - 1)) for z in (x, y))
    assert kernel_distance(a, b) == pytest.approx(inside - 2 * kernel(x, y).mean(), rel=1e-6)
