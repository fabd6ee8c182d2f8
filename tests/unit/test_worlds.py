"""Worlds are handsome by eye and exact by test: every truth is that of the point that was drawn."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from hackamore.core.errors import HackamoreError
from hackamore.core.palette import CLASSES
from hackamore.worlds import World, make_scene, render
from hackamore.worlds.captions import MOST_WORDS, TREES, WATERS, write_caption
from hackamore.worlds.facts import VISIBLE, side_of
from hackamore.worlds.land import KINDS, SEASONS
from hackamore.worlds.light import TIMES, WEATHERS
from hackamore.worlds.noise import fbm, noise_and_slope, value_noise
from hackamore.worlds.plan import EYES, TERRAINS, TIME_WEIGHTS, WEATHER_WEIGHTS
from hackamore.worlds.plan import WATERS as PLANNED_WATERS

INDEX = {name: index for index, name in enumerate(CLASSES)}
SEEDS = range(24)
NOT_GROUND = [INDEX[name] for name in ("sky", "cloud", "water", "tree", "forest")]


@cache
def world(seed: int, width: int = 96, height: int = 96) -> World:
    return render(seed, (width, height))


def share(w: World, name: str) -> float:
    return float((w.segmentation == INDEX[name]).mean())


def test_a_seed_gives_the_same_bytes_every_time() -> None:
    first, second = render(5, 48), render(5, 48)
    for name in ("picture", "segmentation", "depth", "normals"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert (first.caption, first.attributes, first.camera) == (second.caption, second.attributes, second.camera)


def test_seeds_differ() -> None:
    assert len({world(seed).picture.tobytes() for seed in SEEDS}) == len(SEEDS)
    assert len({world(seed).attributes["terrain"] for seed in SEEDS}) >= 6


@pytest.mark.parametrize(("size", "shape"), [(8, (8, 8)), ((33, 57), (57, 33)), ((120, 40), (40, 120)), (65, (65, 65))])
@pytest.mark.parametrize("supersample", [1, 2, 3])
def test_any_size_and_supersampling(size: int | tuple[int, int], shape: tuple[int, int], supersample: int) -> None:
    w = render(3, size, supersample)
    assert w.picture.shape == (*shape, 3)
    assert w.picture.dtype == np.uint8
    assert w.segmentation.shape == shape
    assert w.segmentation.dtype == np.uint8
    assert w.depth.shape == shape
    assert w.depth.dtype == np.float32
    assert w.normals.shape == (*shape, 3)
    assert w.normals.dtype == np.float32
    assert (w.camera.height, w.camera.width) == shape


@pytest.mark.parametrize("size", [7, 4097, (8, 7), (5000, 64), 0, -3])
def test_impossible_sizes_are_refused_in_words(size: int | tuple[int, int]) -> None:
    with pytest.raises(HackamoreError, match="cannot be drawn at this size"):
        render(0, size)


def test_impossible_seeds_and_supersampling_are_refused_in_words() -> None:
    with pytest.raises(HackamoreError, match="seed is a whole number"):
        render(-1)
    with pytest.raises(HackamoreError, match="supersampling is 1 to 4"):
        render(0, 16, supersample=5)


def test_a_scene_is_the_same_at_every_size() -> None:
    agreement = []
    for seed in range(8):
        small, large = world(seed), render(seed, 192)
        assert small.attributes["terrain"] == large.attributes["terrain"]
        agreement.append(float((large.segmentation[::2, ::2] == small.segmentation).mean()))
    assert np.mean(agreement) > 0.9


@pytest.mark.parametrize("seed", SEEDS)
def test_ground_depth_reprojects_onto_the_land(seed: int) -> None:
    w, scene = world(seed), make_scene(seed)
    x, y = w.camera.points(w.depth)
    canopy = 0.05 if scene.land.forest > 0 else 0.0  # undergrowth at a forest's edge lifts the ground a little
    off = []
    for row, column in np.argwhere(~np.isin(w.segmentation, NOT_GROUND))[::9]:
        z = float(w.depth[row, column])
        over = y[row, column] - scene.height(x[row, column], z, 0.5 / w.camera.focal)
        off.append(max(over - canopy, -over, 0.0) * w.camera.focal / z)
    if len(off) > 30:
        assert np.median(off) < 0.12, "pixels, over the picture"
        assert np.percentile(off, 95) < 1.0, "pixels, at silhouettes and steep walls"


@pytest.mark.parametrize("seed", SEEDS)
def test_water_lies_at_its_level_and_faces_up(seed: int) -> None:
    w, scene = world(seed), make_scene(seed)
    water = w.segmentation == INDEX["water"]
    if not water.any():
        assert w.attributes["water"] == "none"
        return
    _, y = w.camera.points(w.depth)
    off = np.abs(y[water] - scene.land.water_level) * w.camera.focal / w.depth[water]
    assert np.median(off) < 1e-3
    assert off.max() < 0.51, "a shore pixel is at most half a pixel off"
    assert np.allclose(w.normals[water], (0, 1, 0), atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_normals_are_those_of_the_surface_in_the_depth(seed: int) -> None:
    w = render(seed, 192)
    x, y = w.camera.points(w.depth)
    points = np.where(np.isfinite(w.depth)[..., None], np.stack([x, y, -w.depth], axis=2), 0.0)
    across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    with np.errstate(invalid="ignore"):
        expected = np.cross(down, across)
        expected /= np.maximum(np.linalg.norm(expected, axis=2, keepdims=True), 1e-12)
        z = w.depth[1:-1, 1:-1]
        near = np.stack([w.depth[1:-1, 2:], w.depth[1:-1, :-2], w.depth[2:, 1:-1], w.depth[:-2, 1:-1]])
        smooth = (np.abs(near / z - 1.0) < 0.04).all(axis=0)
        angle = np.degrees(np.arccos(np.clip((expected * w.normals[1:-1, 1:-1]).sum(axis=2), -1, 1)))
    smooth &= ~np.isin(w.segmentation[1:-1, 1:-1], NOT_GROUND)
    if smooth.sum() > 200:
        assert np.median(angle[smooth]) < 6.0


@pytest.mark.parametrize("seed", SEEDS)
def test_sky_is_infinite_and_all_else_has_a_surface(seed: int) -> None:
    w = world(seed)
    sky = np.isin(w.segmentation, (INDEX["sky"], INDEX["cloud"]))
    length = np.linalg.norm(w.normals, axis=2)
    assert np.isinf(w.depth[sky]).all()
    assert np.isfinite(w.depth[~sky]).all()
    assert (w.depth[~sky] > 0).all()
    assert (length[sky] == 0).all()
    assert np.allclose(length[~sky], 1, atol=1e-3)


def test_trees_face_the_viewer() -> None:
    found = 0
    for seed in SEEDS:
        w = world(seed)
        tree = w.segmentation == INDEX["tree"]
        found += int(tree.sum())
        assert (w.normals[tree][:, 2] > 0).all()
    assert found > 200


def test_snow_is_bright_and_hardly_coloured_by_day() -> None:
    found = 0
    for seed in range(60):
        if make_scene(seed).plan.time not in ("noon", "afternoon"):
            continue
        w = world(seed)
        snow = w.segmentation == INDEX["snow"]
        if snow.mean() < 0.1:
            continue
        found += 1
        snowy, bare = w.picture[snow].astype(float), w.picture[np.isin(w.segmentation, (4, 5, 6, 9))].astype(float)
        assert snowy.mean() > 120
        assert (snowy.max(axis=1) - snowy.min(axis=1)).mean() < 60
        if len(bare) > 100:
            assert snowy.mean() > bare.mean()
    assert found >= 2


@pytest.mark.parametrize("seed", range(60))
def test_captions_say_only_what_can_be_seen(seed: int) -> None:
    w = world(seed)
    facts, caption = w.attributes, w.caption
    assert 2 <= len(caption.split()) <= MOST_WORDS
    said = {
        "water": any(word in caption for words in WATERS.values() for word in words),
        "forest": "forest" in caption,
        "tree": any(word in caption for words in TREES.values() for word in words) or "a lone " in caption,
        "snow": "snowy" in caption,
        "flower": "flowers" in caption,
        "road": any(word in caption for word in ("road", "path")),
    }
    for name, mentioned in said.items():
        if mentioned:
            assert share(w, name) >= VISIBLE[name], f"{name} in {caption!r}"
    for name, attribute in (("water", "water"), ("tree", "trees")):
        assert (facts[attribute] != "none") == (share(w, name) >= VISIBLE[name])
    if "star" in caption:
        assert facts["time"] == "night"
    if "clear" in caption:
        assert share(w, "cloud") < VISIBLE["cloud"]
    if "from above" in caption or "aerial" in caption:
        assert facts["camera"] == "above"


def test_sides_are_those_of_the_pixels() -> None:
    found = 0
    for seed in range(120):
        w = world(seed)
        for name, key in (("water", "water side"), ("tree", "trees side"), ("forest", "forest side")):
            if w.attributes[key] in ("left", "right"):
                found += 1
                half = w.segmentation[:, :48] if w.attributes[key] == "left" else w.segmentation[:, 48:]
                there = int((half == INDEX[name]).sum())
                assert there > 0.5 * int((w.segmentation == INDEX[name]).sum())
    assert found > 10


def test_side_of() -> None:
    mask = np.zeros((10, 20), bool)
    mask[:, :6] = True
    assert side_of(mask) == "left"
    assert side_of(mask[:, ::-1]) == "right"
    assert side_of(np.ones((10, 20), bool)) == "both"
    middle = np.zeros((10, 20), bool)
    middle[:, 9:11] = True
    assert side_of(middle) == "middle"


def test_captions_vary_with_their_generator() -> None:
    facts = world(0).attributes
    assert len({write_caption(np.random.default_rng(k), facts) for k in range(40)}) > 25


def test_plans_know_every_word() -> None:
    assert set(TERRAINS) == set(KINDS) == set(PLANNED_WATERS)
    assert set(TIME_WEIGHTS) == set(TIMES)
    assert {*WEATHER_WEIGHTS, "stormy"} == set(WEATHERS)
    assert set(EYES) == {"low", "standing", "above"}
    assert {world(seed).attributes["season"] for seed in range(24)} <= set(SEASONS)


def test_noise_is_smooth_and_its_slope_true() -> None:
    rng = np.random.default_rng(0)
    for x, z in rng.uniform(-90, 90, (200, 2)):
        value, dx, dz = noise_and_slope(x, z)
        assert 0 <= value <= 1
        assert 0 <= value_noise(x, z) <= 1
        assert abs(fbm(x, z, 4.5)) < 0.6
        step = 1e-5
        assert (noise_and_slope(x + step, z)[0] - value) / step == pytest.approx(dx, abs=1e-3)
        assert (noise_and_slope(x, z + step)[0] - value) / step == pytest.approx(dz, abs=1e-3)


def test_pictures_have_contrast() -> None:
    flat = [seed for seed in range(60) if world(seed).picture.mean(axis=2).std() < 9]
    assert len(flat) <= 1, f"nearly featureless pictures: {flat}"
