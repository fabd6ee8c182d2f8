"""A hint of another kind than is said is noticed, and a hint of its own kind never is."""

import cv2
import numpy as np
import pytest

from hackamore.annotators.catalog import make_annotator
from hackamore.data.check_look import look_at_hint
from hackamore.data.worlds import TRUTHS
from hackamore.worlds import render

LINES = ("canny", "softedge", "scribble", "scribble_drawing", "lineart", "mlsd")
SURFACES = ("seg", "depth", "normal")
SIZES = (64, 192)
SEEDS = range(700, 704)


def enlarged(picture):
    return cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)


@pytest.fixture(scope="module")
def hints():
    """Kind → real hints of worlds, small and larger, as they are made, enlarged, and mirrored."""
    made: dict[str, list[np.ndarray]] = {kind: [] for kind in (*LINES, *TRUTHS, "photo")}
    for size in SIZES:
        for seed in SEEDS:
            world = render(seed, size, people=1.0)
            told = {kind: TRUTHS[kind](world) for kind in TRUTHS} | {"photo": world.picture}
            told |= {kind: make_annotator(kind)(world.picture) for kind in LINES}
            for kind, hint in told.items():
                made[kind] += [hint, np.ascontiguousarray(hint[:, ::-1])]
                made[kind] += [enlarged(hint)] if kind != "seg" else []
    return made


def odd(hints, kind):
    """Those that are told as unlike ``kind``, of those that say anything."""
    looks = [look_at_hint(hint, kind, np.zeros((8, 8, 3), np.uint8)) for hint in hints]
    looks = [look for look in looks if not look.flat]
    return sum(not (look.looks or look.numbers) for look in looks) / len(looks)


@pytest.mark.parametrize("kind", [*LINES, *TRUTHS])
def test_hints_of_the_kind_itself_pass(hints, kind):
    assert odd(hints[kind], kind) == 0
    if kind in LINES:
        assert odd([255 - hint for hint in hints[kind]], kind) == 0, "turned round they are told as that alone"


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("real", [*TRUTHS, "photo"])
def test_what_is_no_thin_grey_lines_is_noticed(hints, kind, real):
    assert odd(hints[real], kind) > 0.9


@pytest.mark.parametrize("kind", SURFACES)
@pytest.mark.parametrize("real", LINES)
def test_lines_are_no_surfaces(hints, kind, real):
    assert odd(hints[real], kind) > 0.8


@pytest.mark.parametrize(
    ("kind", "real"),
    [
        *(("depth", real) for real in ("seg", "normal", "pose", "photo")),
        *(("normal", real) for real in ("seg", "depth", "pose", "photo")),
        *(("seg", real) for real in ("depth", "normal", "photo")),
        *(("pose", real) for real in ("canny", "lineart", "depth", "seg", "normal")),
    ],
)
def test_other_surfaces_and_drawings_are_noticed(hints, kind, real):
    assert odd(hints[real], kind) > 0.6


def test_a_palette_of_ones_own_is_a_segmentation_and_a_mask_is_no_line(hints):
    own = np.zeros((64, 64, 3), np.uint8)
    own[:, 20:40], own[30:, 40:], own[:, :20] = (13, 77, 201), (91, 33, 150), (250, 31, 77)
    assert odd([own], "seg") == 0
    mask = np.zeros((64, 64, 3), np.uint8)
    cv2.circle(mask, (32, 32), 14, (255, 255, 255), -1)
    assert all(odd([mask], kind) == 1 for kind in LINES)
