"""ControlNet, T2I-Adapter and a masked second ControlNet in one run on Meadow: each acts where and when it should."""

import numpy as np
import pytest
import torch

import hackamore as hk
from hackamore.controls.adapter import new_adapter
from hackamore.core.image import to_hint
from hackamore.core.palette import WORLDS
from hackamore.worlds import render

STEPS, SEED = 8, 3


@pytest.fixture(scope="module")
def controls(meadow):
    """The shipped canny and seg, and an adapter with random weights loud enough to be seen."""
    adapter = new_adapter(meadow, "sketch")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapter.parameters():
            spread = 0.5 / max(1, parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.02
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    adapter.eval().requires_grad_(False)
    return hk.load_control("meadow/canny", meadow), adapter, hk.load_control("meadow/seg", meadow)


@pytest.fixture(scope="module")
def hints():
    """The edges of one world, a lightness as a sketch, and the materials of two further worlds."""
    worlds = [render(seed, 128) for seed in (9_000_001, 9_000_002, 9_000_003)]
    edges = hk.annotate("canny", worlds[0].picture, size=(128, 128))
    return (
        to_hint(edges),
        to_hint(worlds[1].picture),
        [to_hint(WORLDS.paint(world.segmentation)) for world in worlds[1:]],
    )


def run(meadow, units):
    """The picture, and the estimate of the clean latents after each step."""
    seen = []
    made = hk.generate(
        meadow, "mountains with a lake at noon", controls=units, seed=SEED, steps=STEPS,
        progress=lambda told: seen.append(told.estimate.clone()),
    )  # fmt: skip
    return made.images[0].pixels.astype(float), seen


def first_difference(a, b):
    """The first step whose estimates differ."""
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=True)) if not torch.equal(x, y)), None)


@pytest.fixture(scope="module")
def units(controls, hints):
    """A function of what is changed → the three units."""
    right = torch.zeros(1, 1, 128, 128)
    right[..., 64:] = 1

    def make(edges=True, adapter=True, materials=0, **told):
        canny, sketch, seg = controls
        given = {"canny": {"end": 0.75}, "sketch": {"start": 0.5, "scale": 0.5}, "seg": {"mask": right}}
        for name, more in told.items():
            given[name] = given[name] | more
        return [
            canny.unit(hints[0], **(given["canny"] if edges else {"scale": 0})),
            sketch.unit(hints[1], **(given["sketch"] if adapter else {"scale": 0})),
            seg.unit(hints[2][materials], **given["seg"]),
        ]

    return make


def test_each_begins_and_ends_with_its_window(meadow, units):
    _, whole = run(meadow, units())
    _, without_adapter = run(meadow, units(adapter=False))
    _, without_edges = run(meadow, units(edges=False))
    assert first_difference(whole, without_adapter) == STEPS // 2
    assert first_difference(whole, without_edges) == 0
    _, shorter = run(meadow, units(canny={"end": 0.5}))
    assert first_difference(whole, shorter) == STEPS // 2
    _, longer = run(meadow, units(canny={"end": 1.0}))
    assert first_difference(whole, longer) == STEPS * 3 // 4


def test_the_masked_control_changes_its_side(meadow, units):
    one, _ = run(meadow, units(materials=0))
    other, _ = run(meadow, units(materials=1))
    changed = np.abs(one - other).mean(axis=2)
    assert changed[:, 64:].mean() > 3 * changed[:, :48].mean()
    everywhere, _ = run(meadow, units(materials=0, seg={"mask": None}))
    wide, _ = run(meadow, units(materials=1, seg={"mask": None}))
    unmasked = np.abs(everywhere - wide).mean(axis=2)
    assert unmasked[:, :48].mean() > 1.5 * changed[:, :48].mean()


def test_the_order_of_the_units_does_not_matter(meadow, units):
    one, _ = run(meadow, units())
    other, _ = run(meadow, units()[::-1])
    assert np.abs(one - other).max() <= 1
