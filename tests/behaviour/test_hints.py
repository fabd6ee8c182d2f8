"""Exactly what the model receives: shown as it is, and put right where it came the wrong way round."""

import itertools
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from hackamore.annotators.catalog import annotate
from hackamore.annotators.hinting import fit_hint, hint_for
from hackamore.annotators.pose import draw_people
from hackamore.annotators.recognise import recognise
from hackamore.controls.branch import Branch
from hackamore.core import palette
from hackamore.core.image import load_picture, to_hint
from hackamore.core.skeleton import People, Person
from hackamore.data.worlds import TRUTHS
from hackamore.worlds import render

LINES = ("canny", "softedge", "scribble", "lineart", "mlsd")
DANCER = np.array(
    [
        (64, 20), (64, 32), (54, 32), (44, 44), (36, 30), (74, 32), (86, 44), (96, 56), (58, 64), (54, 84), (50, 108),
        (70, 64), (76, 84), (82, 108), (61, 17), (67, 17), (57, 19), (71, 19),
    ],
    np.float32,
)  # fmt: skip


def unasked(err: str) -> str:
    """What was said beyond that a control was given another kind of hint than its own, as these tests mean to."""
    return "".join(line for line in err.splitlines(True) if "was trained on" not in line)


def dancer(moved: float = 0.0) -> np.ndarray:
    body = np.concatenate([DANCER + np.float32([moved, moved / 2]), np.ones((18, 1), np.float32)], axis=1)
    return draw_people(People((Person(body.astype(np.float32)),), (128, 128)))


def good_hints() -> list[tuple[str, np.ndarray]]:
    """Twenty hints as they should be: (kind, hint)."""
    worlds = [render(9_500_000 + k, 128) for k in range(4)]
    hints = [(kind, annotate(kind, worlds[k].picture)) for kind in LINES for k in (0, 1)]
    hints += [(kind, TRUTHS[kind](world)) for kind in ("seg", "normal") for world in worlds]
    return [*hints, ("pose", dancer()), ("pose", dancer(12))]


GOOD = good_hints()


def spoiled(kind: str, hint: np.ndarray) -> np.ndarray:
    """The same hint as a user's tools may have left it: lines black on white, colours in BGR."""
    return 255 - hint if kind in LINES else np.ascontiguousarray(hint[..., ::-1])


def test_there_are_twenty_of_each():
    assert len(GOOD) == 20


@pytest.mark.parametrize("number", range(20))
def test_a_good_hint_passes_without_a_word(number):
    kind, hint = GOOD[number]
    seen = recognise(hint, kind)
    assert seen.is_hint
    assert seen.notices == ()
    assert np.array_equal(seen.picture, hint)
    made = hint_for(kind, hint, given=True)
    assert made.notices == ()
    assert np.array_equal(made.picture, hint)


@pytest.mark.parametrize("number", range(20))
def test_a_spoiled_hint_is_noticed_and_put_right(number):
    kind, hint = GOOD[number]
    wrong = spoiled(kind, hint)
    made = hint_for(kind, wrong, given=True)
    (notice,) = made.notices
    assert ("black on white" if kind in LINES else "BGR") in notice
    assert np.array_equal(made.picture, hint)
    exact = hint_for(kind, wrong, given="exact")
    assert exact.notices == ()
    assert np.array_equal(exact.picture, wrong)


@pytest.mark.parametrize("kind", ["canny", "softedge", "mlsd", "scribble"])
def test_a_photograph_given_as_a_hint_is_annotated_with_a_notice(kind):
    picture = render(9_500_000, 128).picture
    made = hint_for(kind, picture, given=True)
    assert "does not look like" in made.notices[0]
    assert np.array_equal(made.picture, annotate(kind, picture))


@pytest.mark.parametrize("flip", [False, True])
def test_an_edge_map_given_as_a_picture_is_not_annotated_again(flip):
    edges = annotate("canny", render(9_500_001, 128).picture)
    made = hint_for("canny", 255 - edges if flip else edges)
    assert "already" in made.notices[0]
    assert len(made.notices) == 1 + flip
    assert np.array_equal(made.picture, edges)


def test_other_names_of_a_kind_are_looked_at_alike():
    drawing = annotate("scribble", render(9_500_001, 128).picture)
    for kind in ("sketch", "scribble_hed", "softedge_hed", "lineart_anime", "mlsd_network"):
        assert "black on white" in recognise(255 - drawing, "scribble" if kind == "sketch" else kind).notices[0]
    assert "BGR" in recognise(np.ascontiguousarray(dancer()[..., ::-1]), "pose").notices[0]
    assert np.array_equal(hint_for("sketch", 255 - drawing, given=True).picture, drawing)


def test_parameters_are_never_dropped():
    edges = annotate("canny", render(9_500_001, 128).picture)
    assert hint_for("canny", edges, density=0.02).notices == ()


def test_an_ade20k_painting_is_a_hint():
    painted = palette.ADE20K.paint(np.arange(64, dtype=np.uint8).repeat(64).reshape(64, 64) % 150)
    made = hint_for("seg", painted, given=True)
    assert made.notices == ()
    assert np.array_equal(made.picture, painted)


def test_a_depth_hint_upside_down_is_noticed():
    depth = TRUTHS["depth"](render(9_500_002, 128))
    assert recognise(depth, "depth").notices == ()
    assert "near should be white" in recognise(255 - depth, "depth").notices[0]


def test_thin_lines_stay_whole_and_pure_when_a_hint_is_made_smaller():
    hint = np.zeros((512, 512, 3), np.uint8)
    cv2.line(hint, (20, 30), (480, 400), (255, 255, 255), 1)
    small = fit_hint(hint, "canny", (128, 128))
    assert set(np.unique(small)) == {0, 255}
    count, _ = cv2.connectedComponents(small[..., 0])
    assert count == 2
    assert (small > 0).mean() < 0.03


@pytest.mark.parametrize("size", [(400, 128), (128, 300), (320, 214)])
def test_a_hint_that_is_cropped_keeps_its_lines_thin(size):
    hint = annotate("canny", render(9_500_004, size).picture)
    small = hint_for("canny", hint, size=(128, 128), given=True).picture
    fresh = annotate("canny", render(9_500_004, size).picture, size=(128, 128))
    if 128 not in size:
        assert (small > 0).mean() < 1.5 * (fresh > 0).mean()
    else:
        left, top = (size[0] - 128) // 2, (size[1] - 128) // 2
        assert np.array_equal(small, hint[top : top + 128, left : left + 128])


def test_classes_are_never_mixed_by_resizing():
    painted = TRUTHS["seg"](render(9_500_003, 128))
    small = hint_for("seg", painted, size=(56, 40), given=True).picture
    palette.read(small)


HINTS = ("canny", "softedge", "scribble", "lineart", "mlsd", "tile", "blur", "color", "recolor", "threshold", "shuffle")


@pytest.mark.parametrize(
    ("kind", "mode"), [*itertools.product(HINTS, ["crop"]), *itertools.product(["canny", "seg"], ["fill", "stretch"])]
)
def test_show_hint_is_the_very_tensor_the_network_receives(here, run, monkeypatch, kind, mode):
    received = []
    prepare = Branch.prepare

    def noted(self, hint):
        received.append(hint.clone())
        return prepare(self, hint)

    monkeypatch.setattr(Branch, "prepare", noted)
    world = render(9_500_004, (150, 100))
    Image.fromarray(TRUTHS["seg"](world) if kind == "seg" else world.picture).save("given.png")
    control = f"{kind}=given.png,model=meadow/{'seg' if kind == 'seg' else 'canny'},resize={mode}"
    words = ["--steps", 1, "--size", "64x72", "--control", control, "--show-hint", "hint.png", "--out", "made.png"]
    code, _, err = run("generate", "a lake", *words)
    assert (code, unasked(err)) == (0, "")
    assert (to_hint(load_picture("hint.png")) == received[0]).all()
    assert received[0].shape == (1, 3, 72, 64)


def test_several_hints_are_all_shown(here, run):
    controls = ["--control", "canny=photo.png", "--control", "seg=painted.png"]
    words = ["--steps", 1, "--size", "64x64", *controls, "--show-hint", "hint.png", "--out", "made.png"]
    code, _, err = run("generate", "a lake", *words)
    assert (code, unasked(err)) == (0, "")
    assert set(map(tuple, load_picture("hint.png").reshape(-1, 3))) == {(0, 0, 0), (255, 255, 255)}
    palette.read(load_picture("hint-2.png"))


@pytest.mark.parametrize("control", ["softedge=photo.png,texture=1", "pose=people.json"])
def test_a_hint_of_another_kind_is_judged_by_the_controls_own(here, run, control):
    told = {"pose_keypoints_2d": [float(v) for x, y in DANCER / 2 for v in (x, y, 1)]}
    (here / "people.json").write_text(json.dumps([{"people": [told], "canvas_width": 64, "canvas_height": 64}]))
    words = ["--steps", 1, "--size", "64x64", "--control", f"{control},model=meadow/canny", "--verify"]
    code, out, err = run("generate", "a lake", *words, "--out", "made.png")
    assert (code, unasked(err)) == (0, "")
    assert "canny F1 (2 px)" in out


def test_a_hint_that_was_put_right_is_told_on_stderr(here, run):
    Image.fromarray(255 - annotate("canny", render(9_500_005, 64).picture)).save("inverted.png")
    words = ["--steps", 1, "--size", "64x64", "--control", "canny=inverted.png,hint=true", "--out", "made.png"]
    code, out, err = run("generate", "a lake", *words)
    assert code == 0
    assert "black on white" in err
    assert out.strip() == "made.png"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--verify"], "--verify without a control"),
        (["--best-of", 3], "--best-of without a control"),
        (["--target-fidelity", 0.5], "--target-fidelity without a control"),
        (["--control", "canny=photo.png", "--best-of", 0], "out of range"),
        (["--control", "canny=photo.png", "--best-of", 65], "out of range"),
        (["--control", "canny=photo.png", "--best-of", 2, "--target-fidelity", 0.5], "together"),
        (["--control", "canny=photo.png", "--target-fidelity", 1.5], "out of range"),
        (["--control", "canny=photo.png,schedule=1@0/0@1", "--target-fidelity", 0.5], "has a schedule"),
        (["--control", "canny=photo.png,hint=maybe"], "not true, false or exact"),
        (["--control", "pose=nobody.json,model=meadow/canny"], "holds no people"),
        (["--control", "canny=grey.png"], "finds no"),
    ],
)
def test_wrong_wishes_are_refused_in_one_sentence(here, run, words, told):
    (here / "nobody.json").write_text('[{"people": [], "canvas_width": 64, "canvas_height": 64}]')
    Image.fromarray(np.full((64, 64, 3), 128, np.uint8)).save("grey.png")
    before = sorted(here.iterdir())
    code, out, err = run("generate", "a lake", "--steps", 2, "--size", "64x64", *words, "--out", "made.png")
    assert (code, out) == (2, "")
    assert told in err
    assert sorted(here.iterdir()) == before
