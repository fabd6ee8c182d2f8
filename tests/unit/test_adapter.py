"""T2I-Adapters: shapes, layouts, silence at birth, one run a picture, where and when they act, what is refused."""

from dataclasses import replace

import pytest
import torch
from diffusers import T2IAdapter
from safetensors.torch import load_file, save_file

from hackamore.controls.adapter import Adapter, new_adapter, places_of
from hackamore.controls.branch import new_control
from hackamore.controls.compose import Composition
from hackamore.controls.formats.file import open_control
from hackamore.controls.formats.t2i import read_t2i, their_name, write_adapter
from hackamore.core.errors import HackamoreError
from hackamore.generate import generate
from tests.conftest import randomise
from tests.control_models import PublishedBase, lively_adapter

HINT = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3)).mul(255).round() / 255
TOLD = {"seed": 5, "size": (64, 64), "steps": 4, "guidance": 3.0}


@pytest.fixture(scope="module")
def published():
    return {family: PublishedBase(family) for family in ("sd1", "sdxl")}


@pytest.mark.parametrize(
    ("family", "kind", "channels_in", "count"),
    [
        ("sd1", "full_adapter", 3, 77_369_280),
        ("sd1", "full_adapter", 1, 77_000_640),
        ("sd1", "light_adapter", 3, 18_689_200),
        ("sdxl", "full_adapter_xl", 3, 79_028_160),
        ("sdxl", "full_adapter_xl", 1, 77_553_600),
    ],
)
def test_the_published_shapes_are_diffusers_key_by_key(published, family, kind, channels_in, count):
    light = kind == "light_adapter"
    told = {"downscale_factor": 16 if family == "sdxl" else 8, "num_res_blocks": 4 if light else 2}
    with torch.device("meta"):
        mine = Adapter(published[family], light=light, channels_in=channels_in)
        theirs = T2IAdapter(channels_in, [320, 640, 1280, 1280][: 3 if light else 4], adapter_type=kind, **told)
    found = {f"adapter.{name}": value.shape for name, value in mine.state_dict().items()}
    assert found == {name: value.shape for name, value in theirs.state_dict().items()}
    assert sum(value.numel() for value in mine.parameters()) == count


def test_the_official_layout_counts_blocks_through_all_levels(published, tmp_path):
    with torch.device("meta"):
        full, light = Adapter(published["sd1"]), Adapter(published["sd1"], light=True)
    names = {their_name(name, full, "official") for name in full.state_dict()}
    blocks = {
        f"body.{i}.{part}.{kind}" for i in range(8) for part in ("block1", "block2") for kind in ("weight", "bias")
    }
    widen = {f"body.{i}.in_conv.{kind}" for i in (2, 4) for kind in ("weight", "bias")}
    assert names == blocks | widen | {"conv_in.weight", "conv_in.bias"}
    names = {their_name(name, light, "official") for name in light.state_dict()}
    assert {"body.0.in_conv.weight", "body.3.body.3.block2.bias", "body.3.out_conv.weight"} <= names


@pytest.mark.parametrize("name", ["folder", "whole.safetensors", "whole.pth"])
@pytest.mark.parametrize(("light", "channels_in"), [(False, 3), (False, 1), (True, 3)])
def test_files_go_there_and_back_bit_for_bit(sd1, tmp_path, name, light, channels_in):
    layout = "official" if "." in name else "diffusers"
    adapter = lively_adapter(new_adapter(sd1, "depth", light=light, channels_in=channels_in))
    write_adapter(adapter, tmp_path / name, layout)
    back = read_t2i(open_control(tmp_path / name), sd1)
    assert {k: v.shape for k, v in adapter.state_dict().items()} == {k: v.shape for k, v in back.state_dict().items()}
    assert all(torch.equal(a, b) for a, b in zip(adapter.parameters(), back.parameters(), strict=True))
    assert back.name == name
    assert back.condition == (None if name.endswith("pth") else "depth")
    assert len(next(iter(back.sha256.values()))) == 64
    assert not any(parameter.requires_grad for parameter in back.parameters())


@pytest.mark.parametrize("light", [False, True])
def test_folders_are_diffusers_own(sd1, tmp_path, light):
    mine = lively_adapter(new_adapter(sd1, light=light))
    write_adapter(mine, tmp_path / "mine")
    theirs = T2IAdapter.from_pretrained(tmp_path / "mine")
    for one, other in zip(mine.prepare(HINT), theirs(HINT), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    theirs.save_pretrained(tmp_path / "theirs")
    back = read_t2i(open_control(tmp_path / "theirs"), sd1)
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), back.parameters(), strict=True))


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("shape", ["sd1", "sd2", "sdxl", "meadow"])
def test_a_fresh_adapter_is_a_no_op_bit_for_bit(request, shape, light):
    base = request.getfixturevalue(shape)
    adapter = new_adapter(base, light=light)
    hint = HINT if base.family != "meadow" else HINT.repeat(1, 1, 2, 2)
    told = TOLD | {"size": base.size}
    free = generate(base, "a lake", **told).latents
    assert torch.equal(generate(base, "a lake", controls=[adapter.unit(hint)], **told).latents, free)
    assert not any(feature.any() for feature in adapter.prepare(hint))


@pytest.mark.parametrize("light", [False, True])
def test_a_fresh_adapter_learns_from_the_first_step_on(meadow, light):
    adapter = new_adapter(meadow, light=light)
    x, t = torch.randn(2, 4, 16, 16), torch.tensor([400, 900])
    residuals = adapter(x, t, meadow.encode_text(["a", "b"]), HINT.repeat(2, 1, 2, 2))
    meadow.predict(x, t, meadow.encode_text(["a", "b"]), residuals).pow(2).mean().backward()
    moved = {name for name, p in adapter.named_parameters() if p.grad is not None and p.grad.any()}
    first = (
        {f"body.{i}.out_conv.weight" for i in range(4)}
        if light
        else {"conv_in.weight", "body.3.resnets.1.block2.weight"}
    )
    assert first <= moved
    assert not any(parameter.grad is not None for parameter in meadow.unet.parameters())


def test_it_runs_once_a_picture(sd1):
    adapter, runs = lively_adapter(new_adapter(sd1)), []
    adapter.body[0].register_forward_hook(lambda *_: runs.append(1))
    generate(sd1, "a lake", controls=[adapter.unit(HINT)], num=2, **TOLD)
    assert len(runs) == 1  # one hint, two pictures of four steps


def test_steps_do_not_change_the_features(meadow):
    """The base adds in place: what it is given must be the same at the next step."""
    adapter = lively_adapter(new_adapter(meadow))
    composition = Composition([adapter.unit(HINT.repeat(1, 1, 2, 2))], meadow)
    x, text = torch.randn(2, 4, 16, 16), meadow.encode_text(["a", "b"])
    told = (x, torch.tensor(500), text, 0, 4, slice(0, 1), [None])
    with torch.inference_mode():
        once, again = composition.predict(*told), composition.predict(*told)
        kept = [feature.clone() for feature in composition.prepared[0]]
        composition.predict(*told)
    assert torch.equal(once, again)
    assert all(torch.equal(a, b) for a, b in zip(kept, composition.prepared[0], strict=True))


def test_pictures_of_a_batch_are_those_made_alone(meadow):
    adapter = lively_adapter(new_adapter(meadow))
    hints = torch.rand(2, 3, 128, 128)
    told = {"steps": 3, "guidance": 3.0}
    both = generate(meadow, "a lake", controls=[adapter.unit(hints)], num=2, batch=2, seed=5, **told).latents
    for k in range(2):
        alone = generate(meadow, "a lake", controls=[adapter.unit(hints[k : k + 1])], seed=5 + k, **told).latents
        torch.testing.assert_close(both[k], alone[0], rtol=0, atol=1e-4)


def test_a_grey_adapter_reads_any_hint(sd1):
    adapter = lively_adapter(new_adapter(sd1, channels_in=1))
    grey = HINT[:, :1]
    one, other = adapter.prepare(grey.repeat(1, 3, 1, 1)), adapter.prepare(grey)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one, other, strict=True))


def test_its_mask_and_window_keep_it_where_and_when_it_acts(sd1):
    adapter = lively_adapter(new_adapter(sd1))
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 32:] = 1
    composition = Composition([adapter.unit(HINT, mask=mask, end=0.5)], sd1)
    x, text = torch.randn(2, 4, 8, 8), sd1.encode_text(["a", "b"])
    told = composition.residuals(x, torch.tensor(500), text, 1, 4, slice(0, 1), [None])
    assert len(told.encoder) == 4
    for feature in told.encoder[:3]:  # the fourth is one cell
        half = feature.shape[-1] // 2
        assert not feature[..., :half].any()
        assert feature[..., half:].all()
    assert composition.residuals(x, torch.tensor(500), text, 2, 4, slice(0, 1), [None]) is None


def test_control_and_adapter_say_together_what_each_says_alone(sd1):
    adapter, branch = lively_adapter(new_adapter(sd1)), randomise(new_control(sd1))
    units = [adapter.unit(HINT, scale=0.7), branch.unit(HINT, scale=0.4)]
    x, text = torch.randn(2, 4, 8, 8), sd1.encode_text(["a", "b"])
    told = (x, torch.tensor(500), text, 0, 4, slice(0, 1), [None, None])
    with torch.inference_mode():
        both = Composition(units, sd1).residuals(*told)
        alone = [Composition([unit], sd1).residuals(*told) for unit in units]
        steered = Composition(units, sd1).predict(*told)
        reference = sd1.unet(
            x, 500, text.tokens, down_intrablock_additional_residuals=[f.clone() for f in alone[0].encoder],
            down_block_additional_residuals=alone[1].skips, mid_block_additional_residual=alone[1].mid,
        ).sample  # fmt: skip
    assert all(torch.equal(a, b) for a, b in zip(both.encoder, alone[0].encoder, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(both.skips, alone[1].skips, strict=True))
    torch.testing.assert_close(steered, reference, rtol=0, atol=1e-6)


def test_sides_that_are_no_multiple_of_its_stride_are_filled_up(meadow):
    adapter = lively_adapter(new_adapter(meadow))
    assert adapter.stride == 16
    told = {"seed": 5, "size": (120, 72), "steps": 2, "guidance": 1.0}
    unit = adapter.unit(torch.rand(1, 3, 72, 120))
    assert generate(meadow, "a lake", controls=[unit], **told).latents.isfinite().all()


def test_a_hint_of_another_size_is_refused(sd1):
    unit = new_adapter(sd1).unit(torch.zeros(1, 3, 128, 64))
    with pytest.raises(HackamoreError, match="size"):
        generate(sd1, "a lake", controls=[unit], **TOLD)


def test_where_bases_take_features(sd1, meadow, published):
    assert [tuple(place) for place in places_of(sd1)] == [(16, 8), (32, 16), (32, 32), (32, 64)]
    assert [tuple(place) for place in places_of(meadow)] == [(64, 16), (128, 16), (192, 32), (192, 32)]
    assert [tuple(place) for place in places_of(published["sdxl"])] == [(320, 16), (640, 16), (1280, 32), (1280, 32)]


@pytest.mark.parametrize(
    ("mine", "other"),
    [("meadow", "sd1"), ("sd1", "meadow"), ("sd1", "sd2"), ("sdxl", "sd1"), ("sd1", "sdxl"), ("sdxl", "meadow")],
)
@pytest.mark.parametrize("layout", ["diffusers", "official"])
def test_an_adapter_of_another_family_is_refused(request, tmp_path, mine, other, layout):
    path = tmp_path / ("there" if layout == "diffusers" else "there.safetensors")
    write_adapter(new_adapter(request.getfixturevalue(mine)), path, layout)
    with pytest.raises(HackamoreError, match="does not fit the base") as caught:
        read_t2i(open_control(path), request.getfixturevalue(other))
    assert mine in caught.value.received


def test_published_xl_and_sd_files_are_told_apart_by_their_first_convolution(published, tmp_path):
    wrong = {"sd1": "sdxl", "sdxl": "sd1"}
    for family, base in published.items():
        for channels_in in (1, 3):
            with torch.device("meta"):
                adapter = Adapter(base, channels_in=channels_in)
            path = tmp_path / f"{family}-{channels_in}.pth"
            torch.save({"a": torch.zeros(1)}, path)
            shapes = {"conv_in.weight": (320, channels_in * (16 if family == "sdxl" else 8) ** 2, 3, 3)}
            found = {
                their_name(n, adapter, "official"): tuple(v.shape) for n, v in adapter.state_dict().items()
            } | shapes
            file = replace(open_control(path), shapes=found)
            with pytest.raises(HackamoreError, match="does not fit the base") as caught:
                read_t2i(file, published[wrong[family]])
            assert f"family {family} " in caught.value.received
            assert f"family {wrong[family]} " in caught.value.expected


@pytest.mark.parametrize("light", [False, True])
def test_missing_and_unexpected_tensors_are_named(sd1, tmp_path, light):
    path = write_adapter(new_adapter(sd1, light=light), tmp_path / "a.safetensors", "official")
    weights = load_file(path)
    gone = "body.2.out_conv.weight" if light else "body.3.block1.weight"
    save_file({key: value for key, value in weights.items() if key != gone}, tmp_path / "less.safetensors")
    save_file(weights | {"body.9.skep.bias": torch.zeros(3)}, tmp_path / "more.safetensors")
    with pytest.raises(HackamoreError, match=f"lacks 1 tensors: {gone}"):
        read_t2i(open_control(tmp_path / "less.safetensors"), sd1)
    with pytest.raises(HackamoreError, match=r"unexpected 1 tensors: body\.9\.skep\.bias"):
        read_t2i(open_control(tmp_path / "more.safetensors"), sd1)


def test_what_cannot_be_written_is_refused(meadow, sd1, tmp_path):
    with pytest.raises(HackamoreError, match="diffusers has no class"):
        write_adapter(new_adapter(meadow, light=True), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
    with pytest.raises(HackamoreError, match="no name for weights"):
        write_adapter(new_adapter(sd1), tmp_path / "a.png", "official")
    with pytest.raises(HackamoreError, match="unknown layout"):
        write_adapter(new_adapter(sd1), tmp_path / "a", "cldm")
    write_adapter(new_adapter(meadow), tmp_path / "meadow")
    assert T2IAdapter.from_pretrained(tmp_path / "meadow").config.adapter_type == "full_adapter_xl"


def test_a_base_without_a_unet_is_refused():
    class Other:
        family = "flux"

    with pytest.raises(HackamoreError, match="no T2I-Adapter can be made"):
        new_adapter(Other())
