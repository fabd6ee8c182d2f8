"""Several generations sampled as one batch: each is what it is alone, whatever the others are."""

import numpy as np
import pytest
import torch

from hackamore.controls.adapter import new_adapter
from hackamore.controls.branch import new_control
from hackamore.controls.catalog import load_control
from hackamore.core.errors import Cancelled, HackamoreError
from hackamore.generate import Upscale, generate
from hackamore.generate.together import generate_together
from tests.conftest import randomise

SIZE = (64, 64)
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
MASK = np.zeros((64, 64, 3), np.uint8)
MASK[16:48, 8:40] = 255


def hint(seed):
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed)).mul(255).round() / 255


@pytest.fixture(scope="module")
def branches(sd1):
    return [randomise(new_control(sd1, kind), seed) for seed, kind in enumerate(("canny", "seg"))]


@pytest.fixture(scope="module")
def adapter(sd1):
    """An adapter with random weights loud enough to be seen."""
    adapter, generator = new_adapter(sd1, "sketch"), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapter.parameters():
            spread = 0.5 / max(1, parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.02
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    return adapter.eval().requires_grad_(False)


def asked(prompt="a red circle", *units, **told):
    return {"prompt": prompt, "controls": units, "size": SIZE, "steps": 4, "guidance": 4.0, "seed": 1} | told


def agree(base, requests, batch=16):
    """The requests made together, which must be what they are alone; and the batches that the base was asked for."""
    rows = []
    hook = base.unet.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    try:
        together = generate_together(base, requests, batch=batch)
    finally:
        hook.remove()
    for one, request in zip(together, requests, strict=True):
        alone = generate(base, **request)
        assert (one.latents - alone.latents).abs().max() <= 1e-4
        assert [image.recipe.seed for image in one.images] == [image.recipe.seed for image in alone.images]
    return together, rows


def test_different_units_windows_masks_modes_and_guidances_share_one_batch(sd1, branches, adapter):
    canny, seg = branches
    requests = [
        asked("a red circle", canny.unit(hint(0), scale=0.9), seed=1),
        asked("a blue square at noon", seg.unit(hint(1), end=0.5, mode="guess"), seed=2, guidance=7.5),
        asked("mountains", seed=3, guidance=1.0),
        asked("a lake", canny.unit(hint(2), start=0.25, mask=MASK), seg.unit(hint(3), mode="control"), seed=4),
        asked(
            "a red square", adapter.unit(hint(4), scale=0.8), canny.unit(hint(5), prompt="a lake"), seed=5, negative="a"
        ),
        asked("a circle", canny.unit(hint(6), schedule="0@0/1.2@0.9"), seed=6, guidance=1.0),
    ]
    together, rows = agree(sd1, requests)
    assert rows[:4] == [10] * 4
    silent = generate_together(sd1, [request | {"controls": ()} for request in requests], batch=8)
    for one, plain, request in zip(together, silent, requests, strict=True):
        heard = bool((one.latents - plain.latents).abs().max() > 1e-2)
        assert heard == bool(request["controls"])


def test_a_control_that_several_use_is_run_once(sd1, branches):
    canny, _ = branches
    rows = []
    hook = canny.trunk.conv_in.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    try:
        generate_together(
            sd1,
            [
                asked("a", canny.unit(hint(0))),
                asked("b", canny.unit(hint(1), mode="guess"), canny.unit(hint(2), end=0.5), seed=2),
                asked("c", seed=3),
            ],
            batch=8,
        )
    finally:
        hook.remove()
    assert rows == [3, 2, 3, 2, 3, 3]


def test_start_pictures_masks_and_several_pictures_share_a_batch(sd1, branches):
    canny, _ = branches
    requests = [
        asked("a lake", canny.unit(hint(0)), init=PICTURE, strength=0.5, num=2),
        asked("mountains", init=255 - PICTURE, strength=0.5, mask=MASK, seed=9),
        asked("a circle", canny.unit(hint(1)), init=PICTURE, strength=0.5, seed=5, scheduler="euler"),
    ]
    together, _ = agree(sd1, requests)
    kept = MASK[..., 0] == 0
    assert (together[1].images[0].pixels[kept] == (255 - PICTURE)[kept]).all()


@pytest.mark.parametrize("scheduler", ["euler_a", "unipc"])
def test_every_scheduler_keeps_the_pictures_apart(sd1, branches, scheduler):
    told = {"scheduler": scheduler, "steps": 3}
    requests = [asked("a", branches[0].unit(hint(0)), **told), asked("b", seed=2, **told)]
    _, rows = agree(sd1, requests)
    assert rows[0] == 4


def test_what_cannot_share_a_batch_is_made_alone_and_all_the_same(sd1, branches):
    canny, _ = branches
    requests = [
        asked("a", canny.unit(hint(0)), steps=2),
        asked("a " * 100, seed=2, steps=2),  # a longer text
        asked("b", load_control("reference", sd1).unit(PICTURE), seed=3, steps=2),
        asked("c", steps=1),
        asked("d", seed=4, steps=2),
        asked("e", upscale=Upscale((80, 80), strength=0.5), steps=2),
    ]
    _, rows = agree(sd1, requests)
    assert rows.count(4) == 2, "the first and the fifth"
    assert max(rows) == 4


def test_no_batch_is_larger_than_told(sd1):
    requests = [asked("a", num=3, steps=1), asked("b", num=2, seed=9, steps=1), asked("c", seed=20, steps=1)]
    _, rows = agree(sd1, requests, batch=4)
    assert rows == [6, 6], "three, and then two beside one"


def test_one_that_fails_or_is_cancelled_does_not_harm_the_others(sd1, branches):
    canny, seg = branches
    broken = seg.unit(hint(1))
    broken.control = type("Broken", (), {"__getattr__": lambda _, name: getattr(seg, name), "prepare": _fails})()
    steps = {"kept": [], "left": []}
    requests = [
        asked("kept", canny.unit(hint(0)), progress=lambda told: steps["kept"].append(told.step.index)),
        asked("wrong", size=(63, 64)),
        asked("broken", broken, seed=3),
        asked(
            "left",
            seed=4,
            progress=lambda told: steps["left"].append(told.step.index),
            cancelled=lambda: len(steps["left"]) >= 2,
        ),
    ]
    made, wrong, failed, left = generate_together(sd1, requests, batch=8)
    alone = generate(sd1, **requests[0])
    assert (made.latents - alone.latents).abs().max() <= 1e-4
    assert isinstance(wrong, HackamoreError)
    assert "size" in str(wrong)
    assert isinstance(failed, RuntimeError)
    assert isinstance(left, Cancelled)
    assert steps["left"] == [0, 1]


def _fails(*_, **__):
    raise RuntimeError("no memory is left")


def test_a_cancelled_picture_costs_nothing_further(sd1):
    rows, told = [], []
    hook = sd1.unet.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    requests = [asked("a"), asked("b", seed=2, progress=told.append, cancelled=lambda: len(told) == 2)]
    try:
        made, left = generate_together(sd1, requests, batch=2)
    finally:
        hook.remove()
    assert rows == [4, 4, 2, 2]
    assert isinstance(left, Cancelled)
    assert (made.latents - generate(sd1, **requests[0]).latents).abs().max() <= 1e-4
