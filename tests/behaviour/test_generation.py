"""The rest of a generation: begun from pictures, painted anew in part, enlarged, in tiles; recorded and replayed."""

import numpy as np
import pytest
import torch

from hackamore.annotators.catalog import annotate
from hackamore.controls.branch import new_control
from hackamore.controls.catalog import load_control
from hackamore.core.errors import HackamoreError
from hackamore.core.recipe import Recipe
from hackamore.generate import Tile, Upscale, check, generate, replay
from hackamore.sampling.inpaint import paste
from hackamore.sampling.tiles import averaged
from tests.conftest import randomise

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
HINT = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
MASK = np.zeros((64, 64, 3), np.uint8)
MASK[20:44, 12:40] = 255


def made(base, *units, **told):
    told = {"seed": 1, "size": (64, 64), "steps": 4, "guidance": 3.0} | told
    return generate(base, "a red circle", controls=units, **told)


@pytest.fixture(scope="module")
def branch(sd1):
    return randomise(new_control(sd1, "canny"))


def test_a_lower_strength_stays_nearer_and_windows_count_the_steps_that_run(sd1, branch):
    start = sd1.encode(torch.from_numpy(PICTURE / np.float32(127.5) - 1).permute(2, 0, 1)[None])
    far = [float((made(sd1, init=PICTURE, strength=s, steps=10).latents - start).norm()) for s in (0.1, 0.4, 0.9)]
    assert far == sorted(far)
    run = []
    made(sd1, branch.unit(HINT), init=PICTURE, strength=0.5, progress=lambda told: run.append(told.step))
    assert [(step.index, step.total) for step in run] == [(0, 2), (1, 2)]
    late = made(sd1, branch.unit(HINT, start=0.6), init=PICTURE, strength=0.5)
    assert "silent at all of the 2 steps" in late.notices[0]


def test_what_a_mask_keeps_stays_to_the_pixel_and_the_rest_is_new(base):
    branch = randomise(new_control(base))
    white = MASK[..., 0] == 255
    for units in ([], [branch.unit(HINT)]):
        pixels = made(base, *units, init=PICTURE, mask=MASK).images[0].pixels
        assert (pixels[~white] == PICTURE[~white]).all()
        assert (pixels[28:36, 20:32] != PICTURE[28:36, 20:32]).any(-1).mean() > 0.9


def test_a_white_mask_paints_everything_anew(sd1):
    white = np.full_like(MASK, 255)
    assert torch.equal(made(sd1, init=PICTURE, mask=white).latents, made(sd1).latents)


def test_the_pasted_edge_fades_inwards():
    black, white = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)
    row = paste(white, black, MASK[..., 0])[32, :, 0].astype(int)
    assert (row[:12] == 0).all()
    assert (np.diff(row[11:18]) > 0).all()
    assert (row[18:34] == 255).all()


def test_pictures_and_masks_may_be_one_for_each_and_do_not_depend_on_their_batch(sd1):
    pictures = [PICTURE, PICTURE[::-1].copy()]
    masks = [MASK, MASK[::-1].copy()]
    for batch in (1, 2):
        together = made(sd1, init=pictures, mask=masks, strength=0.7, num=2, batch=batch, scheduler="euler_a")
        for k in range(2):
            alone = made(sd1, init=pictures[k], mask=masks[k], strength=0.7, seed=1 + k, scheduler="euler_a")
            assert (together.latents[k] - alone.latents[0]).abs().max() <= 1e-4


def test_the_second_pass_has_hints_made_anew(sd1, branch):
    asked = []

    def controls(size):
        asked.append(size)
        return [branch.unit(torch.full((1, 3, size[1], size[0]), 0.5))]

    shares = []
    told = {"upscale": Upscale(factor=1.5, strength=0.5), "seed": 1, "size": (64, 64), "steps": 4}
    result = generate(sd1, "a red circle", controls=controls, num=2, progress=lambda p: shares.append(p.share), **told)
    assert asked == [(64, 64), (96, 96)]
    assert result.images[0].pixels.shape == (96, 96, 3)
    assert result.hints[0].shape == (96, 96, 3)
    assert result.notices == []
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    alone = generate(sd1, "a red circle", controls=controls, **told | {"seed": 2})
    assert (result.latents[1] - alone.latents[0]).abs().max() <= 1e-4


def test_a_negative_prompt_that_is_not_heard_is_told(sd1):
    told = {"seed": 1, "size": (64, 64), "steps": 1}
    plain = generate(sd1, "a red circle", guidance=1, **told)
    unheard = generate(sd1, "a red circle", guidance=1, negative="a lake", **told)
    assert plain.notices == generate(sd1, "a red circle", negative="a lake", **told).notices == []
    assert unheard.notices == ["the negative prompt is not heard: guidance 1 makes no second pass for it"]
    assert torch.equal(plain.latents, unheard.latents)


def test_hints_that_are_given_once_are_resized_for_the_second_pass_and_that_is_said(sd1, branch):
    lines = torch.zeros(1, 3, 64, 64)
    lines[:, :, 20] = 1
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 32:] = 1
    for through in ("latents", "pixels"):
        result = made(sd1, branch.unit(lines, mask=mask), upscale=Upscale((128, 128), strength=0.5, through=through))
        assert "resized to 128×128" in result.notices[0]
        assert set(np.unique(result.hints[0])) == {0, 255}
        assert result.images[0].pixels.shape == (128, 128, 3)


def test_one_tile_over_the_whole_picture_changes_nothing(base):
    branch = randomise(new_control(base))
    half = torch.zeros(1, 1, 64, 64)
    half[..., 32:] = 1
    units = [branch.unit(HINT, scale=0.5), branch.unit(HINT, mask=half, prompt="a lake")]
    assert torch.equal(made(base, *units).latents, made(base, *units, tile=Tile(64, 16)).latents)


def test_tiles_see_their_own_part_of_hint_mask_and_hidden(sd1, branch):
    """Where a control acts in the left half alone, the right half's tiles are those of a free picture."""
    wide = {"size": (128, 64), "tile": Tile(64, 0)}
    left = torch.zeros(1, 1, 64, 128)
    left[..., :64] = 1
    hint = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(3))
    hidden = torch.zeros(1, 1, 64, 128)
    hidden[..., 32:96] = 1
    free, told = made(sd1, **wide), made(sd1, branch.unit(hint, mask=left, hidden=hidden), **wide)
    assert torch.equal(free.latents[..., 8:], told.latents[..., 8:])
    assert (free.latents[..., :8] - told.latents[..., :8]).abs().max() > 1e-2
    mirrored = made(sd1, branch.unit(hint.roll(64, 3)), **wide).latents
    assert not torch.allclose(mirrored, made(sd1, branch.unit(hint), **wide).latents)


def test_each_tile_prepares_its_hint_once(sd1, branch):
    prepared = []

    class Counted:
        name, condition, sha256, sites = "counted", None, {}, branch.sites

        def prepare(self, hint):
            prepared.append(tuple(hint.shape))
            return branch.prepare(hint)

        residuals = staticmethod(branch.residuals)

    from hackamore.controls.unit import Unit

    hint = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(3))
    made(sd1, Unit(Counted(), hint), size=(128, 64), tile=Tile(64, 32), num=2)
    assert prepared == [(1, 3, 64, 64)] * 3


@pytest.mark.parametrize(("size", "side", "overlap"), [((128, 64), 64, 16), ((200, 96), 96, 24), ((64, 64), 32, 0)])
def test_tiles_cover_every_cell_and_average_to_what_all_agree_on(size, side, overlap):
    tile = Tile(side, overlap)
    tile.check(size, 8)
    boxes = tile.boxes(size, 8, 8)
    x = torch.randn(2, 4, size[1] // 8, size[0] // 8)
    covered = torch.zeros(x.shape[2:])
    for box in boxes:
        assert (box.width, box.height) == (side // 8, side // 8)
        box.of(covered).add_(1)
    assert covered.min() >= 1
    assert (averaged(x, boxes, overlap // 8, lambda _, part: part) - x).abs().max() < 1e-5


def test_the_second_pass_may_be_tiled_and_painted(sd1, branch):
    told = {"init": PICTURE, "mask": MASK, "upscale": Upscale(factor=2, strength=0.5), "tile": Tile(64)}
    result = made(sd1, branch.unit(HINT), **told)
    larger = MASK.repeat(2, 0).repeat(2, 1)[..., 0] == 255
    import cv2

    kept = cv2.resize(PICTURE, (128, 128), interpolation=cv2.INTER_CUBIC)
    inside = cv2.dilate(larger.astype(np.uint8), np.ones((5, 5), np.uint8)) == 1
    assert (result.images[0].pixels[~inside] == kept[~inside]).all()


WRONG = [
    ({"strength": 0.5}, "strength without a start picture"),
    ({"mask": MASK}, "mask without a start picture"),
    ({"init": PICTURE, "strength": 0.0}, "strength is out of range"),
    ({"init": PICTURE, "strength": float("nan")}, "strength is out of range"),
    ({"init": PICTURE, "strength": 1.01}, "strength is out of range"),
    ({"init": PICTURE, "strength": 0.2}, "no step is left"),
    ({"init": PICTURE, "mask": np.zeros_like(MASK)}, "mask hides nothing"),
    ({"init": PICTURE[:32]}, "start picture has another size"),
    ({"init": PICTURE, "mask": MASK[:, :32]}, "mask has another size"),
    ({"init": [PICTURE] * 3}, "3 start pictures for 1 picture"),
    ({"init": [PICTURE, PICTURE[:32]]}, "not of one size"),
    ({"init": torch.randn(1, 3, 64, 64) * 9}, "out of range"),
    ({"init": torch.zeros(1, 2, 64, 64)}, "wrong shape"),
    ({"upscale": Upscale()}, "larger size is not told"),
    ({"upscale": Upscale(factor=0.5)}, "upscale factor is out of range"),
    ({"upscale": Upscale(factor=99)}, "upscale factor is out of range"),
    ({"upscale": Upscale((32, 32))}, "not larger"),
    ({"upscale": Upscale((128, 64))}, "another shape"),
    ({"upscale": Upscale((100, 100))}, "size does not fit"),
    ({"upscale": Upscale(factor=2, strength=0)}, "upscale strength is out of range"),
    ({"upscale": Upscale(factor=2, strength=0.1)}, "no step is left"),
    ({"upscale": Upscale(factor=2, steps=5000)}, "number of steps"),
    ({"upscale": Upscale(factor=2, through="magic")}, "unknown way"),
    ({"tile": Tile(128)}, "tile is larger than the picture"),
    ({"tile": Tile(30)}, "tile does not fit"),
    ({"tile": Tile(32, 32)}, "overlap is out of range"),
    ({"tile": Tile(32, 4)}, "overlap is out of range"),
]


@pytest.mark.parametrize(("told", "words"), WRONG)
def test_what_cannot_be_is_refused_before_any_work(sd1, told, words):
    with pytest.raises(HackamoreError, match=words):
        check(sd1, ["a lake"], **{"size": (64, 64), "steps": 4} | told)
    with pytest.raises(HackamoreError, match=words):
        made(sd1, progress=lambda _: pytest.fail("it ran"), **told)


def test_a_hint_of_the_second_pass_must_have_its_size(sd1, branch):
    with pytest.raises(HackamoreError, match="another size"):
        generate(
            sd1, "a lake", controls=lambda _: [branch.unit(HINT)], size=(64, 64), steps=2, upscale=Upscale(factor=2)
        )


LAND = {"seed": 5, "size": (64, 64), "steps": 3}
ROOM = {
    "img2img": {"init": PICTURE, "strength": 0.7},
    "inpainting": {"init": PICTURE, "mask": MASK, "strength": 0.7},
    "second pass": {"upscale": Upscale(factor=2, strength=0.4, through="pixels")},
    "tiles": {"tile": Tile(32, 16)},
}


@pytest.mark.parametrize("way", ROOM)
def test_replay_gives_the_same_bytes(meadow, tmp_path, way):
    canny, seg = (load_control(f"meadow/{kind}", meadow) for kind in ("canny", "seg"))
    half = torch.zeros(1, 1, 128, 128)
    half[..., 64:] = 1
    classes = np.zeros((128, 128, 3), np.uint8)

    def controls(size):
        mask = torch.nn.functional.interpolate(half, size[::-1])
        return [
            canny.unit(annotate("canny", PICTURE, size=size), mode="prompt", hidden=mask),
            seg.unit(classes[: size[1], : size[0]], weights=[0.5] * 7, prompt="a lake", mask=mask),
        ]

    result = generate(meadow, "a lake at noon", controls=controls, **LAND, **ROOM[way])
    result.images[0].save(tmp_path / "made.png")
    from hackamore.core.recipe import read_recipe

    again = replay(read_recipe(tmp_path / "made.png"))
    again.images[0].save(tmp_path / "again.png")
    assert (tmp_path / "made.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert result.images[0].recipe.differences(again.images[0].recipe) == []


def test_a_search_from_a_picture_shares_only_the_steps_before_the_window(meadow):
    from hackamore.evaluation.verify import Judge, reach

    unit = load_control("meadow/canny", meadow).unit(annotate("canny", PICTURE), start=0.25)
    told = {"init": PICTURE, "strength": 0.5, "steps": 8, "size": (64, 64), "seed": 1}
    result, found = reach(meadow, "a lake", 0.01, Judge([unit]), controls=[unit], **told)
    alone = generate(meadow, "a lake", controls=[unit.scaled_to(found.scale)], **told)
    assert found.scale < 1
    assert (result.images[0].pixels == alone.images[0].pixels).all()


def test_recipes_of_the_first_version_still_load(sd1):
    told = made(sd1).images[0].recipe.model_dump()
    new = ("base_options", "init", "strength", "mask", "upscale", "tile", "tile_overlap")
    old = Recipe.model_validate({name: value for name, value in told.items() if name not in new} | {"version": 1})
    assert (old.init, old.final_size) == (None, (64, 64))
    assert "the recipe's version was 1, is 2" in old.differences(Recipe.model_validate(told))


def test_parameters_speak_the_words_of_galleries(sd1, branch):
    units = [branch.unit(HINT, mode="control")]
    told = made(sd1, *units, init=PICTURE, strength=0.75, upscale=Upscale(factor=2, strength=0.5), tile=Tile(64, 16))
    words = told.images[0].recipe.parameters()
    for part in (
        "Denoising strength: 0.75", "Hires resize: 128x128", "Hires steps: 4", "Hires upscaler: Latent (bicubic)",
        "Control Mode: ControlNet is more important", "Tile: 64x64", "Tile overlap: 16",
    ):  # fmt: skip
        assert part in words
