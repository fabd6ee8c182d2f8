"""People in worlds: bodies that can be, pictures of them with exact key points, and words that are true."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

from hackamore.core.errors import HackamoreError
from hackamore.core.palette import CLASSES
from hackamore.core.skeleton import JOINTS, People, read_people
from hackamore.data.worlds import write_worlds
from hackamore.worlds import World, make_scene, render
from hackamore.worlds.captions import MOST_WORDS
from hackamore.worlds.draw import Eye
from hackamore.worlds.figures.body import FOREARM, SHIN, THIGH, UPPER_ARM
from hackamore.worlds.figures.company import Company, choose_company, has_people
from hackamore.worlds.figures.dressing import Place
from hackamore.worlds.figures.parts import PERSON, Workshop, casters
from hackamore.worlds.figures.placing import place_company
from hackamore.worlds.figures.rays import meet, shaded_from
from hackamore.worlds.stage.hall import choose_hall, set_up

SEEDS = range(24)
FACE = [k for k, name in enumerate(JOINTS) if name.split()[-1] in ("nose", "eye", "ear")]
WITHOUT = {
    0: (
        "the sea in front of an archipelago and a forest at midday, clear weather, summer",
        [161.7, 153.5, 152.7, 171.3, 125.6, 109.2, 114.7, 108.4, 131.3],
    ),
    3: (
        "a big mountain on the right with a calm lake and a forest at noon, spring",
        [161.9, 146.3, 172.4, 155.7, 158.7, 138.0, 136.0, 131.0, 129.3],
    ),
    4: (
        "a snowy wide plain in the afternoon, aerial view, clear sky",
        [164.7, 159.2, 161.5, 132.3, 125.5, 121.7, 114.1, 107.1, 123.6],
    ),
    7: (
        "the sea in front of an archipelago by moonlight, clear sky, view from above, starry sky",
        [66.3, 73.4, 83.8, 51.0, 58.4, 80.5, 75.6, 79.0, 83.5],
    ),
    10: (
        "snowy grassland with far mountains and a dark forest on the left at midday, clear sky, winter",
        [152.3, 145.0, 144.2, 191.0, 208.4, 207.7, 224.7, 224.1, 224.8],
    ),
}
"""Captions and grey thumbnails (3×3) of worlds without people, as they were before there were any."""


@cache
def world(seed: int, width: int = 128, height: int = 128, supersample: int = 2) -> World:
    return render(seed, (width, height), supersample, people=1.0)


def company_of(seed: int) -> Company:
    company = choose_company(seed, 1.0)
    assert company is not None
    return company


@cache
def placed(seed: int, side: int = 128) -> tuple[Company, list[Place], Eye]:
    """The figures of a world, their places, and the viewer in pixels of a picture of ``side``²."""
    company = company_of(seed)
    if company.stage:
        setting = set_up(company, choose_hall(company), side, side)
        return company, setting.places, setting.view
    scene = make_scene(seed, 1.0)
    eye = Eye(scene.view.eye, side / scene.view.field, side * scene.view.horizon)
    places = place_company(company, scene.land, eye, side, side, scene.view.nearest)
    return company, places, eye


def body_pixels(w: World) -> np.ndarray:
    return w.segmentation == CLASSES.index("person")


@pytest.mark.parametrize("seed", WITHOUT)
def test_worlds_without_people_are_what_they_were(seed: int) -> None:
    caption, thumbnail = WITHOUT[seed]
    w = render(seed, 48)
    assert w.caption == caption
    assert np.allclose(w.picture.reshape(3, 16, 3, 16, 3).mean((1, 3, 4)).ravel(), thumbnail, atol=1.0)
    assert w.people == People((), (48, 48))
    assert (w.attributes["people"], w.attributes["stage"]) == ("none", "no")


def test_the_chance_of_people_moves_nothing_else() -> None:
    plain = [seed for seed in range(30) if not has_people(seed, 0.5)]
    peopled = [seed for seed in range(30) if has_people(seed, 0.5)]
    assert 5 < len(peopled) < 25
    for seed in plain[:6]:
        a, b = render(seed, 40), render(seed, 40, people=0.5)
        assert (a.picture.tobytes(), a.depth.tobytes(), a.caption) == (
            b.picture.tobytes(),
            b.depth.tobytes(),
            b.caption,
        )
    for seed in peopled[:6]:
        a, b = render(seed, 40, people=0.5), render(seed, 40, people=1.0)
        assert a.picture.tobytes() == b.picture.tobytes()
        assert len(a.people.people) >= 1


def test_people_are_the_same_every_time() -> None:
    for seed in (0, 6):
        a, b = render(seed, 48, people=1.0), render(seed, 48, people=1.0)
        for name in ("picture", "segmentation", "depth", "normals"):
            assert getattr(a, name).tobytes() == getattr(b, name).tobytes()
        assert (a.caption, a.attributes) == (b.caption, b.attributes)
        assert all((p.body == q.body).all() for p, q in zip(a.people.people, b.people.people, strict=True))


@pytest.mark.parametrize("chance", [-0.1, 1.5, float("nan")])
def test_an_impossible_probability_is_refused_in_words(chance: float) -> None:
    with pytest.raises(HackamoreError, match="probability of people"):
        render(0, 16, people=chance)


@pytest.mark.parametrize("size", [(128, 128), (64, 64), (120, 72), (64, 96), (120, 40), (40, 120)])
def test_someone_is_always_well_seen(size: tuple[int, int]) -> None:
    for seed in range(100, 130):
        people = world(seed, *size).people
        assert people.size == size
        assert 1 <= len(people.people) <= 3
        assert max(int(person.visible.sum()) for person in people.people) >= 8, seed


def test_one_to_three_people_on_stages_and_in_lands() -> None:
    companies = [company_of(seed) for seed in range(300)]
    counts = np.bincount([len(company.figures) for company in companies], minlength=4) / 300
    assert counts[0] == 0
    assert np.allclose(counts[1:], (0.6, 0.25, 0.15), atol=0.08)
    assert np.mean([company.stage for company in companies]) == pytest.approx(0.25, abs=0.08)
    poses = {figure.pose for company in companies for figure in company.figures}
    assert poses == {"standing", "walking", "running", "dancing", "sitting"}


def test_bodies_can_be() -> None:
    for seed in range(250):
        for figure in company_of(seed).figures:
            points = figure.body.points
            for side in ("right", "left"):
                for a, b, length in (
                    ("shoulder", "elbow", UPPER_ARM), ("elbow", "wrist", FOREARM),
                    ("hip", "knee", THIGH), ("knee", "ankle", SHIN),
                ):  # fmt: skip
                    bone = points[f"{side} {b}"] - points[f"{side} {a}"]
                    assert np.linalg.norm(bone) == pytest.approx(length, rel=1e-6)
                for a, b, c, sharpest in (("shoulder", "elbow", "wrist", 0.5), ("hip", "knee", "ankle", 0.55)):
                    first, second = (
                        points[f"{side} {a}"] - points[f"{side} {b}"],
                        points[f"{side} {c}"] - points[f"{side} {b}"],
                    )
                    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
                    assert np.arccos(np.clip(cosine, -1, 1)) > sharpest, (seed, side, b)
            feet = [points[f"{side} {part}"][1] for side in ("right", "left") for part in ("heel", "toe")]
            assert -0.015 < min(feet) < 0.06, (seed, figure.pose)
            assert min(point[1] for point in points.values()) > -0.015
            hips = points["pelvis"][1]
            assert (hips < 0.35) == (figure.pose == "sitting"), (seed, figure.pose)
            assert (figure.seat != "none") == (figure.pose == "sitting")


@pytest.mark.parametrize("seed", SEEDS)
def test_key_points_are_the_projected_joints(seed: int) -> None:
    w = world(seed)
    company, places, eye = placed(seed)
    found = 0
    for person in w.people.people:
        errors = []
        for figure, place in zip(company.figures, places, strict=False):
            at = np.array([place.world(figure.body.points[name]) for name in JOINTS])
            x = 64 + eye.focal * at[:, 0] / at[:, 2]
            y = eye.horizon - eye.focal * (at[:, 1] - eye.height) / at[:, 2]
            errors.append(np.abs(np.stack([x, y], 1) - person.body[:, :2])[person.visible].max())
        found += min(errors) < 1e-3
    assert found == len(w.people.people)


def test_key_points_scale_with_the_picture() -> None:
    for seed in range(12):
        small, large, coarse = world(seed), world(seed, 192, 192), world(seed, 128, 128, 1)
        for a, b, c in zip(small.people.people, large.people.people, coarse.people.people, strict=True):
            both = a.visible & b.visible
            assert both.sum() >= a.visible.sum() - 2
            assert np.abs(a.body[both, :2] * 1.5 - b.body[both, :2]).max() < 0.5
            both = a.visible & c.visible
            assert np.abs(a.body[both, :2] - c.body[both, :2]).max() < 0.01


def test_visible_joints_lie_in_people() -> None:
    inside = []
    for seed in range(14):
        w = world(seed, 256, 256)
        people = body_pixels(w)
        for person in w.people.people:
            x, y = person.body[person.visible, :2].astype(int).T
            inside.append(people[y, x])
    assert np.concatenate(inside).mean() >= 0.95


def test_depth_at_a_joint_is_that_of_the_body() -> None:
    off = []
    for seed in SEEDS:
        w = world(seed)
        people = body_pixels(w)
        company, places, eye = placed(seed)
        for figure, place in zip(company.figures, places, strict=False):
            for name in JOINTS[1:14]:
                x, y, z = place.world(figure.body.points[name])
                px, py = 64 + eye.focal * x / z, eye.horizon - eye.focal * (y - eye.height) / z
                if 0 <= px < 128 and 0 <= py < 128 and people[int(py), int(px)]:
                    off.append((z - float(w.depth[int(py), int(px)])) / place.tall)
    assert len(off) > 200
    assert 0.0 < np.median(off) < 0.08, "the skin lies a little before the joint"
    assert np.mean(np.abs(off) < 0.35) > 0.9, "but for another's body"


def test_normals_of_people_are_those_of_their_depth() -> None:
    angles = []
    for seed in (1, 8, 10, 12, 16):
        w = world(seed, 320, 320)
        x, y = w.camera.points(w.depth)
        points = np.where(np.isfinite(w.depth)[..., None], np.stack([x, y, -w.depth], axis=2), 0.0)
        across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
        expected = np.cross(down, across)
        expected /= np.maximum(np.linalg.norm(expected, axis=2, keepdims=True), 1e-12)
        angle = np.degrees(np.arccos(np.clip((expected * w.normals[1:-1, 1:-1]).sum(axis=2), -1, 1)))
        angles.append(angle[body_pixels(w)[1:-1, 1:-1]])
        assert np.allclose(np.linalg.norm(w.normals[body_pixels(w)], axis=1), 1, atol=1e-3)
    assert np.median(np.concatenate(angles)) < 10


def test_left_and_right_are_the_persons_own_and_faces_turn_away() -> None:
    checked = {"front": 0, "back": 0}
    for seed in range(60):
        w = world(seed, 96, 96)
        if len(w.people.people) != 1 or w.attributes["person facing"] == "side":
            continue
        body, facing = w.people.people[0].body, w.attributes["person facing"]
        right, left = body[JOINTS.index("right shoulder")], body[JOINTS.index("left shoulder")]
        if right[2] and left[2]:
            checked[facing] += 1
            assert (right[0] < left[0]) == (facing == "front")
    assert min(checked.values()) >= 3
    from_behind = [figure for seed in range(200) for figure in company_of(seed).figures if abs(figure.angle) > 2.9]
    assert from_behind, "some turn their back"


def test_nobody_has_eyes_in_the_back_of_the_head() -> None:
    seen = 0
    for seed in range(60):
        w, (company, places, _) = world(seed, 96, 96), placed(seed, 96)
        if len(company.figures) == 1 and len(w.people.people) == 1:
            figure, place = company.figures[0], places[0]
            x, _, z = place.foot
            ahead = place.turn(figure.body.head @ np.array([0.0, 0.0, 1.0]))
            if (ahead[0] * x + ahead[2] * z) / np.hypot(x, z) > 0.8:
                seen += 1
                visible = w.people.people[0].visible
                assert not visible[[JOINTS.index("nose"), JOINTS.index("right eye"), JOINTS.index("left eye")]].any()
    assert seen >= 2


@pytest.mark.parametrize("seed", range(60))
def test_captions_name_people_truly(seed: int) -> None:
    w = world(seed, 96, 96)
    facts, caption = w.attributes, w.caption
    assert 3 <= len(caption.split()) <= MOST_WORDS
    assert 1 <= int(facts["people"]) <= len(w.people.people)
    nouns = ("woman", "women", "man", "men", "person", "people", "singer", "guitarist", "dancer", "band", "musicians")
    said = caption.replace(",", " ").split()
    assert any(noun in said for noun in nouns), caption
    if "woman" in said and facts["people"] == "1":
        assert facts["person"] == "woman"
    for number, word in (("2", "two"), ("3", "three")):
        if word in said:
            assert facts["people"] == number
    assert ("stage" in caption) == (facts["stage"] == "yes")
    for pose in ("walking", "running", "dancing", "sitting", "singing"):
        if pose in said:
            assert pose in (facts["person pose"], facts["people pose"])
    if facts["stage"] == "yes":
        assert facts["stage light"] in caption
        assert facts["terrain"] == "none"
        assert np.isfinite(w.depth).all()
    else:
        assert facts["stage light"] == "none"
    if facts["person seat"] != "none":
        assert facts["person pose"] == "sitting"


def test_rays_meet_capsules_on_their_surface() -> None:
    rng = np.random.default_rng(3)
    along, met = np.linspace(0, 1, 2001)[:, None], 0
    for _ in range(90):
        a, b = rng.normal(0, 0.6, (2, 3))
        first, last = rng.uniform(0.05, 0.6, 2)
        shop = Workshop()
        axis, squash = rng.normal(size=3), float(rng.choice([1.0, 1.7]))
        axis /= np.linalg.norm(axis)
        shop.capsule(a, b, first, last, (1.0, 1.0, 1.0), owner=0, axis=axis, squash=squash)
        parts = shop.put_together()
        origin = rng.normal(0, 1, 3) + np.array([0, 0, -6.0])
        direction = rng.normal(0, 0.5, 3) - origin
        direction /= np.linalg.norm(direction)
        t, *normal = meet(parts, 0, *map(float, origin), *map(float, direction))
        stretch = np.eye(3) + (squash - 1) * np.outer(axis, axis)
        radii = (first + along * (last - first))[:, 0]

        def beyond(at: np.ndarray, balls: np.ndarray = a + along * (b - a)) -> float:
            return float((np.linalg.norm((at - balls) @ stretch, axis=1) - radii).min())  # noqa: B023

        if t > 0:
            met += 1
            at = origin + t * direction
            assert abs(beyond(at)) < 2e-3
            assert np.dot(normal, direction) < 1e-6
            assert np.linalg.norm(normal) == pytest.approx(1)
            assert beyond(at + 0.02 * np.array(normal)) > beyond(at) + 0.015
            assert shaded_from(casters(parts), *map(float, origin), *map(float, direction), 20.0, 0.0)
        else:
            nearest = min(beyond(origin + s * direction) for s in np.linspace(2, 10, 160))
            assert nearest > -0.03
    assert met > 15


def test_worlds_are_written_with_key_points(tmp_path) -> None:
    told = {"size": 48, "hints": ("pose", "seg"), "workers": 1}
    folder = write_worlds(tmp_path / "worlds", 4, people=1.0, **told)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    assert [row["conditioning_image_file_name"] for row in rows] == [f"pose/0000000{k}.png" for k in range(4)]
    for seed in range(4):
        (people,) = read_people(folder / "people" / f"0000000{seed}.json")
        expected = render(seed, 48, people=1.0).people
        assert people.size == (48, 48)
        for a, b in zip(people.people, expected.people, strict=True):
            assert np.allclose(a.body, b.body, atol=1e-3)
    done: list[int] = []
    write_worlds(folder, 4, people=1.0, progress=lambda k, _: done.append(k), **told)
    assert not done, "finished worlds are kept"
    write_worlds(folder, 4, people=0.0, progress=lambda k, _: done.append(k), **told)
    assert len(done) == 4, "worlds of another chance are drawn anew"


def test_people_keep_their_class() -> None:
    assert CLASSES[PERSON] == "person"
    shares = [body_pixels(world(seed)).mean() for seed in SEEDS]
    assert 0.01 < np.median(shares) < 0.2
    assert min(shares) > 0.002


def test_worlds_of_other_calls_stay_in_the_index(tmp_path):
    write_worlds(tmp_path, 2, 32, seed=5, workers=1)
    write_worlds(tmp_path, 1, 32, seed=90, people=1.0, hints=("seg", "pose"), workers=1)
    rows = [json.loads(line) for line in (tmp_path / "metadata.jsonl").read_text().splitlines()]
    assert [row["seed"] for row in rows] == [5, 6, 90]
    assert all((tmp_path / row["conditioning_image_file_name"]).exists() for row in rows)
