import cv2
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from hackamore.annotators.catalog import annotate
from hackamore.annotators.lineart import LineArt
from hackamore.annotators.mlsd import Mlsd, join_segments
from hackamore.annotators.scribble import Scribble, ScribbleDrawing, find_ink, long_lines, strokes
from hackamore.annotators.softedge import SoftEdge
from hackamore.annotators.thinning import thin

PHOTO = load_sample_image("china.jpg")


def house(ink=(0, 0, 0), paper=(255, 255, 255), width=5):
    drawn = np.full((256, 256, 3), paper, np.uint8)
    for a, b in [((60, 125), (200, 125)), ((60, 125), (60, 220)), ((200, 125), (200, 220)), ((60, 220), (200, 220)),
                 ((50, 130), (130, 60)), ((210, 130), (130, 60))]:  # fmt: skip
        cv2.line(drawn, a, b, ink, width, cv2.LINE_AA)
    cv2.circle(drawn, (215, 45), 20, ink, width, cv2.LINE_AA)
    return drawn


def overlap(first, second):
    first, second = first[..., 0] > 127, second[..., 0] > 127
    return (first & second).sum() / (first | second).sum()


def parts_and_holes(mask):
    parts, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    holes, _ = cv2.connectedComponents(np.pad(~mask, 1, constant_values=True).astype(np.uint8), connectivity=4)
    return parts - 1, holes - 2


@pytest.mark.parametrize("share", [0.2, 0.4, 0.5, 0.7])
def test_thinning_keeps_components_and_holes_of_random_shapes(share):
    noise = np.random.default_rng(3).random((90, 120)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    mask = smooth > np.quantile(smooth, 1 - share)
    skeleton = thin(mask)
    assert parts_and_holes(skeleton) == parts_and_holes(mask)
    assert not (skeleton & ~mask).any()
    assert np.array_equal(thin(skeleton), skeleton)
    whole = skeleton[1:, 1:] & skeleton[:-1, 1:] & skeleton[1:, :-1] & skeleton[:-1, :-1]
    assert whole.sum() < 0.01 * skeleton.sum()


def test_thinning_of_nothing_everything_and_one_pixel():
    assert not thin(np.zeros((9, 12), bool)).any()
    assert 1 <= thin(np.ones((9, 12), bool)).sum() <= 12
    dot = np.zeros((3, 3), bool)
    dot[1, 1] = True
    assert thin(dot).sum() == 1


@pytest.mark.parametrize("thickness", [1, 3, 5, 9, 15])
def test_strokes_have_their_thickness(thickness):
    line = np.zeros((128, 128), bool)
    line[64, 20:108] = True
    assert abs(int((strokes(line, thickness)[:, 64, 0] > 0).sum()) - thickness) <= 1
    assert not strokes(np.zeros((8, 8), bool), thickness).any()


def test_short_lines_are_dropped():
    mask = np.zeros((40, 40), bool)
    mask[5, 5:35] = mask[20, 5:9] = True
    assert np.array_equal(np.flatnonzero(long_lines(mask, 10).any(axis=1)), [5])


def test_a_drawing_reads_the_same_black_on_white_and_white_on_black():
    drawn = house()
    first, second = ScribbleDrawing()(drawn), ScribbleDrawing()(255 - drawn)
    assert overlap(first, second) > 0.99
    assert np.median(first) == 0
    assert 0.02 < (first > 0).mean() < 0.2


@pytest.mark.parametrize(
    ("ink", "paper"),
    [((200, 40, 40), (255, 255, 240)), ((30, 60, 200), (250, 250, 250)), ((200, 205, 200), (40, 70, 55)),
     ((250, 220, 60), (255, 255, 255))],
)  # fmt: skip
def test_a_drawing_reads_the_same_in_any_ink_on_any_paper(ink, paper):
    assert overlap(ScribbleDrawing()(house(ink, paper)), ScribbleDrawing()(house())) > 0.95


def test_a_photographed_drawing_in_uneven_light_reads_the_same():
    y, x = np.mgrid[:256, :256] / 256
    light = (0.35 + 0.6 * np.exp(-2 * ((x - 0.2) ** 2 + (y - 0.3) ** 2)))[..., None]
    grain = np.random.default_rng(0).normal(0, 3, (256, 256, 1))
    photo = np.clip(house((60, 60, 90), (235, 228, 215)) * light + grain, 0, 255).astype(np.uint8)
    assert overlap(ScribbleDrawing()(photo), ScribbleDrawing()(house())) > 0.9


@pytest.mark.parametrize("width", [2, 5, 9])
def test_a_drawing_s_strokes_become_one_width(width):
    hint = ScribbleDrawing(thickness=5)(house(width=width))
    assert (hint > 0).mean() == pytest.approx((ScribbleDrawing(thickness=5)(house()) > 0).mean(), rel=0.05)
    kept = ScribbleDrawing(thickness=0)(house(width=width))[..., 0] > 0
    assert kept.mean() == pytest.approx((house(width=width) < 128)[..., 0].mean(), rel=0.25)


def test_a_filled_shape_becomes_its_outline():
    drawn = np.full((256, 256, 3), 255, np.uint8)
    cv2.circle(drawn, (128, 128), 50, (0, 0, 0), -1)
    y, x = np.nonzero(ScribbleDrawing()(drawn)[..., 0])
    assert np.abs(np.hypot(x - 128, y - 128) - 50).max() < 3.5
    assert len(np.unique(np.round(np.arctan2(y - 128, x - 128), 1))) == 63  # all the way round


def test_ink_is_the_same_for_a_picture_and_its_negative():
    photo = cv2.resize(PHOTO, (160, 120))
    assert np.array_equal(find_ink(photo), find_ink(255 - photo))


def test_more_density_draws_more_contours():
    picture = cv2.resize(PHOTO, (320, 240))
    shares = [float((Scribble(density=d)(picture) > 0).mean()) for d in (0.01, 0.03, 0.08)]
    assert shares[0] < shares[1] < shares[2]
    assert (Scribble(thickness=3)(picture) > 0).mean() < (Scribble(thickness=8)(picture) > 0).mean()


def test_soft_edges_sit_on_the_boundary_and_few_levels_are_safe():
    picture = np.full((128, 128, 3), (200, 60, 60), np.uint8)
    picture[:, 64:] = (60, 60, 200)
    edges = SoftEdge()(picture)[..., 0]
    assert (edges[20:108, 63:65] > 200).all()
    assert edges[:, :58].max() < 20
    assert edges[:, 70:].max() < 20
    assert len(np.unique(SoftEdge(safe=True)(PHOTO))) <= 4
    assert len(np.unique(SoftEdge()(PHOTO))) > 50


def test_edges_between_colours_of_the_same_brightness_are_seen():
    lab = np.full((96, 96, 3), (65, -40, 0), np.float32)
    lab[:, 48:] = (65, 40, 0)
    picture = (cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255 + 0.5).astype(np.uint8)
    assert SoftEdge()(picture)[48, 46:50].max() > 200


def test_texture_is_held_back():
    random = np.random.default_rng(0)
    picture = np.full((256, 256, 3), 120, np.uint8)
    picture[:, :128] += random.integers(0, 60, (256, 128, 1), dtype=np.uint8)
    picture[80:180, 170:230] = 220
    kept, held = (SoftEdge(texture=texture)(picture)[:, 20:108].mean() for texture in (0, 1.2))
    assert held < 0.6 * kept


def test_line_art_is_white_where_a_line_is_dark():
    drawn = house()
    found = LineArt()(drawn)[..., 0]
    ink = drawn[..., 0] < 60
    assert found[ink].mean() > 100
    assert found[~cv2.dilate(ink.astype(np.uint8), np.ones((7, 7))).astype(bool)].max() < 60
    assert LineArt()(house((190, 190, 190)))[..., 0][ink].mean() > 60  # a faint drawing comes out too


def test_straight_lines_are_found_where_they_are():
    picture = np.full((200, 300, 3), 40, np.uint8)
    cv2.fillConvexPoly(picture, np.array([[40, 30], [260, 50], [250, 170], [60, 160]]), (220, 220, 220))
    found = Mlsd().segments(picture)
    corners = np.array([[40, 30], [260, 50], [250, 170], [60, 160]], float)
    assert len(found) == 4
    for end in found.reshape(-1, 2):
        assert np.hypot(*(corners - end).T).min() < 4
    hint = Mlsd(thickness=2)(picture)
    assert set(np.unique(hint)) == {0, 255}
    assert len(Mlsd(shortest=0.45).segments(picture)) == 2


def test_pieces_of_a_line_are_joined_and_others_are_not():
    pieces = np.array([[0, 0, 40, 0], [43, 0, 80, 0.3], [0, 50, 0, 90], [100, 30, 140, 30], [0, 6, 40, 6]], float)
    joined = join_segments(pieces, 200)
    assert len(joined) == 4
    assert np.hypot(*(joined[0, 2:] - joined[0, :2])) == pytest.approx(80, abs=0.1)


def test_a_hint_s_lines_do_not_depend_on_the_resize():
    for kind in ("canny", "mlsd", "scribble"):
        hint = annotate(kind, PHOTO, size=(200, 160))
        assert set(np.unique(hint)) == {0, 255}
