"""Huts, bridges, waterfalls, woods, storms and manners: drawn with exact truth, named only where they are seen."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from hackamore.core.errors import HackamoreError
from hackamore.core.palette import CLASSES
from hackamore.worlds import World, render
from hackamore.worlds.captions import MANNER_WORDS, MOST_WORDS, SIGHTS, STYLES
from hackamore.worlds.facts import VISIBLE
from hackamore.worlds.sights import choose_sight
from hackamore.worlds.styles import choose_style

INDEX = {name: index for index, name in enumerate(CLASSES)}
SEEDS = range(100, 140)


@cache
def world(seed: int, styles: float = 0.0, people: float = 0.0) -> World:
    return render(seed, 96, sights=1.0, styles=styles, people=people)


def of_kind(*kinds: str) -> list[World]:
    return [world(seed) for seed in SEEDS if choose_sight(seed, 1.0) in kinds]


def test_without_a_chance_nothing_stands_out() -> None:
    for seed in SEEDS:
        assert choose_sight(seed, 0.0) == "none"
        assert choose_style(seed, 0.0) == "photo"
    assert not np.isin(render(108, 64).segmentation, (INDEX["building"], INDEX["bridge"])).any()


def test_a_greater_chance_only_adds() -> None:
    few = {seed: choose_sight(seed, 0.3) for seed in range(400)}
    assert 80 < sum(kind != "none" for kind in few.values()) < 160
    assert all(choose_sight(seed, 0.9) == kind for seed, kind in few.items() if kind != "none")


@pytest.mark.parametrize(("kinds", "name"), [(("hut", "village"), "building"), (("bridge",), "bridge")])
def test_what_is_built_is_seen_and_named(kinds: tuple[str, ...], name: str) -> None:
    worlds = of_kind(*kinds)
    seen = [w for w in worlds if w.attributes["sight"] != "none"]
    assert len(seen) > 0.7 * len(worlds) > 3
    for w in seen:
        mask = w.segmentation == INDEX[name]
        assert mask.mean() >= VISIBLE[name]
        assert np.isfinite(w.depth[mask]).all()
        np.testing.assert_allclose(np.linalg.norm(w.normals[mask], axis=1), 1.0, atol=1e-4)


def test_walls_are_flat() -> None:
    """Points of a hut with one normal lie on few planes: their distances along it take few values."""
    flat = 0
    for w in (w for w in of_kind("hut") if w.attributes["sight"] == "hut"):
        mask = w.segmentation == INDEX["building"]
        x, y = w.camera.points(w.depth)
        normals = w.normals[mask] * (1.0, 1.0, -1.0)
        keys, counts = np.unique(normals.round(2), axis=0, return_counts=True)
        key = keys[counts.argmax()]
        same = np.abs(normals - key).max(axis=1) < 0.01
        along = (np.stack([x[mask], y[mask], w.depth[mask]], axis=1)[same] * normals[same]).sum(axis=1)
        planes = np.unique((along / max(float(np.ptp(y[mask])), 1e-6) * 12).round())
        flat += len(planes) <= 6
    assert flat >= 5


def test_waterfalls_hang_on_faces_above_the_water() -> None:
    worlds = [w for w in of_kind("waterfall") if w.attributes["sight"] == "waterfall"]
    assert len(worlds) >= 2
    for w in worlds:
        steep = (w.segmentation == INDEX["water"]) & (w.normals[..., 1] < 0.97)
        assert steep.mean() > 0.003
        assert w.picture[steep].mean() > 0.6 * w.picture.mean()


def test_woods_are_full_of_trees() -> None:
    worlds = of_kind("woods")
    assert len(worlds) >= 4
    assert all(w.attributes["terrain"] == "woods" for w in worlds)
    assert np.median([np.isin(w.segmentation, (INDEX["tree"], INDEX["forest"])).mean() for w in worlds]) > 0.4


def test_storms_come_with_sights_and_are_dark() -> None:
    stormy = [w for w in map(world, range(100, 180)) if w.attributes["weather"] == "stormy"]
    clear = [w for w in map(world, SEEDS) if w.attributes["weather"] == "clear" and w.attributes["time"] == "noon"]
    assert len(stormy) >= 2
    assert np.mean([w.picture.mean() for w in stormy]) < np.mean([w.picture.mean() for w in clear])


def test_captions_name_the_sight_in_few_words() -> None:
    named = [
        any(words in w.caption for words in SIGHTS[w.attributes["sight"]])
        for w in map(world, SEEDS)
        if w.attributes["sight"] != "none"
    ]
    assert np.mean(named) > 0.75
    for w in [*map(world, SEEDS), *(world(seed, 1.0, 1.0) for seed in range(100, 112))]:
        assert len(w.caption.split()) <= MOST_WORDS + MANNER_WORDS
        assert w.attributes["sight"] != "none" or not any(
            f" {words} " in f" {w.caption} " for kind in ("hut", "village", "bridge") for words in SIGHTS[kind]
        )


@pytest.mark.parametrize("seed", range(200, 212))
def test_a_manner_changes_the_picture_and_no_truth(seed: int) -> None:
    plain, styled = render(seed, 96), render(seed, 96, styles=1.0)
    style = styled.attributes["style"]
    assert plain.attributes["style"] == "photo"
    assert style in STYLES
    assert any(template.format("").strip(" ,") in styled.caption for template in STYLES[style])
    for name in ("segmentation", "depth", "normals"):
        assert getattr(plain, name).tobytes() == getattr(styled, name).tobytes()
    assert np.abs(plain.picture.astype(int) - styled.picture).mean() > 4
    if style == "ink":
        assert np.ptp(styled.picture.astype(int), axis=2).mean() < 30
    if style == "pixel art":
        blocks = styled.picture.reshape(32, 3, 32, 3, 3)
        assert (blocks == blocks[:, :1, :, :1]).all()
    assert render(seed, 96, styles=1.0).picture.tobytes() == styled.picture.tobytes()


@pytest.mark.parametrize("name", ["people", "sights", "styles"])
def test_impossible_chances_are_refused_in_words(name: str) -> None:
    with pytest.raises(HackamoreError, match=f"the probability of {name} is 0 to 1"):
        render(1, 32, **{name: 1.5})  # type: ignore[arg-type]
