"""The figures of each kind of hint, and what they are read against."""

import numpy as np
import pytest

from hackamore.annotators.catalog import ANNOTATORS, make_annotator
from hackamore.core.errors import HackamoreError
from hackamore.core.skeleton import People
from hackamore.data.worlds import TRUTHS
from hackamore.evaluation.fidelity import KINDS, Fidelity, measure, normal_vectors, normalise, scores
from hackamore.evaluation.score import Score, one, ratio
from hackamore.worlds import render
from tests.unit.test_metrics import photo, somebody

DRAWN = ("canny", "softedge", "scribble", "lineart", "mlsd", "color", "tile", "blur", "recolor")


@pytest.fixture(scope="module")
def worlds():
    return [render(9_000_200 + k, 64) for k in range(3)]


def same(picture, hint):
    return one(float(np.array_equal(picture, hint)))


def test_floor_never_meets_its_own_hint_and_normalising_spans_floor_to_ceiling():
    hints = [np.full((8, 8, 3), k, np.uint8) for k in range(4)]
    score = Score("same", lambda picture: picture, same)
    told = measure(score, hints, hints, hints)
    assert (told.figure, told.floor, told.ceiling, told.normalised) == (1, 0, 1, 1)
    assert measure(score, hints[:1], hints[:1]).floor is None
    assert Fidelity("f", 0.5, 0.3).normalised is None
    assert Fidelity("f", 0.5, 0.3, 0.7).normalised == pytest.approx(0.5)


def test_normalising_works_in_both_directions():
    assert normalise(30, 40, 20, "lower") == pytest.approx(0.5)
    assert normalise(30, 20, 40, "higher") == pytest.approx(0.5)
    assert normalise(30, 20, 40, "lower") is None
    assert normalise(0.5, 0.5, 0.5, "higher") is None


@pytest.mark.parametrize("kind", DRAWN)
def test_a_picture_follows_its_own_hint_perfectly_and_another_worse(kind, worlds):
    pictures = [world.picture for world in worlds]
    hints = [make_annotator(kind)(picture) for picture in pictures]
    for score in scores(kind):
        told = measure(score, pictures, hints)
        assert told.figure == pytest.approx(1 if score.better == "higher" else 0, abs=1e-6)
        assert score.beats(told.figure, told.floor)


def test_parameters_are_the_annotators_own(worlds):
    picture = worlds[0].picture
    (sparse, _), (dense, _) = scores("canny", density=0.03), scores("canny", density=0.2)
    assert (sparse.read(picture) > 0).sum() < (dense.read(picture) > 0).sum()
    with pytest.raises(HackamoreError, match="density"):
        scores("canny", density=2)


def test_what_has_no_figure_says_what_has():
    with pytest.raises(HackamoreError, match="figure") as told:
        scores("shuffle")
    assert "canny" in str(told.value)
    assert set(DRAWN) < set(KINDS)
    assert set(DRAWN) <= set(ANNOTATORS)


def test_the_scores_of_a_kind_read_a_picture_in_one_way():
    for kind in KINDS:
        assert len({id(score.read) for score in scores(kind)}) == 1


def test_segmentation_compares_classes_and_its_miou_is_that_of_the_set(worlds):
    from hackamore.core import palette
    from hackamore.metrics.regions import agreement, mean_iou

    first, second = scores("seg")
    true = [world.segmentation for world in worlds]
    readings, hints = [palette.paint(t) for t in true], [palette.paint(t) for t in true[1:] + true[:1]]
    stacked = np.stack(true), np.stack(true[1:] + true[:1])
    assert first.figure(first.tally(readings, hints).mean(0)) == pytest.approx(agreement(*stacked))
    assert second.figure(second.tally(readings, hints).mean(0)) == pytest.approx(mean_iou(*stacked, 16))


def test_depth_and_normals_compare_pictures(worlds):
    plain, fitted = scores("depth")
    hint = photo(0)
    assert plain.compare(hint // 2, hint) > 10
    assert fitted.compare(hint // 2, hint) < 1
    mean, median = scores("normal")
    up = TRUTHS["normal"](worlds[0])
    assert mean.compare(up, up) == pytest.approx(0, abs=1e-5)
    assert median.compare(255 - up, up) > 90
    surface = np.abs(worlds[0].normals).sum(-1) > 0
    apart = np.abs(normal_vectors(up) - worlds[0].normals)[surface]
    assert apart.max() < 1 / 127
    assert not normal_vectors(up)[~surface].any()
    assert np.isnan(mean.compare(up, np.zeros_like(up)))


def test_pose_compares_people_and_a_drawing_is_refused():
    placed, similar = scores("pose")
    true = People((somebody(0), somebody(1, at=(150.0, 0))), (300, 120))
    half = People((somebody(0),), (300, 120))
    assert placed.compare(true, true) == similar.compare(true, true) == 1
    assert placed.compare(half, true) == similar.compare(half, true) == pytest.approx(0.5)
    assert np.isnan(placed.compare(true, People((), (300, 120))))
    with pytest.raises(HackamoreError, match="key points"):
        placed.compare(true, np.zeros((120, 300, 3), np.uint8))


def test_beats_and_ratio_know_nan():
    high = Score("h", lambda p: p, same)
    low = Score("l", lambda p: p, same, better="lower")
    assert high.beats(0.6, 0.5)
    assert low.beats(0.5, 0.6)
    assert high.beats(0.1, float("nan"))
    assert not high.beats(float("nan"), 0.1)
    assert not high.beats(0.5, 0.5)
    assert np.isnan(ratio(np.zeros(2)))
    assert not one(float("nan")).any()
